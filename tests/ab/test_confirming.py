import math
from datetime import UTC, datetime

import pytest

from sdperf.ab.confirming import BaselineCode, Confirmer
from sdperf.errors import WorkerError
from sdperf.judging.latency import LatencyLimits, screen_latency
from sdperf.judging.session.confirmation import ControlCase, choose_control
from sdperf.judging.suite_estimate import CaseSessions, compute_suite_estimate
from sdperf.record.verdict import Outcome
from sdperf.report.text.session.controls import format_control
from tests.ab.turns.test_blocks import FakeArm


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
    def __init__(
        self, *, code="no code", current=1.0, baseline=1.0, can_pair=True, other=None, cost_s=10.0
    ):
        self.code, self.can_pair, self.cost_s = code, can_pair, cost_s
        self.current, self.baseline, self.other = current, baseline, other
        self.journal, self.made = [], 0

    def find_baseline_code(self, case):
        return self.code

    def estimate_s(self, case, *, blocks, renewals, rounds):
        self.estimated = (case, blocks, renewals, rounds)
        return self.cost_s

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


CONTROL = ControlCase("test_bench.py::test_case0", 1.0, 0.03)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def confirm(bench, screening, *, budget_s=1000.0, clock=lambda: 0.0, control=CONTROL):
    confirmer = Confirmer(bench, budget_s, rounds=2, clock=clock, now=lambda: NOW)
    return confirmer.confirm(screening, LatencyLimits(), control)


@pytest.mark.parametrize(
    ("current", "outcome"), [(1.0, Outcome.PASS), (1.06, Outcome.SLOWER), (1.029, None)]
)
def test_a_suspect_is_settled_by_pairs_with_the_baselines_code(current, outcome):
    done = confirm(FakeBench(code=CODE, current=current), screen(SUSPICIOUS))
    assert list(done.findings) == [CASE]
    assert done.findings[CASE].outcome is (outcome or Outcome.INCONCLUSIVE)
    assert "paired blocks" in done.findings[CASE].reason
    assert done.paired == {CASE}
    assert done.null_control.is_sound is True
    assert "paired with the baseline's commit aaaaaaaaaaaa" in done.notes[0]


@pytest.mark.parametrize(("current", "outcome"), [(1.0, Outcome.PASS), (1.06, Outcome.SLOWER)])
def test_without_the_baselines_code_it_is_repeated_and_drift_is_not_excluded(current, outcome):
    done = confirm(FakeBench(code="no subject", current=current), screen(SUSPICIOUS))
    assert done.findings[CASE].outcome is outcome
    assert not done.paired
    assert "repeated in 3 fresh processes, not paired: no subject" in done.notes[0]
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
    bench = FakeBench(code=CODE, current=1.06, other=1.3)
    done = confirm(bench, screen(SUSPICIOUS))
    assert done.void == "the same code differs from itself by +22.6 %"
    assert done.null_control.is_sound is False
    assert not done.findings
    assert bench.made == 2


def test_the_same_code_is_held_against_itself_without_any_suspect():
    bench = FakeBench()
    done = confirm(bench, screen(STEADY))
    control = done.null_control
    assert (control.case, control.is_sound, control.limit) == (CONTROL.case, True, 0.03)
    assert control.measured_at == "2026-11-23T00:00:00.000+00:00"
    assert control.contrasts == pytest.approx([0.0] * 4)
    assert (bench.made, done.notes, done.findings) == (2, (), {})
    assert bench.estimated == (CONTROL.case, 4, 4, 1)


def test_a_short_case_is_run_often_enough_to_be_timed():
    bench = FakeBench(current=0.02)
    assert confirm(bench, screen(STEADY), control=ControlCase("quick", 0.02, 0.03)).void is None
    assert bench.estimated[-1] == 13
    assert bench.journal.count("B") == 4 * 4 * 13


def test_a_control_that_would_take_too_long_is_left_out_with_the_time_it_needs():
    bench = FakeBench(cost_s=520.0)
    control = confirm(bench, screen(STEADY), budget_s=900.0).null_control
    assert control.is_sound is None
    assert control.reason == "it would take about 8 min 40 s; --sd-confirm 1040 gives it the time"
    assert bench.made == 0


def test_a_control_for_which_the_default_has_time_proposes_to_leave_the_option_out():
    bench = FakeBench(cost_s=31.7)
    control = confirm(bench, screen(STEADY), budget_s=60.0).null_control
    assert control.reason == (
        "it would take about 31.7 s; leave --sd-confirm out: its default of 900 seconds is enough"
    )


