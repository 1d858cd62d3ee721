"""The large session, in small: real workers, counted loads, and its words."""

import json
import sys
from pathlib import Path

import pytest

import sdperf
from evidence.large_session import __main__ as command
from evidence.large_session.session import SEVEN_CASES, compare, summarise

RUN = {
    "wall_s": 10.0,
    "seconds": {"model loads": 6.0, "measured rounds": 1.0, "profiled rounds": 1.0},
    "loads": {"fp32, worker 1": 3, "bf16, worker 1": 4},
}


def test_a_session_is_summed_up_with_its_largest_share_first():
    head, *lines = summarise("before", RUN)
    assert head == "before: 10.0 s, 7 model loads, 80 % outside rounds"
    assert lines[0].split() == ["model", "loads", "6.00", "s", "60.0", "%"]


def test_two_sessions_are_held_against_each_other_once_both_are_there():
    assert compare({"before": RUN}, "before", "after") == []
    runs = {"before": RUN, "after": {**RUN, "wall_s": 4.0}}
    assert compare(runs, "before", "after") == ["after takes 40 % of the wall time of before"]


def test_there_are_seven_cases():
    assert SEVEN_CASES.count("def test_") == 7


@pytest.mark.long
def test_with_real_workers_three_pipelines_are_loaded_and_a_second_run_is_added(
    tmp_path, monkeypatch, capsys
):
    model, output = tmp_path / "model", tmp_path / "out.json"
    output.write_text(json.dumps({"before": RUN}))
    code = Path(sdperf.__file__).parent.parent
    arguments = [str(model), str(output), "--small", "--device", "cpu", "--code", str(code)]
    monkeypatch.setattr(sys, "argv", ["large_session", *arguments])
    monkeypatch.setattr(command, "SETTLING_S", 0.0)
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path / "cache"))
    command.main()
    runs = json.loads(output.read_text())
    assert runs["before"] == RUN
    assert runs["after"]["loads"] == {"fp32, worker 1": 1, "bf16, worker 1": 2}
    assert runs["after"]["reloads"] == []
    assert runs["after"]["verdicts"].startswith("7 cases: ")
    assert "BROKEN" not in runs["after"]["verdicts"]
    assert "after takes" in capsys.readouterr().out


def test_a_session_that_leaves_no_run_is_said(tmp_path, monkeypatch):
    (tmp_path / "model_index.json").write_text("{}")
    monkeypatch.setattr(command, "resolve_model", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["large_session", str(tmp_path), str(tmp_path / "out.json")])
    with pytest.raises(RuntimeError, match="left no run behind"):
        command.main()
    assert not (tmp_path / "out.json").exists()
