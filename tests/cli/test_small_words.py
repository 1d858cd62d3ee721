"""What commands say beside their answers: where a run lies, whose help, what was not done."""

import pytest

from sdperf.cli import COMMANDS, main, make_parser
from tests.support.disks import mounted
from tests.support.reported_runs import real_run, save


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys):
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "command", [["export", "no.json", "--format", "junit"], ["contribute", "no.json"]]
)
def test_a_missing_run_names_only_folders_that_exist(here, capsys, command):
    assert main(command) == 2
    told = said(capsys)
    assert "ls " not in told
    assert "do: name a file that exists; pytest benchmarks makes a run in this folder" in told
    (here / ".benchmarks").mkdir()
    assert main(command) == 2
    assert "ls .benchmarks shows saved runs" in said(capsys)


@pytest.mark.parametrize(
    ("command", "help_"),
    [
        (["quality", "calibrate", "--seeds", "0"], "sdperf quality calibrate --help"),
        (["ab", "--a", "x", "--rounds", "0"], "sdperf ab --help"),
    ],
)
def test_a_wrong_value_names_the_help_that_has_the_option(here, capsys, command, help_):
    assert main(command) == 2
    assert said(capsys).endswith(f"do: {help_}")


def test_places_that_cannot_be_written_say_what_to_do_and_that_nothing_was_written(here, capsys):
    save(here, real_run(), "run.json")
    with mounted(here / "closed", "1m") as make_read_only:
        assert make_read_only() == 0
        for command in (
            ["contribute", "run.json", "-o", "closed/mine.json"],
            ["history", "import", "run.json", "--history", "closed/h.db"],
            ["history", "import", "run.json", "--history", "closed/deep/h.db"],
        ):
            assert main(command) == 2
            told = said(capsys)
            assert "Errno" not in told
            assert "nothing was written" in told
            assert "do: choose another place" in told
        command = ["baseline", "accept", "run.json", "--reason", "x", "--baselines", "closed/b"]
        assert main(command) == 2
        told = said(capsys)
        assert "Errno" not in told
        assert "do: choose another folder: --baselines FOLDER" in told


@pytest.mark.parametrize("command", ["compare", "replay", "export"])
def test_each_argument_has_its_help(command):
    parser = make_parser([command])
    (actions,) = parser._subparsers._group_actions
    assert command in COMMANDS
    assert [one.dest for one in actions.choices[command]._actions if not one.help] == []