class Watch:
    """A clock that stands still, but for what each execution takes."""

    def __init__(self, bench, takes_s):
        self.now_s, self.takes_s = 0.0, takes_s
        self.make, bench.make_current = bench.make_current, self.make_current
        make_baseline = bench.make_baseline
        bench.make_baseline = lambda case, code: self.watched(make_baseline(case, code))

    def make_current(self, case):
        return self.watched(self.make(case))

    def watched(self, arm):
        measure_s = arm.measure_s

        def measure():
            self.now_s += self.takes_s
            return measure_s()

        arm.measure_s = measure
        return arm

    def __call__(self):
        return self.now_s


def test_a_control_that_takes_longer_than_was_thought_leaves_the_suspects_their_half():
    bench = FakeBench(code="no subject", current=1.0, cost_s=10.0)
    done = confirm(bench, screen(SUSPICIOUS), budget_s=90.0, clock=Watch(bench, 4.0))
    assert done.null_control.is_sound is None
    assert done.null_control.reason == (
        "it began and ended without an answer after 48.0 s, "
        "out of time: it may take 50% of --sd-confirm"
    )
    said = format_control(done.null_control)
    assert said == f"null control: {done.null_control.reason}", "there was one"
    assert len(done.null_control.contrasts) == 3
    assert done.findings[CASE].outcome is Outcome.PASS
    assert "repeated in 3 fresh processes" in done.notes[0]


def test_a_suspect_that_stays_open_leaves_the_next_one_its_share():
    suspicious = [*STEADY, 1.06, 1.061]
    bench = FakeBench(code=CODE, current=1.029, cost_s=10.0)
    done = confirm(bench, screen(suspicious), budget_s=150.0, clock=Watch(bench, 4.0), control=None)
    assert done.paired == {CASE, "test_bench.py::test_case10"}
    assert [finding.outcome for finding in done.findings.values()] == [Outcome.INCONCLUSIVE] * 2


def test_a_control_whose_worker_dies_has_no_answer_and_the_suspects_are_settled():
    bench = FakeBench(code=CODE, current=1.06)
    make, made = bench.make_current, []

    def die_once(case):
        made.append(case)
        arm = make(case)
        if len(made) == 1:
            arm.measure_s = lambda: (_ for _ in ()).throw(WorkerError("a worker died"))
        return arm

    bench.make_current = die_once
    done = confirm(bench, screen(SUSPICIOUS))
    assert done.null_control.is_sound is None
    assert done.null_control.reason == (
        "it began and ended without an answer after 0 ns, a worker died"
    )
    assert done.findings[CASE].outcome is Outcome.SLOWER


def test_an_interrupted_control_is_kept_as_no_answer():
    bench = FakeBench()

    def interrupt(case):
        raise KeyboardInterrupt

    make, bench.make_current = bench.make_current, interrupt
    done = confirm(bench, screen(STEADY))
    assert done.was_interrupted
    assert done.null_control.reason == "interrupted"

    def interrupt_measuring(case):
        arm = make(case)
        arm.measure_s = lambda: interrupt(case)
        return arm

    bench.make_current = interrupt_measuring
    done = confirm(bench, screen(STEADY))
    assert done.was_interrupted
    assert done.null_control.reason == (
        "it began and ended without an answer after 0 ns, interrupted"
    )


def test_the_quickest_compared_case_is_held_to_the_limit_that_binds():
    estimate = compute_suite_estimate(
        [
            CaseSessions("slow", (2.0,) * 8, (2.0,), 0.05),
            CaseSessions("quick", (1.0,) * 8, (1.0,), 0.05),
            CaseSessions("new", (None,) * 8, (0.1,), 0.05),
        ]
    )
    assert choose_control(estimate.cases, LatencyLimits()) == ControlCase("quick", 1.0, 0.05)
    few = compute_suite_estimate([CaseSessions("quick", (1.0,), (1.0,), 0.05)])
    assert choose_control(few.cases, LatencyLimits()) == ControlCase("quick", 1.0, 0.25)
    assert choose_control(estimate.cases[2:], LatencyLimits()) is None


def test_in_one_process_there_is_no_control_and_no_pair():
    done = confirm(FakeBench(code=CODE, current=1.06, can_pair=False), screen(SUSPICIOUS))
    assert done.findings[CASE].outcome is Outcome.SLOWER
    assert done.null_control.reason == "two workers cannot run at once here"
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
    assert done.notes == ("case9: not measured again: a worker died",)
