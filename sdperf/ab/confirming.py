"""Measures suspects again in the same session: paired with the baseline's code, or repeated.

Before that, every session that compares measures the same code against itself (null control).
Everything that touches a machine is passed in: arms, clock, and the place of the baseline's code.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from sdperf.ab.turns.blocks import (
    CONTROL_BLOCKS,
    Arm,
    count_rounds,
    measure_null_control,
    measure_until_decided,
)
from sdperf.errors import SdperfError
from sdperf.judging.latency import (
    LatencyLimits,
    Screening,
    Suspect,
    judge_confirmation,
    judge_repeats,
)
from sdperf.judging.session.confirmation import Confirmation, ControlCase
from sdperf.record.verdict import Finding, Outcome, shorten_case
from sdperf.settings import CONFIRM
from sdperf.stats.paired import DEFAULT_LOOKS
from sdperf.store.controls import UNANSWERED, NullControl
from sdperf.units import format_change, format_seconds

FRESH_PROCESSES: Final = 3

RENEW_EVERY_BLOCK: Final = 1
"""How many blocks share a process: a suite confirms many suspects, and with processes that live for
three blocks, chance of single processes made 5 % of unchanged runs red on simulated laptops
(docs/results/gate-power.md)."""

CONTROL_SHARE: Final = 0.5
"""Shares of the time for measuring again: the most that a null control may be estimated to take,
and the most that it gets. An estimate does not know how long processes take to start."""


@dataclass(frozen=True)
class BaselineCode:
    """The baseline's code, which can be run.

    Attributes:
        subject: ``module:function`` of the baseline.
        code: Folders to search for its module.
        commit: Commit of the code, for people.
    """

    subject: str
    code: tuple[str, ...]
    commit: str


class Bench(Protocol):
    """Makes arms and knows the baseline's code."""

    @property
    def can_pair(self) -> bool:
        """Whether two arms can exist at the same time."""

    def find_baseline_code(self, case: str) -> BaselineCode | str:
        """Return the baseline's code of a case, or raise where it cannot be run."""

    def estimate_s(self, case: str, *, blocks: int, renewals: int, rounds: int) -> float:
        """Estimate the seconds of paired blocks of a case, including starting its processes.

        Args:
            case: Its test id.
            blocks: Number of blocks of four executions.
            renewals: How often both arms start fresh processes.
            rounds: Number of rounds of an execution.
        """

    def make_current(self, case: str) -> Arm:
        """Make an arm of the current code, on separate workers."""

    def make_baseline(self, case: str, code: BaselineCode) -> Arm:
        """Make an arm of the baseline's code, on separate workers."""


