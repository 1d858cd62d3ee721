"""The search for the first bad step: test, keep, choose the next, until nothing is left to test.

What a step is and how it is measured is passed in, so that the whole search runs on fakes.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sdperf.ab.sides.sides import MatrixCase, SideError
from sdperf.ab.verdict.comparison import AbComparison, CompareOptions
from sdperf.ab.verdict.judging import AbVerdict, judge_comparison
from sdperf.bisect.judging import (
    LOOKS,
    MOST_OPEN_STEPS,
    CaseAnswer,
    Target,
    describe_case,
    describe_verdict,
    find_targets,
    is_undecided,
    join_answers,
    judge_case,
    spend_alpha,
)
from sdperf.bisect.search import Answer, Standing, weigh_answers
from sdperf.bisect.sitting import (
    Sitting,
    SittingInterruptedError,
    SittingVoidError,
    Tester,
)
from sdperf.bisect.state import BisectQuestion, BisectState, StateFolder, StepRecord
from sdperf.errors import PackageError, SdperfError

Ending = Literal["found", "range", "nothing", "undecided", "void", "interrupted"]
"""How a search ended: the first bad step, several suspects that could not be told apart, the bad
end is not worse, it could not be told whether it is, the machine is unfit, or Ctrl-C."""


class Teller(Protocol):
    """What tells people how it goes."""

    def begin(self, what: str, step: str, standing: Standing) -> None:
        """A test begins."""

    def end(self, record: StepRecord) -> None:
        """A test is over."""


@dataclass(frozen=True)
class Conclusion:
    """What a search came to.

    Attributes:
        ending: How it ended.
        state: All that was tested.
        standing: What is left to suspect.
        why: For a search that was void, why.
    """

    ending: Ending
    state: BisectState
    standing: Standing
    why: str | None = None


@dataclass
class Bisection:
    """Searches for the first bad step.

    Attributes:
        question: What is asked.
        tester: Measures.
        folder: Keeps.
        teller: Tells.
        judge: Says what a comparison means.
        spell: Says why a step was skipped, with the options of the command that is typed.
        clock: Returns seconds.
        now: Returns the time, UTC, ISO 8601.
    """

    question: BisectQuestion
    tester: Tester
    folder: StateFolder
    teller: Teller
    judge: Callable[[AbComparison], AbVerdict] = judge_comparison
    spell: Callable[[SdperfError], str] = str
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], str] = lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _sitting: Sitting = field(init=False)

    def __post_init__(self) -> None:
        """Begin a sitting."""
        self._sitting = Sitting(self.tester, self.judge)

    def run(self) -> Conclusion:
        """Search, from where the kept state stands, to the end.

        Raises:
            SideError: An end of the search cannot be measured.
            SdperfError: Something is in the way (no network, no room); what was found is kept.
        """
        state = self.folder.read() or BisectState(self.question, self.now())
        try:
            if state.end is None:
                state = self._test_end(state)
            while state.targets and not _is_too_noisy(state):
                step = self._standing(state).next_step
                if step is None:
                    break
                state = state.with_step(self._test_step(state, step))
                self.folder.write(state)
            if state.closing is None and self._standing(state).first_bad is not None:
                state = self._close(state)
        except (SittingInterruptedError, KeyboardInterrupt):
            state = self.folder.read() or state
            return Conclusion("interrupted", state, self._standing(state))
        except SittingVoidError as error:
            return Conclusion("void", state, self._standing(state), str(error))
        return conclude(state)

    def _standing(self, state: BisectState) -> Standing:
        return weigh_answers(self.question.history, state.answers)

    def _spend(self, state: BisectState) -> float:
        return spend_alpha(self.question.options.alpha, count_tests(self.question), state.tests)

    def _test_end(self, state: BisectState) -> BisectState:
        question = self.question
        self.teller.begin("the ends", question.bad, self._standing(state))
        started_s = self.clock()
        compared, verdict = self._sitting.measure(
            question.good,
            question.bad,
            question.cases,
            self._options(self._spend(state), stages=True),
        )
        targets = find_targets(verdict.cases, question.aspects, question.options.memory)
        undecided = is_undecided(verdict.cases, question.aspects)
        worse: dict[str, Answer] = {target.case: "bad" for target in targets}
        unlike: Answer = "open" if undecided else "good"
        seen = [
            describe_case(
                one, "bad" if one.case.case.id in worse else unlike, describe_verdict(one)
            )
            for one in verdict.cases
        ]
        record = StepRecord(
            step=question.bad,
            answer="bad" if targets else unlike,
            cases=tuple(seen),
            comparisons=(self.folder.write_comparison("end", compared),),
            took_s=self.clock() - started_s,
            finished=self.now(),
        )
        state = dataclasses.replace(
            state,
            end=record,
            targets=targets,
            undecided=undecided,
        )
        self.folder.write(state)
        self.teller.end(record)
        return state

    def _test_step(self, state: BisectState, step: str) -> StepRecord:
        standing = self._standing(state)
        self.teller.begin(f"step {len(state.steps) + 1}", step, standing)
        record = self._hold_against(state, self.question.good, step, f"{len(state.steps) + 1:02}")
        self.teller.end(record)
        return record

    def _close(self, state: BisectState) -> BisectState:
        """Measure the first bad step against the one before it, for the report alone.

        Where that one cannot be measured, the good end stands in for it.
        """
        standing, good = self._standing(state), self.question.good
        step = standing.suspects[0]
        self.teller.begin("what the first bad step does by itself", step, standing)
        for base in dict.fromkeys((*self.question.history.parents.get(step, ())[:1], good)):
            record = self._hold_against(state, base, step, "closing", is_report=True)
            state = dataclasses.replace(state, closing=record, closing_base=base)
            if record.answer != "skipped":
                break
        self.folder.write(state)
        self.teller.end(record)
        return state

    def _hold_against(
        self, state: BisectState, base: str, step: str, name: str, *, is_report: bool = False
    ) -> StepRecord:
        """Measure the cases that count, the clearest first, until one says bad.

        For the report all of them are measured, with their stages, and nothing that goes wrong
        takes the answer back.
        """
        started_s = self.clock()
        answers: list[CaseAnswer] = []
        files: list[str] = []
        reason = ""
        cases = order_cases(state.targets)
        alpha = self.question.options.alpha if is_report else self._spend(state)
        for index, case in enumerate(cases):
            own = [target for target in state.targets if target.case == case]
            options = self._options(alpha / len(cases), own, stages=is_report)
            try:
                compared, verdict = self._sitting.measure(
                    base, step, [self._find_case(case)], options
                )
            except (SideError, PackageError) as error:
                if not (is_report or _is_about_step(error)):
                    raise
                reason = self.spell(error)
                break
            except SittingVoidError as error:
                if not is_report:
                    raise
                reason = str(error)
                break
            files.append(self.folder.write_comparison(f"{name}-{index + 1}", compared))
            answers += [judge_case(one, own) for one in verdict.cases]
            if answers and answers[-1].answer == "bad" and not is_report:
                break
        answer = join_answers(one.answer for one in answers)
        if reason and answer != "bad":
            answer = "skipped"
        return StepRecord(
            step=step,
            answer=answer,
            reason=reason,
            cases=tuple(answers),
            comparisons=tuple(files),
            took_s=self.clock() - started_s,
            finished=self.now(),
        )

    def _find_case(self, name: str) -> MatrixCase:
        return next(case for case in self.question.cases if case.id == name)

    def _options(
        self, alpha: float, targets: Sequence[Target] = (), *, stages: bool
    ) -> CompareOptions:
        """Return how a step is measured: speed to the border between the ends, or not at all."""
        given = self.question.options
        max_slowdown = given.max_slowdown
        needs_time = not targets and "speed" in self.question.aspects
        for target in targets:
            if target.aspect == "speed":
                max_slowdown = math.expm1(target.limit_log(given.max_slowdown))
                needs_time = True
        return dataclasses.replace(
            given,
            max_slowdown=max_slowdown,
            alpha=alpha,
            looks=LOOKS,
            null_control=needs_time and not self._sitting.is_controlled,
            stages=stages and needs_time,
            budget_s=given.budget_s if needs_time else 0.0,
        )


def count_tests(question: BisectQuestion) -> int:
    """Return the tests on the longest path of a search, its ends not counted."""
    return weigh_answers(question.history, {}).tests_left


def order_cases(targets: Sequence[Target]) -> tuple[str, ...]:
    """Return the cases that count, those first that need the fewest blocks.

    A case whose image changed needs none; of the others, the clearest loss comes first.
    """
    ordered = sorted(targets, key=lambda one: (one.aspect == "speed", -one.clarity))
    return tuple(dict.fromkeys(target.case for target in ordered))


def conclude(state: BisectState) -> Conclusion:
    """Say what a search came to whose tests are over. Pure."""
    standing = weigh_answers(state.question.history, state.answers)
    if not state.targets:
        return Conclusion("undecided" if state.undecided else "nothing", state, standing)
    return Conclusion("range" if standing.first_bad is None else "found", state, standing)


def _is_too_noisy(state: BisectState) -> bool:
    return sum(record.answer == "open" for record in state.steps) >= MOST_OPEN_STEPS


def _is_about_step(error: SdperfError) -> bool:
    """Tell whether an error says that the step itself cannot be measured, not the good end."""
    return isinstance(error, PackageError) or (isinstance(error, SideError) and error.side == "B")
