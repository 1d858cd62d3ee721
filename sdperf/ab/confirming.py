"""Suspects measured again in the same session: paired with the baseline's own code, or repeated.

Everything that touches a machine is passed in: arms, clock, and where the baseline's code is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from sdperf.ab.blocks import Arm, measure_null_control, measure_until_decided
from sdperf.errors import SdperfError
from sdperf.judging.latency import (
    LatencyLimits,
    Screening,
    Suspect,
    judge_confirmation,
    judge_repeats,
)
from sdperf.units import format_change, format_seconds
from sdperf.verdict import Finding, Outcome

FRESH_PROCESSES: Final = 3


@dataclass(frozen=True)
class BaselineCode:
    """Where the baseline's own code can be run.

    Attributes:
        subject: ``module:function`` of the baseline.
        code: Folders to search for it.
        commit: Its commit, for people.
    """

    subject: str
    code: tuple[str, ...]
    commit: str


class Bench(Protocol):
    """What makes arms and knows the baseline's code."""

    @property
    def can_pair(self) -> bool:
        """Whether two arms can live at once."""

    def find_baseline_code(self, case: str) -> BaselineCode | str:
        """Return the baseline's code of a case, or say why it cannot be run."""

    def make_current(self, case: str) -> Arm:
        """Make an arm of the current code, on workers of its own."""

    def make_baseline(self, case: str, code: BaselineCode) -> Arm:
        """Make an arm of the baseline's code, on workers of its own."""


@dataclass(frozen=True)
class Confirmation:
    """What measuring the suspects again came to.

    Attributes:
        findings: The answer on each suspect that was settled, by test id.
        void: Why nothing that was timed in this session counts; ``None`` where it does.
        notes: What to tell people, a line each.
        was_interrupted: Whether the user ended it.
    """

    findings: dict[str, Finding] = field(default_factory=dict)
    void: str | None = None
    notes: tuple[str, ...] = ()
    was_interrupted: bool = False


@dataclass
class Confirmer:
    """Measures suspects again, within a budget of time.

    Attributes:
        bench: Makes the arms.
        budget_s: Seconds for everything together.
        rounds: Rounds of each fresh process where a case is repeated.
        clock: Returns seconds.
        say: Shows what happens now.
    """

    bench: Bench
    budget_s: float
    rounds: int
    clock: Callable[[], float]
    say: Callable[[str], None] = lambda _: None
    _started_s: float = 0.0
    _notes: list[str] = field(default_factory=list)
    _findings: dict[str, Finding] = field(default_factory=dict)

    def confirm(self, screening: Screening, limits: LatencyLimits) -> Confirmation:
        """Measure the suspects of a screening again, the quickest first.

        First the same code is held against itself; if it differs, the session is void. An
        interrupt ends the work, and what was settled by then stands.
        """
        self._started_s = self.clock()
        void, was_interrupted = None, False
        suspects = sorted(screening.suspects, key=lambda suspect: suspect.case.data.current_s)
        try:
            void = self._control(suspects[0]) if self.bench.can_pair else None
            for suspect in suspects if void is None else ():
                self._settle(suspect, limits, len(suspects))
        except KeyboardInterrupt:
            was_interrupted = True
            self._notes.append("interrupted while measuring suspects again")
        return Confirmation(dict(self._findings), void, tuple(self._notes), was_interrupted)

    def _control(self, suspect: Suspect) -> str | None:
        """Hold the current code against itself; return why the machine is unfit, if it is."""
        name = suspect.case.data.case
        one, other = self.bench.make_current(name), self.bench.make_current(name)
        limit_log = math.log1p(suspect.case.data.max_slowdown)
        try:
            is_sound, seen = measure_null_control(
                one,
                other,
                limit_log=limit_log,
                may_go_on=self._has_time,
                on_block=lambda done, most: self._progress("null control", done, most),
            )
        except SdperfError as error:
            self._notes.append(f"no null control: {error}")
            return None
        finally:
            one.close()
            other.close()
        if is_sound is None or seen is None:
            self._notes.append("no null control: out of time (--sd-confirm)")
            return None
        difference = format_change(math.exp(seen))
        self._notes.append(f"null control: the same code differs from itself by {difference}")
        if is_sound:
            return None
        return f"null control failed: the same code differs from itself by {difference}"

    def _settle(self, suspect: Suspect, limits: LatencyLimits, suspects: int) -> None:
        name = suspect.case.data.case
        if not self._has_time():
            self._notes.append(f"{_short(name)}: not measured again, out of time (--sd-confirm)")
            return
        try:
            is_gross = suspect.case.interval is None
            code = (
                "fewer than five accepted sessions"
                if is_gross
                else self.bench.find_baseline_code(name)
                if self.bench.can_pair
                else "two workers cannot run at once here"
            )
            if isinstance(code, str):
                self._repeat(suspect, limits, code)
            else:
                self._pair(suspect, limits.family_error / suspects, code)
        except SdperfError as error:
            self._notes.append(f"{_short(name)}: not measured again: {error}")

    def _pair(self, suspect: Suspect, alpha: float, code: BaselineCode) -> None:
        name = suspect.case.data.case
        baseline, current = self.bench.make_baseline(name, code), self.bench.make_current(name)
        try:
            run = measure_until_decided(
                baseline,
                current,
                limit_log=math.log1p(suspect.case.data.max_slowdown),
                alpha=alpha,
                may_go_on=self._has_time,
                on_block=lambda done, most: self._progress(_short(name), done, most),
            )
        finally:
            baseline.close()
            current.close()
        if run.result.bounds is None:
            self._notes.append(f"{_short(name)}: too few paired blocks, out of time (--sd-confirm)")
            return
        self._findings[name] = judge_confirmation(suspect, run.result)
        self._notes.append(
            f"{_short(name)}: {run.result.blocks} paired blocks against the baseline's commit "
            f"{code.commit[:12]}{_describe_pass(self._findings[name])}"
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
                self._progress(_short(name), len(medians_s), FRESH_PROCESSES)
        finally:
            arm.close()
        if not medians_s:
            return
        self._findings[name] = judge_repeats(suspect, medians_s, limits)
        self._notes.append(
            f"{_short(name)}: repeated in {len(medians_s)} fresh processes, not paired: {why}"
            f"{_describe_pass(self._findings[name])}"
        )

    def _has_time(self) -> bool:
        return self.clock() - self._started_s < self.budget_s

    def _progress(self, what: str, done: int, most: int) -> None:
        left_s = max(0.0, self.budget_s - (self.clock() - self._started_s))
        self.say(
            f"measuring again: {what}, {done} of at most {most}, {format_seconds(left_s)} at most"
        )


def _describe_pass(finding: Finding) -> str:
    """Say why a suspect was cleared; what was not cleared is explained under the table."""
    return f"; {finding.reason}" if finding.outcome is Outcome.PASS else ""


def _short(case: str) -> str:
    return case.rpartition("::")[2].removeprefix("test_")
