"""The order-effect command: orders, turns that can be resumed, a planted effect that is seen."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from evidence.order_effect import __main__ as command
from evidence.order_effect.__main__ import ORDERS, list_cases, parse_cpus, plan_jobs
from evidence.order_effect.ordering import reorder
from evidence.order_effect.runs import (
    CaseRun,
    Run,
    drop_selection,
    keep_run,
    make_run,
    read_runs,
)
from evidence.order_effect.table import compute_ratios, format_table

CASES = ["fp32-a", "fp32-b", "fp32-c", "bf16-a", "bf16-b"]

RESULTS = Path(__file__).parents[2] / "docs/results/order-effect"


def pipeline_of(case):
    return case.partition("-")[0]


def make(turn, order, seconds, only=None, cores=2.0):
    cases = tuple(
        CaseRun(name, place, (value, value * 1.01, value * 0.99), 1, cores)
        for place, (name, value) in enumerate(seconds.items())
    )
    return Run(turn, order, only, 10.0, 0, {"chip": "Test", "device_kind": "cpu"}, cases)


def test_orders_keep_a_pipelines_cases_together_and_lose_none():
    assert reorder(CASES, pipeline_of, "default") == CASES
    assert reorder(CASES, pipeline_of, "reversed") == CASES[::-1]
    shuffled = [tuple(reorder(CASES, pipeline_of, f"shuffled:{seed}")) for seed in range(20)]
    assert len(set(shuffled)) > 5
    for one in shuffled:
        assert sorted(one) == sorted(CASES)
        borders = sum(pipeline_of(x) != pipeline_of(y) for x, y in itertools.pairwise(one))
        assert borders == 1
    with pytest.raises(ValueError, match="sideways"):
        reorder(CASES, pipeline_of, "sideways")


def test_each_turn_has_every_order_and_another_one_begins():
    jobs = list(plan_jobs(3, ORDERS, ["x", "y"]))
    assert len(jobs) == 3 * (3 + 2) == len(set(jobs))
    firsts = [next(order for turn, order, _ in jobs if turn == number) for number in range(3)]
    assert firsts == ["default", "reversed", "shuffled"]


def test_processors_are_parsed_as_taskset_does():
    assert parse_cpus("0-2,5") == {0, 1, 2, 5}
    with pytest.raises(ValueError):
        parse_cpus("many")


def test_runs_are_kept_line_by_line_and_a_cut_line_is_left_out(tmp_path):
    path = tmp_path / "runs.jsonl"
    one = make(0, "default", {"a": 1.0})
    keep_run(path, one)
    with path.open("a") as file:
        file.write('{"turn": 1, "ord')
    assert read_runs(path) == [one]
    assert list_cases([one]) == ["a"]


def test_a_planted_order_effect_is_seen_and_a_quiet_case_is_not():
    runs = []
    for turn in range(6):
        drift = 1 + 0.1 * turn  # of the machine: both orders of a turn share it
        runs.append(make(turn, "default", {"a": 0.4 * drift, "b": 0.8 * drift}, cores=1.98))
        runs.append(make(turn, "reversed", {"b": 0.4 * drift, "a": 0.4 * drift}, cores=1.14))
    ratios = {one.case: one for one in compute_ratios(runs)}
    assert ratios["a"].ratio == pytest.approx(1.0)
    assert not ratios["a"].differs
    assert ratios["b"].ratio == pytest.approx(0.5)
    assert ratios["b"].differs
    assert (ratios["b"].default_cores, ratios["b"].cores) == (1.98, 1.14)
    table = format_table(runs, "0,1", ["benchmarks"])
    assert "**0.500 [0.500, 0.500], 1.14 cores**" in table
    assert "1 of 2 ratios differ" in table


def test_many_noisy_ratios_hold_together_where_single_intervals_would_miss():
    rng = np.random.default_rng(3)
    tables, singles = 0, 0
    for _ in range(60):
        runs = []
        for turn in range(6):
            for order in ("default", "reversed", "shuffled"):
                medians = {str(case): float(np.exp(rng.normal(0, 0.1))) for case in range(12)}
                runs.append(make(turn, order, medians))
        ratios = compute_ratios(runs)
        tables += any(one.differs for one in ratios)
        singles += any(one.lower > 1 or one.upper < 1 for one in ratios)
    assert tables <= 6  # 5 % of 60 are 3
    assert singles > 20


def test_a_case_alone_is_paired_with_its_turn():
    runs = [
        make(0, "default", {"a": 1.0, "b": 2.0}),
        make(0, "alone", {"a": 1.1}, only="a"),
        make(0, "alone", {"b": 2.0}, only="b"),
    ]
    assert {one.case: round(one.ratio, 3) for one in compute_ratios(runs)} == {"a": 1.1, "b": 1.0}


def test_an_interrupted_sitting_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    asked = []

    def run_pytest(turn, order, only, arguments, limit_s):
        asked.append((turn, order, only))
        if len(asked) == 3:
            return None  # cut off
        return make(turn, order, {only: 1.0} if only else {"a": 1.0, "b": 1.0}, only)

    monkeypatch.setattr(command, "run_pytest", run_pytest)
    argv = ["order_effect", "--into", str(tmp_path), "--turns", "1", "--", "benchmarks"]
    monkeypatch.setattr("sys.argv", argv)
    assert command.main() == 3
    assert "not complete" in capsys.readouterr().out
    assert command.main() == 0
    assert asked == [
        (0, "default", None),
        (0, "reversed", None),
        (0, "shuffled", None),
        (0, "shuffled", None),
        (0, "alone", "a"),
        (0, "alone", "b"),
    ]
    document = json.loads((tmp_path / "order-effect.json").read_text())
    assert len(document["runs"]) == 5
    assert (tmp_path / "order-effect.md").read_text().startswith("# Order effect")


def test_nothing_is_begun_that_would_end_too_late(tmp_path, monkeypatch):
    keep_run(tmp_path / "runs.jsonl", make(0, "default", {"a": 1.0}))
    monkeypatch.setattr(command, "run_pytest", lambda *_: pytest.fail("began"))
    argv = ["order_effect", "--into", str(tmp_path), "--turns", "1", "--minutes", "0.1"]
    monkeypatch.setattr("sys.argv", argv)
    assert command.main() == 3


def test_a_record_is_cut_down_to_what_is_compared():
    record = {
        "environment": {"chip": "C", "device_kind": "cpu", "packages": {"torch": "2"}},
        "rounds_s": [0.123456789, 0.2],
        "images_per_round": 4,
        "cores_busy": 1.98765,
    }
    document = {
        "benchmarks": [
            {"fullname": "t::a", "extra_info": {"sdperf": record}},
            {"fullname": "t::own", "extra_info": {}},
        ]
    }
    run = make_run(document, 0, "default", None, 12.3456, 0)
    assert run.cases == (CaseRun("t::a", 0, (0.1234568, 0.2), 4, 1.988),)
    assert run.environment["torch"] == "2"
    assert make_run({"benchmarks": []}, 0, "default", None, 1.0, 1) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_processors_are_set_for_the_runs(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: seen.append(cpus))
    monkeypatch.setattr(command, "run_pytest", lambda *_: None)
    argv = ["order_effect", "--into", str(tmp_path), "--cpus", "0-1", "--turns", "1"]
    monkeypatch.setattr("sys.argv", argv)
    assert command.main() == 3
    assert seen == [{0, 1}]


def test_one_turn_is_no_evidence():
    runs = [make(0, "default", {"a": 0.4}), make(0, "reversed", {"a": 0.8})]
    (ratio,) = compute_ratios(runs)
    assert (ratio.ratio, ratio.differs) == (pytest.approx(2.0), False)
    table = format_table(runs, "0,1", ["benchmarks"])
    assert "**" not in table.splitlines()[-3]
    assert "fewer than 5 turns are no interval" in table


def test_a_case_alone_keeps_options_and_their_values_and_drops_what_selects(tmp_path):
    chosen = tmp_path / "test_latency.py"
    chosen.touch()
    selecting = [str(chosen), "-k", "bf16", f"{chosen}::test_latency", "-m", "long"]
    options = ["--sd-device", "cpu", "--sd-rounds=5", "--sd-unwatched"]
    assert drop_selection([*selecting, *options]) == options


def test_the_committed_series_before_the_mend_show_the_cores_that_the_page_names():
    cores = {}
    for name in ("h200-before", "h200-alone-before"):
        document = json.loads((RESULTS / f"{name}.json").read_text())
        for run in document["runs"]:
            for case in run["cases"]:
                found = cores.setdefault((case["case"].rpartition("[")[2], run["order"]), [])
                found.append(case["cores_busy"])
    for precision in ("fp32", "fp16", "bf16"):
        assert max(cores[f"{precision}-async-1w]", "alone"]) <= 1.005
        in_the_suite = cores[f"{precision}-async-1w]", "default"]
        assert (min(in_the_suite) > 1.125, max(in_the_suite) < 1.215) == (True, True)
    assert max(cores["fp32-sync-1w]", "default"]) <= 1.005
    assert 1.135 < min(cores["fp32-sync-1w]", "reversed"]) < max(cores["fp32-sync-1w]", "reversed"])
    assert max(cores["fp32-sync-1w]", "reversed"]) < 1.225


@pytest.mark.parametrize(
    ("name", "case", "shown"),
    [
        ("before", "fp32-sync-1w", "1.096 [1.016, 1.223]"),
        ("after", "fp32-sync-1w", "1.033 [0.789, 1.075]"),
        ("before", "bf16-sync-1w", "1.059 [0.985, 1.201]"),
        ("after", "bf16-sync-1w", "0.979 [0.856, 1.031]"),
    ],
)
def test_the_two_series_here_say_what_the_page_says(name, case, shown):
    document = json.loads((RESULTS / f"cpu-2-cores-{name}.json").read_text())
    (one,) = [ratio for ratio in document["ratios"] if f"[{case}]" in ratio["case"]]
    assert f"{one['ratio']:.3f} [{one['lower']:.3f}, {one['upper']:.3f}]" == shown
    page = (RESULTS / "README.md").read_text()
    assert shown in page


@pytest.mark.parametrize(
    "name", ["cpu-2-cores-quiet", "cpu-2-cores-suite", "cpu-2-cores", "cpu-8-cores", "h200"]
)
def test_in_the_committed_series_no_case_depends_on_its_order(name):
    document = json.loads((RESULTS / f"{name}.json").read_text())
    runs = [
        Run(**one | {"cases": tuple(CaseRun(**case) for case in one["cases"])})
        for one in document["runs"]
    ]
    ratios = compute_ratios(runs)
    assert [one.case for one in ratios if one.differs] == []
    assert sum(one.together_lower is not None for one in ratios) >= 16
    alone = "1w]"
    for one in ratios:
        if alone in one.case:
            assert one.cores / one.default_cores == pytest.approx(1, abs=0.04)


def test_the_quiet_machine_had_the_two_levels_that_the_page_tells_of():
    document = json.loads((RESULTS / "cpu-2-cores-quiet.json").read_text())
    medians_s = [
        np.median(case["rounds_s"]) / case["images_per_round"]
        for run in document["runs"]
        if run["order"] != "alone"
        for case in run["cases"]
        if case["case"].endswith(("[fp32-sync-1w]", "[fp32-async-1w]"))
    ]
    assert len(medians_s) == 36
    fast = [one for one in medians_s if 0.2955 < one < 0.3355]
    slow = [one for one in medians_s if 0.3595 < one < 0.3935]
    assert len(fast) + len(slow) == 36
    assert min(len(fast), len(slow)) > 8
