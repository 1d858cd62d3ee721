"""No fault of standard output turns an answer into success, and none is a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdperf.cli import COMMANDS

ON_A_FULL_DISK = """
import os, sys
from sdperf.cli import COMMANDS, main
full = os.open("/dev/full", os.O_WRONLY)
for arguments in [[], *([command, "--help"] for command in COMMANDS)]:
    os.dup2(full, 1)
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2, (arguments, status)
"""


@pytest.fixture
def runs(tmp_path):
    paths = []
    for name, factor in (("base", 1.0), ("same", 1.0), ("slow", 2.0)):
        benchmarks = [
            {"fullname": f"test_{case}", "stats": {"data": [factor * (1 + case / 10)] * 3}}
            for case in range(40)
        ]
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps({"benchmarks": benchmarks}))
    return paths


def sdperf(ending, *arguments, program=("-m", "sdperf"), **keywords):
    """Run with standard output gone in one of the ways; returns exit status and errors."""
    command = [sys.executable, *program, *map(str, arguments)]
    keywords |= {"stderr": subprocess.PIPE, "text": True, "timeout": 120, "check": False}
    if ending == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(command, stdout=writing, **keywords)
        os.close(writing)
    elif ending == "full":
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stdout=full, **keywords)
    else:
        done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], **keywords)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("ending", ["pipe", "full", "closed"])
def test_a_regression_stays_a_regression(runs, ending):
    status, _ = sdperf(ending, "compare", runs[0], runs[2])
    assert status == 1


@pytest.mark.parametrize(("ending", "expected"), [("pipe", 0), ("full", 2), ("closed", 2)])
def test_a_pass_that_nobody_can_read_is_said_to_be_lost(runs, ending, expected):
    status, errors = sdperf(ending, "compare", runs[0], runs[1])
    assert status == expected
    assert ("standard output cannot be written" in errors) == (expected == 2)


@pytest.mark.parametrize("ending", ["pipe", "full", "closed"])
def test_a_refusal_stays_a_refusal(runs, ending):
    status, errors = sdperf(ending, "compare", runs[0], runs[0].parent / "absent.json")
    assert status == 2
    assert "cannot be read" in errors


def test_every_command_says_that_its_words_are_lost():
    assert len(COMMANDS) > 10
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_names_that_the_terminal_cannot_spell_are_escaped(runs):
    text = runs[0].read_text().replace("test_3", "test_\\u00e4\\u2603")
    runs[0].write_text(text)
    runs[1].write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "sdperf", "compare", *map(str, runs[:2])],
        capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_cannot_be_written_is_one_message(runs, tmp_path):
    (tmp_path / "folder").write_text("a file")
    status, errors = sdperf("pipe", "report", runs[0], runs[1], "-o", tmp_path / "folder/x.html")
    assert status == 2
    assert "Traceback" not in errors
