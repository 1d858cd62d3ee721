import pytest

from sdperf.errors import RecordError
from sdperf.judging.machine import (
    group_by_machine,
    judge_machine,
    parse_reported_run,
    require_runs,
)
from sdperf.judging.session.limits import Limits
from sdperf.record.verdict import Outcome, SettledCase
from tests.support.reported_runs import real_run, slowed, with_images

LATENCY = "benchmarks/test_latency.py::test_latency[fp32-sync-1w]"


def run(document, name="run.json"):
    return parse_reported_run(name, document)


def outcomes(machine):
    return {case.name: case.verdict.outcome for case in machine.cases}


def case_of(machine, name):
    return next(case for case in machine.cases if case.name == name)


def test_a_run_alone_keeps_the_verdicts_that_it_gave():
    document = real_run()
    machine = judge_machine([run(document)])
    said = {name: Outcome(one) for name, one in document["sdperf"]["outcomes"].items()}
    assert outcomes(machine) == said
    assert machine.suite is None


def test_a_run_against_another_is_judged_by_its_times():
    document = real_run()
    machine = judge_machine([run(document), run(slowed(document, 1.6, only="test_throughput"))])
    found = outcomes(machine)
    slower = {name for name, outcome in found.items() if outcome is Outcome.SLOWER}
    assert slower == {name for name in found if "test_throughput" in name}
    case = case_of(machine, LATENCY)
    assert case.sessions == 1
    assert case.change == 1
    low, high = case.baseline_range_s
    assert low <= case.baseline_s <= high


def test_what_the_run_saw_itself_is_repeated_beside_its_times(tmp_path):
    document = with_images(real_run(), tmp_path)
    record = document["benchmarks"][0]["extra_info"]["sdperf"]
    record["verdict"]["findings"] = [{"outcome": "BROKEN", "gate": "image", "reason": "black"}]
    machine = judge_machine([run(real_run()), run(document)])
    first = machine.cases[0].verdict
    assert first.outcome is Outcome.BROKEN
    assert {one.gate for one in first.findings} >= {"image", "latency"}
    assert outcomes(machine)["benchmarks/test_quality.py::test_images[fp32]"] is Outcome.DEGRADED


def test_what_measuring_again_settled_replaces_what_saved_numbers_say():
    runs = [run(real_run()), run(slowed(real_run(), 1.6, only="fp32-sync-1w"))]
    assert outcomes(judge_machine(runs))[LATENCY] is Outcome.SLOWER
    settled = {LATENCY: SettledCase("PASS", "the slowdown did not repeat")}
    machine = judge_machine(runs, settled=settled)
    assert outcomes(machine)[LATENCY] is Outcome.PASS
    assert case_of(machine, LATENCY).verdict.findings[0].reason == "the slowdown did not repeat"


def test_limits_hold():
    runs = [run(real_run()), run(slowed(real_run(), 1.6, only="fp32-sync-1w"))]
    limits = Limits(gross_slowdown=1.0, suite_slowdown=1.0, max_slowdown=1.0)
    assert outcomes(judge_machine(runs, limits))[LATENCY] is Outcome.PASS
    own = Limits(own_slowdowns={LATENCY: 0.9})
    assert outcomes(judge_machine(runs, own))[LATENCY] is Outcome.PASS


def test_a_case_that_only_the_base_has_does_not_vanish():
    head = real_run()
    lost = head["benchmarks"].pop(0)["fullname"]
    del head["sdperf"]["outcomes"][lost]
    machine = judge_machine([run(real_run()), run(head)])
    assert outcomes(machine)[lost] is Outcome.INCOMPARABLE
    assert case_of(machine, lost).rounds_s == ()


def test_runs_without_a_case_in_common_are_refused():
    other = real_run()
    for saved in other["benchmarks"]:
        saved["fullname"] += "-renamed"
    with pytest.raises(RecordError, match="no case in common"):
        judge_machine([run(other), run(real_run())])


def test_machines_are_told_apart():
    runs = [run(real_run()), run(real_run("h100-embedded")), run(real_run())]
    groups = group_by_machine(runs)
    assert [len(group) for group in groups] == [2, 1]


def test_an_outcome_of_a_later_version_is_no_answer():
    document = real_run()
    document["sdperf"]["outcomes"]["new case"] = "SHINIER"
    found = judge_machine([run(document)])
    assert outcomes(found)["new case"] is Outcome.INCONCLUSIVE


def test_a_foreign_run_is_reported_by_its_times():
    document = {"benchmarks": [{"fullname": "test_a", "stats": {"data": [1.0, 1.1]}}]}
    machine = judge_machine([run(document), run(document)])
    assert outcomes(machine) == {"test_a": Outcome.PASS}
    assert outcomes(judge_machine([run(document)])) == {"test_a": Outcome.NO_BASELINE}


def test_an_empty_run_is_refused():
    with pytest.raises(RecordError, match="holds no case"):
        require_runs([run({"benchmarks": []})])
    with pytest.raises(RecordError, match="nothing to report"):
        require_runs([])
