"""A sweep: the next comparison, keep, again, until nothing is left or the time is over.

What a step is and how it is measured is passed in, so that a whole sweep runs on fakes.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sdperf.ab.sides.sides import SideError
from sdperf.ab.verdict.comparison import AbComparison, CompareOptions
from sdperf.ab.verdict.judging import AbVerdict, CaseVerdict, judge_comparison
from sdperf.bisect.judging import LOOKS
from sdperf.bisect.sitting import (
    Sitting,
    SittingInterruptedError,
    SittingVoidError,
    Tester,
)
from sdperf.errors import PackageError, SdperfError
from sdperf.sweep.judging import read_case_step
from sdperf.sweep.plan import PlannedPair
from sdperf.sweep.state import FailedStep, PairRecord, SweepFolder, SweepQuestion, SweepState

SweepEnding = Literal["done", "nothing", "budget", "void", "interrupted"]
"""How a sweep ended: every comparison was made, no two steps could be measured, the time is over,
the machine is unfit, or Ctrl-C."""


class SweepTeller(Protocol):
    """What tells people how it goes."""

    def begin(self, pair: PlannedPair, number: int, left: int) -> None:
        """A comparison begins: its number, and how many are left with it."""

    def end(self, record: PairRecord | FailedStep) -> None:
        """A comparison is over, or a step turned out not to be measurable."""


@dataclass(frozen=True)
class SweepConclusion:
    """What a sweep came to.

    Attributes:
        ending: How it ended.
        state: All that was measured.
        why: For a sweep that was void, why.
    """

    ending: SweepEnding
    state: SweepState
    why: str | None = None


@dataclass
class Sweep:
    """Measures the steps of a question.

    Attributes:
        question: What is asked.
        tester: Measures.
        folder: Keeps.
        teller: Tells.
        describe_place: Says in which stage a difference lies.
        budget_s: Seconds after which no comparison begins; ``None`` is no limit. One that would
            end after it, as long as those before took, is not begun either.
        judge: Says what a comparison means.
        spell: Says why a step cannot be measured, with the options of the command that is typed.
        list_conflicts: Lists what pip named that does not fit together at a step.
        clock: Returns seconds.
        now: Returns the time, UTC, ISO 8601.
    """

    question: SweepQuestion
    tester: Tester
    folder: SweepFolder
    teller: SweepTeller
    describe_place: Callable[[CaseVerdict], str | None] = lambda _: None
    budget_s: float | None = None
    judge: Callable[[AbComparison], AbVerdict] = judge_comparison
    spell: Callable[[SdperfError], str] = str
    list_conflicts: Callable[[str], tuple[str, ...]] = lambda _: ()
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], str] = lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _sitting: Sitting = field(init=False)

    def __post_init__(self) -> None:
        """Begin a sitting."""
        self._sitting = Sitting(self.tester, self.judge)

    def run(self) -> SweepConclusion:
        """Measure, from where the kept state stands, to the end.

        Raises:
            SideError: The anchor that was named cannot be measured.
            SdperfError: Something is in the way (no network, no room); what was found is kept.
        """
        state = self.folder.read() or SweepState(self.question, self.now())
        began_s = self.clock()
        try:
            while left := state.list_left():
                passed_s = self.clock() - began_s
                took = [one.took_s for one in state.pairs if not one.reason]
                typical_s = statistics.median(took) if took else 0.0
                if self.budget_s is not None and passed_s + typical_s > self.budget_s:
                    return SweepConclusion("budget", state)
                state = self._measure(state, left)
                self.folder.write(state)
        except (SittingInterruptedError, KeyboardInterrupt):
            return SweepConclusion("interrupted", self.folder.read() or state)
        except SittingVoidError as error:
            return SweepConclusion("void", state, str(error))
        return SweepConclusion("done" if state.measured else "nothing", state)

    def _measure(self, state: SweepState, left: list[PlannedPair]) -> SweepState:
        pair = left[0]
        number = len(state.pairs) + 1
        alpha = self.question.plan.spend_alpha(self.question.options.alpha, pair)
        self.teller.begin(pair, number, len(left))
        started_s = self.clock()
        try:
            compared, verdict = self._sitting.measure(
                pair.a, pair.b, self.question.cases, self._options(alpha)
            )
        except (SideError, PackageError) as error:
            return self._note_failure(state, pair, error, started_s)
        limits, limit = self.question.options.memory, self.question.options.max_slowdown
        record = PairRecord(
            a=pair.a,
            b=pair.b,
            role=pair.role,
            is_dense=pair.is_dense,
            alpha=alpha,
            cases=tuple(
                read_case_step(case, limits, limit, self.describe_place(case))
                for case in verdict.cases
            ),
            comparison=self.folder.write_comparison(f"{number:03}", compared),
            took_s=self.clock() - started_s,
            finished=self.now(),
        )
        self.teller.end(record)
        conflicts = {step: self.list_conflicts(step) for step in (pair.a, pair.b)}
        return state.with_pair(record).with_conflicts(conflicts)

    def _note_failure(
        self,
        state: SweepState,
        pair: PlannedPair,
        error: SideError | PackageError,
        started_s: float,
    ) -> SweepState:
        """Blame the step that never took part; where both did, the comparison has a reason.

        Raises:
            SideError: It is the anchor that was named.
        """
        is_reference = isinstance(error, SideError) and error.side == "A"
        step = pair.a if is_reference else pair.b
        cause = error.cause if isinstance(error, SideError) else error
        if step in state.measured:
            record = PairRecord(
                a=pair.a,
                b=pair.b,
                role=pair.role,
                is_dense=pair.is_dense,
                reason=self.spell(error),
                took_s=self.clock() - started_s,
                finished=self.now(),
            )
            self.teller.end(record)
            return state.with_pair(record)
        if step == self.question.plan.anchor:
            raise error
        failed = FailedStep(step, self.spell(cause), self.now())
        self.teller.end(failed)
        return state.with_failed(failed)

    def _options(self, alpha: float) -> CompareOptions:
        given = self.question.options
        return dataclasses.replace(
            given,
            alpha=alpha,
            looks=LOOKS,
            null_control=given.is_timed and not self._sitting.is_controlled,
            stages=given.is_timed,
            is_two_sided=True,
        )
