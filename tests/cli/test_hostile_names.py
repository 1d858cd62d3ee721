"""Words out of a file reach a terminal and a workflow's log as words: nothing in them is obeyed."""

import json

import pytest

from sdperf.cli import main
from sdperf.streams import strip_controls

HOSTILE = "x\x1b[2J\x1b]0;t\x07\r\n::error::boom\u202e##[add-path]y\x9b1m"


@pytest.mark.parametrize("text", [HOSTILE, "::set-output name=a::b", "  ::error::x", "##[group]x"])
def test_a_line_holds_nothing_to_obey(text):
    safe = strip_controls(text)
    assert not safe.lstrip().startswith("::")
    assert "##[" not in safe
    assert len(safe.splitlines()) == 1
    assert safe.isprintable()


@pytest.mark.parametrize("text", ["test_a.py::test_b[fp32]", "1.5\xa0s", "SLOWER  +3.0 %", ""])
def test_a_plain_line_is_left_alone(text):
    assert strip_controls(text) == text


def test_no_command_prints_what_a_name_in_a_run_brings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = []
    for number, factor in enumerate((1.0, 3.0)):
        benchmarks = [
            {"fullname": f"{HOSTILE}{case}", "stats": {"data": [factor, factor * 1.01, factor]}}
            for case in range(3)
        ]
        paths.append(str(tmp_path / f"run{number}.json"))
        (tmp_path / f"run{number}.json").write_text(
            json.dumps({"benchmarks": benchmarks, "machine_info": {"node": HOSTILE}})
        )
    commands = [
        ["compare", *paths],
        ["history", "import", str(tmp_path)],
        ["history", "list"],
        ["history", "show", "1"],
        ["trend"],
        ["baseline", "accept", paths[0], "--reason", HOSTILE],
        ["contribute", paths[0]],
        ["report", *paths],
    ]
    for command in commands:
        main(command)
        shown = capsys.readouterr()
        for text in (shown.out, shown.err):
            for line in text.split("\n"):
                assert not line.lstrip().startswith("::"), command
                assert "##[" not in line, command
                assert not set("\x1b\x07\x9b\r\u202e") & set(line), command