@dataclass
class Confirmer:
    """Measures suspects again, within a budget of time.

    Attributes:
        bench: Makes the arms.
        budget_s: Seconds for everything together.
        rounds: Number of rounds of each fresh process where a case is repeated.
        clock: Returns seconds.
        say: Shows what happens now.
        now: Returns the present time, for the record.
    """

    bench: Bench
    budget_s: float
    rounds: int
    clock: Callable[[], float]
    say: Callable[[str], None] = lambda _: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _started_s: float = 0.0
    _notes: list[str] = field(default_factory=list)
    _findings: dict[str, Finding] = field(default_factory=dict)
    _paired: set[str] = field(default_factory=set)
    _null_control: NullControl | None = None

    def confirm(
        self, screening: Screening, limits: LatencyLimits, control: ControlCase | None
    ) -> Confirmation:
        """Compare the same code with itself, then measure the suspects again, the quickest first.

        Where the same code differs from itself, the session is void and the suspects are not
        measured. An interrupt ends the work; suspects that were settled before it stay settled.
        """
        self._started_s = self.clock()
        void, was_interrupted = None, False
        suspects = sorted(screening.suspects, key=lambda suspect: suspect.case.data.current_s)
        try:
            if control is not None:
                self._null_control = self._answer(control, reason="interrupted")
                self._null_control = self._control(control)
                void = _explain_void(self._null_control)
            for left in range(len(suspects) if void is None else 0, 0, -1):
                self._settle(suspects[-left], limits, len(suspects), left)
        except KeyboardInterrupt:
            was_interrupted = True
            self._notes.append("interrupted while measuring again")
        return Confirmation(
            findings=dict(self._findings),
            paired=frozenset(self._paired),
            null_control=self._null_control,
            void=void,
            notes=tuple(self._notes),
            was_interrupted=was_interrupted,
        )

    def _control(self, control: ControlCase) -> NullControl:
        """Compare the current code of one case with itself, if there is time."""
        if not self.bench.can_pair:
            return self._answer(control, reason="two workers cannot run at once here")
        rounds = count_rounds(control.current_s)
        cost_s = self.bench.estimate_s(
            control.case,
            blocks=CONTROL_BLOCKS,
            renewals=CONTROL_BLOCKS // RENEW_EVERY_BLOCK,
            rounds=rounds,
        )
        if cost_s > CONTROL_SHARE * self.budget_s:
            needed_s = 10 * math.ceil(cost_s / CONTROL_SHARE / 10)
            default_s = CONFIRM.parse(CONFIRM.default)
            way = (
                f"leave {CONFIRM} out: its default of {default_s:.0f} seconds is enough"
                if self.budget_s < default_s and needed_s <= default_s
                else f"{CONFIRM} {needed_s} gives it the time"
            )
            return self._answer(
                control, reason=f"it would take about {format_seconds(cost_s)}; {way}"
            )
        began_s = self.clock()
        one, other = self.bench.make_current(control.case), self.bench.make_current(control.case)
        try:
            is_sound, contrasts = measure_null_control(
                one,
                other,
                limit_log=math.log1p(control.limit),
                rounds=rounds,
                renew_every=RENEW_EVERY_BLOCK,
                may_go_on=self._limit(CONTROL_SHARE * self.budget_s),
                on_block=lambda done, most: self._progress("null control", done, most),
            )
        except SdperfError as error:
            return self._answer(control, reason=self._explain_unanswered(began_s, str(error)))
        except KeyboardInterrupt:
            reason = self._explain_unanswered(began_s, "interrupted")
            self._null_control = self._answer(control, reason=reason)
            raise
        finally:
            one.close()
            other.close()
        if is_sound is not None:
            return self._answer(control, contrasts, is_sound)
        why = f"out of time: it may take {CONTROL_SHARE:.0%} of {CONFIRM}"
        reason = self._explain_unanswered(began_s, why)
        return self._answer(control, contrasts, reason=reason)

    def _explain_unanswered(self, began_s: float, why: str) -> str:
        """Say that a control ended without an answer, after how many seconds, and why."""
        return f"{UNANSWERED} after {format_seconds(self.clock() - began_s)}, {why}"

    def _answer(
        self,
        control: ControlCase,
        contrasts: tuple[float, ...] = (),
        is_sound: bool | None = None,
        reason: str | None = None,
    ) -> NullControl:
        measured_at = self.now().isoformat(timespec="milliseconds")
        return NullControl(control.case, measured_at, control.limit, contrasts, is_sound, reason)

    def _settle(self, suspect: Suspect, limits: LatencyLimits, suspects: int, left: int) -> None:
        """Settle one suspect in its share of the time left, which is equal for all suspects."""
        name = suspect.case.data.case
        if not self._has_time():
            self._notes.append(f"{shorten_case(name)}: not measured again, out of time ({CONFIRM})")
            return
        try:
            is_gross = suspect.case.interval is None
            code = (
                "fewer than five sessions to compare with"
                if is_gross
                else self.bench.find_baseline_code(name)
                if self.bench.can_pair
                else "two workers cannot run at once here"
            )
            if isinstance(code, str):
                self._repeat(suspect, limits, code)
            else:
                self._pair(suspect, limits.family_error / suspects, code, left)
        except SdperfError as error:
            self._notes.append(f"{shorten_case(name)}: not measured again: {error}")

    def _pair(self, suspect: Suspect, alpha: float, code: BaselineCode, left: int) -> None:
        """Measure blocks until they are decided, or until this suspect's share of time is over."""
        name, rounds = suspect.case.data.case, count_rounds(suspect.case.data.current_s)
        blocks = DEFAULT_LOOKS[0]
        first_look_s = self.bench.estimate_s(
            name, blocks=blocks, renewals=blocks // RENEW_EVERY_BLOCK, rounds=rounds
        )
        may_go_on = self._limit(max(self._left_s() / left, first_look_s))
        baseline, current = self.bench.make_baseline(name, code), self.bench.make_current(name)
        try:
            run = measure_until_decided(
                baseline,
                current,
                limit_log=math.log1p(suspect.case.data.max_slowdown),
                alpha=alpha,
                rounds=rounds,
                renew_every=RENEW_EVERY_BLOCK,
                may_go_on=may_go_on,
                on_block=lambda done, most: self._progress(shorten_case(name), done, most),
            )
        finally:
            baseline.close()
            current.close()
        if run.result.bounds is None:
            self._notes.append(
                f"{shorten_case(name)}: too few paired blocks, out of time ({CONFIRM})"
            )
            return
        self._findings[name] = judge_confirmation(suspect, run.result)
        self._paired.add(name)
        self._notes.append(
            f"{shorten_case(name)}: paired with the baseline's commit {code.commit[:12]}"
            f"{_describe_pass(self._findings[name])}"
        )

    def _repeat(self, suspect: Suspect, limits: LatencyLimits, why: str) -> None:
        name = suspect.case.data.case
        medians_s: list[float] = []
        arm = self.bench.make_current(name)
        try:
            while len(medians_s) < FRESH_PROCESSES and self._has_time():
                arm.renew()
                medians_s.append(
                    statistics.median(arm.measure_s() for _ in range(max(1, self.rounds)))
                )
                self._progress(shorten_case(name), len(medians_s), FRESH_PROCESSES)
        finally:
            arm.close()
        if not medians_s:
            return
        self._findings[name] = judge_repeats(suspect, medians_s, limits)
        self._notes.append(
            f"{shorten_case(name)}: repeated in {len(medians_s)} fresh processes, not paired: {why}"
            f"{_describe_pass(self._findings[name])}"
        )

    def _has_time(self) -> bool:
        return self._left_s() > 0

    def _left_s(self) -> float:
        return max(0.0, self.budget_s - (self.clock() - self._started_s))

    def _limit(self, share_s: float) -> Callable[[], bool]:
        """Return a function that tells whether time is left of a share that begins now."""
        ends_s = self.clock() + share_s
        return lambda: self._has_time() and self.clock() < ends_s

    def _progress(self, what: str, done: int, most: int) -> None:
        left = format_seconds(self._left_s())
        self.say(f"measuring again: {what}, {done} of at most {most}, {left} at most")


def _explain_void(control: NullControl) -> str | None:
    """Say why a session is void; ``None`` where it is not."""
    if control.is_sound is not False:
        return None
    return f"the same code differs from itself by {format_change(control.ratio)}"


def _describe_pass(finding: Finding) -> str:
    """Say why a suspect was cleared; other suspects are explained below the table."""
    return f"; {finding.reason}" if finding.outcome is Outcome.PASS else ""
