"""The tutorial, typed: every command of the page in its order, in one new folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r"(?:<!-- (.*?) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
EXPECTED = re.compile(r"(?:status (\d+), )?says (.+)")


def read_steps(text):
    """Return what a page types and writes, in order."""
    steps = []
    for mark, language, body in BLOCK.findall(text):
        if language == "console":
            status, says = EXPECTED.fullmatch(mark).groups()
            commands = [line.removeprefix("$ ") for line in body.splitlines()]
            assert all(line.startswith("$ ") for line in body.splitlines())
            steps.append(("run", commands, int(status or 0), says))
        elif mark.startswith("file "):
            steps.append(("write", mark.removeprefix("file "), body, None))
    return steps


def type_commands(commands, folder, home):
    """Type commands in a shell; returns the last exit status, where it ended and what it said."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "SDPERF_", "XDG_", "GIT_"))
    }
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join([*commands, 'status=$?; pwd > "$HOME/where"; exit $status'])],
        cwd=folder,
        env=clean | {"PATH": path, "HOME": str(home), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    where = Path((home / "where").read_text().strip())
    return done.returncode, where, done.stdout + done.stderr


@pytest.mark.long
def test_the_tutorial_ends_as_it_says(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    folder = tmp_path
    for kind, what, expected, says in read_steps(PAGE.read_text(encoding="utf-8")):
        if kind == "write":
            assert (folder / what).is_file(), f"the page changes {what}, which is not there"
            (folder / what).write_text(expected, encoding="utf-8")
            continue
        status, folder, said = type_commands(what, folder, home)
        assert (status, says in said) == (expected, True), f"{what}\n{said[-4000:]}"
        assert "Traceback" not in said


def test_every_command_of_the_page_says_what_it_ends_with():
    steps = read_steps(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, *_ in steps].count("run") >= 5
    assert {status for kind, _, status, _ in steps if kind == "run"} == {0, 1}
    with pytest.raises(AttributeError):
        read_steps("<!-- sings -->\n```console\n$ true\n```\n")


def test_a_command_that_ends_otherwise_is_seen(tmp_path):
    assert type_commands(["cd /", "false"], tmp_path, tmp_path) == (1, Path("/"), "")
