import json
import subprocess

import numpy as np
import pytest

from sdperf.cli import main
from sdperf.store.calibration import read_calibrations
from tests.support.measurements import ENVIRONMENT, WORKLOAD
from tests.support.saved_runs import write_run


@pytest.fixture
def sessions(tmp_path):
    def make(spread, count=7):
        rng = np.random.default_rng(3)
        return [
            str(
                write_run(
                    tmp_path,
                    name=f"run{number}.json",
                    cases={
                        f"test_x.py::test_{case}": (float(case * np.exp(rng.normal(0, spread))),)
                        for case in range(1, 7)
                    },
                )
            )
            for number in range(count)
        ]

    return make


def test_saved_sessions_of_a_quiet_machine_support_the_limit(sessions, tmp_path, capsys):
    assert main(["calibrate", "--from", *sessions(0.003), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "7 sessions of unchanged code, 6 cases" in said
    assert "false alarms: 0 of 7 sessions red" in said
    assert "this machine supports the limit of +3.0 %" in said
    (evidence,) = (tmp_path / "out").glob("*.json")
    document = json.loads(evidence.read_text())
    assert document["supports_limit"] is True
    assert document["noise"]["red_sessions"] == 0
    assert "null controls on this machine: none with an answer yet" in said
    (found,) = read_calibrations(tmp_path / "out").values()
    assert found.fingerprint == ENVIRONMENT.fingerprint()
    assert found.command.startswith("sdperf calibrate --from run0.json run1.json")
    assert [len(session) for session in found.sessions] == [6] * 7
    assert found.calibrated["test_x.py::test_1"].width <= 0.03
    assert found.calibrated["test_x.py::test_1"].is_of(WORKLOAD, 1)
    assert str(tmp_path) not in evidence.read_text()
    assert max(map(len, said.splitlines()[:-1])) <= 100


def test_a_limit_that_the_machine_cannot_support_is_refused_with_evidence(
    sessions, tmp_path, capsys
):
    assert main(["calibrate", "--from", *sessions(0.05), "--out", str(tmp_path / "out")]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "REFUSED: this machine does not support the limit of +3.0 %" in said
    assert "--sd-max-slowdown" in said
    assert list((tmp_path / "out").glob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sessions", "5"], "a whole number, 6 to 1000000"),
        (["--max-slowdown", "much"], "--max-slowdown cannot be used"),
        (["--from", "absent.json"], "absent.json cannot be read"),
    ],
)
def test_what_cannot_be_told_is_refused(arguments, message, capsys):
    assert main(["calibrate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_help_says_the_range_that_is_taken(capsys):
    with pytest.raises(SystemExit):
        main(["calibrate", "--help"])
    assert "a whole number, 6 to 1000000 (8)" in " ".join(capsys.readouterr().out.split())


def test_too_few_saved_sessions_are_refused(sessions, capsys):
    assert main(["calibrate", "--from", *sessions(0.01, count=3)]) == 2
    assert "6 or more sessions" in capsys.readouterr().err


def test_sessions_are_measured_by_pytest_one_process_each(sessions, tmp_path, monkeypatch, capsys):
    saved = iter(sessions(0.003, count=6))
    commands = []

    def run(command, **_):
        commands.append(command)
        path = command[-1].removeprefix("--benchmark-json=")
        with open(next(saved), "rb") as source, open(path, "wb") as target:  # noqa: PTH123
            target.write(source.read())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("sdperf.cli.machine.calibrate.subprocess.run", run)
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "--sessions", "6", "--", "mine", "-k", "latency"]) == 0
    assert len(commands) == 6
    assert commands[0][1:7] == ["-m", "pytest", "-q", "mine", "-k", "latency"]
    assert "session 6 of 6" in capsys.readouterr().err


def test_a_session_that_fails_ends_it(tmp_path, monkeypatch, capsys):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 4, "", "ERROR: no such model")

    monkeypatch.setattr("sdperf.cli.machine.calibrate.subprocess.run", run)
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate"]) == 2
    assert "session 1 failed, exit status 4; got: ERROR: no such model" in capsys.readouterr().err
