import math

import pytest

from sdperf.ab.confirming import BaselineCode, Confirmer
from sdperf.errors import WorkerError
from sdperf.judging.latency import LatencyLimits, screen_latency
from sdperf.judging.suite_estimate import CaseSessions, compute_suite_estimate
from sdperf.verdict import Outcome
from tests.ab.test_blocks import FakeArm


def screen(currents, sessions=8):
    """Cases of about a second with a spread of 0.5 %; ``currents`` are factors on the last."""
    suite = [
        CaseSessions(
            f"test_bench.py::test_case{number}",
            tuple(1 + 0.005 * math.sin(7 * number + 3 * k) for k in range(sessions)),
            (factor,) * 5,
            0.03,
        )
        for number, factor in enumerate(currents)
    ]
    return screen_latency(compute_suite_estimate(suite), LatencyLimits())


class FakeBench:
    def __init__(self, *, code="no code", current=1.0, baseline=1.0, can_pair=True, other=None):
        self.code, self.can_pair = code, can_pair
        self.current, self.baseline, self.other = current, baseline, other
        self.journal, self.made = [], 0

    def find_baseline_code(self, case):
        return self.code

    def make_current(self, case):
        self.made += 1
        slower = self.other if self.made == 2 and self.other else self.current
        return FakeArm(slower, self.journal, "B")

    def make_baseline(self, case, code):
        return FakeArm(self.baseline, self.journal, "A")


CODE = BaselineCode("mine:make", ("/code",), "a" * 40)
STEADY = [1.0] * 9
SUSPICIOUS = [*STEADY, 1.06]
CASE = "test_bench.py::test_case9"


def confirm(bench, screening, *, budget_s=1000.0, clock=lambda: 0.0):
    confirmer = Confirmer(bench, budget_s, rounds=2, clock=clock)
    return confirmer.confirm(screening, LatencyLimits())


@pytest.mark.parametrize(
    ("current", "outcome"), [(1.0, Outcome.PASS), (1.06, Outcome.SLOWER), (1.029, None)]
)
def test_a_suspect_is_settled_by_pairs_with_the_baselines_code(current, outcome):
    done = confirm(FakeBench(code=CODE, current=current), screen(SUSPICIOUS))
    assert list(done.findings) == [CASE]
    assert done.findings[CASE].outcome is (outcome or Outcome.INCONCLUSIVE)
    assert "paired blocks" in done.findings[CASE].reason
    assert done.notes[0] == "null control: the same code differs from itself by +0.0 %"
    assert "against the baseline's commit aaaaaaaaaaaa" in done.notes[1]


@pytest.mark.parametrize(("current", "outcome"), [(1.0, Outcome.PASS), (1.06, Outcome.SLOWER)])
def test_without_the_baselines_code_it_is_repeated_and_drift_is_not_excluded(current, outcome):
    done = confirm(FakeBench(code="no subject", current=current), screen(SUSPICIOUS))
    assert done.findings[CASE].outcome is outcome
    assert "repeated in 3 fresh processes, not paired: no subject" in done.notes[1]
    assert ("drift" in done.findings[CASE].reason) == (outcome is Outcome.SLOWER)


def test_a_gross_suspect_of_few_sessions_is_repeated():
    screening = screen([*STEADY, 1.5], sessions=1)
    bench = FakeBench(code=CODE, current=1.5)
    done = confirm(bench, screening)
    assert done.findings[CASE].outcome is Outcome.SLOWER
    vanished = confirm(FakeBench(current=1.0), screening).findings[CASE]
    assert vanished.outcome is Outcome.INCONCLUSIVE
    assert "25% of processes run 1.5" in vanished.reason


def test_a_machine_on_which_the_same_code_differs_from_itself_voids_the_session():
    done = confirm(FakeBench(code=CODE, current=1.06, other=1.3), screen(SUSPICIOUS))
    assert done.void.startswith("null control failed: the same code differs from itself by +22.6 %")
    assert not done.findings


def test_in_one_process_there_is_no_control_and_no_pair():
    done = confirm(FakeBench(code=CODE, current=1.06, can_pair=False), screen(SUSPICIOUS))
    assert done.findings[CASE].outcome is Outcome.SLOWER
    assert done.notes == (
        "case9: repeated in 3 fresh processes, not paired: two workers cannot run at once here",
    )


def test_the_budget_ends_the_work_and_says_so():
    seconds = iter(range(0, 10_000, 10))
    done = confirm(
        FakeBench(code=CODE, current=1.06),
        screen(SUSPICIOUS),
        budget_s=25,
        clock=lambda: next(seconds),
    )
    assert not done.findings
    assert any("out of time (--sd-confirm)" in note for note in done.notes)


def test_an_interrupt_keeps_what_was_settled():
    bench = FakeBench(code="no subject", current=1.06)
    make = bench.make_current

    def interrupted(case):
        if case.endswith("case8"):
            raise KeyboardInterrupt
        return make(case)

    bench.make_current = interrupted
    done = confirm(bench, screen([*STEADY[:8], 1.08, 1.06]))
    assert done.was_interrupted
    assert list(done.findings) == [CASE]


def test_a_worker_that_dies_is_noted_and_the_case_stays_unsettled():
    bench = FakeBench(code=CODE)

    def die(case, code):
        raise WorkerError("a worker died")

    bench.make_baseline = die
    done = confirm(bench, screen(SUSPICIOUS))
    assert not done.findings
    assert done.notes[1] == "case9: not measured again: a worker died"
