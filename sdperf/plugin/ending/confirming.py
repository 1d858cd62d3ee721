"""The bench that measures cases again: with fresh workers, and the baseline's worktree."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sdperf.ab.confirming import BaselineCode, Confirmer
from sdperf.ab.sides.worktree import checked_out, find_repository, map_search_path
from sdperf.ab.turns.blocks import Arm
from sdperf.ab.turns.case_arm import CaseArm, make_arm
from sdperf.ab.turns.residency import fit_together
from sdperf.errors import SdperfError
from sdperf.judging.latency import LatencyLimits, Screening
from sdperf.judging.session.confirmation import Confirmation, ControlCase
from sdperf.judging.session.gate import JudgedCase
from sdperf.measure.clock import monotonic_clock
from sdperf.record.measurement import Measurement
from sdperf.run.interruption import ended_like_interrupted
from sdperf.settings import SUBJECT
from sdperf.units import format_quantity, format_seconds

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession


def confirm_suspects(
    live: LiveSession,
    judged: Mapping[str, JudgedCase],
    screening: Screening,
    limits: LatencyLimits,
    control: ControlCase | None,
    *,
    budget_s: float,
) -> Confirmation:
    """Compare the session's code with itself, and measure its suspects again."""
    live.suites.own().pool.close()
    line = live.live_line
    count = len(screening.suspects)
    suspects = format_quantity(count, "suspect")
    doing = f"measuring {suspects} again" if count else "comparing the same code with itself"
    line.start("confirm", 0)
    line.announce(f"{doing}, at most {format_seconds(budget_s)}; Ctrl-C gives the verdict so far")
    with ended_like_interrupted(), contextlib.ExitStack() as stack:
        bench = SessionBench(live, judged, stack)
        confirmer = Confirmer(
            bench=bench,
            budget_s=budget_s,
            rounds=live.settings.rounds,
            clock=monotonic_clock,
            say=line.say,
        )
        done = "ended by an error"
        try:
            confirmation = confirmer.confirm(screening, limits, control)
            done = describe_done(confirmation, count)
        finally:
            line.finish(done)
            bench.close()
    return confirmation


def describe_done(confirmation: Confirmation, suspects: int) -> str:
    """Describe what was measured again, also where the user ended it. Pure.

    >>> describe_done(Confirmation(was_interrupted=True), 1)
    'measured 0 of 1 suspect again, interrupted'

    Args:
        confirmation: The result.
        suspects: How many cases had to be measured again.
    """
    settled, named = len(confirmation.findings), format_quantity(suspects, "suspect")
    share = "" if settled == suspects else f"{settled} of "
    control = confirmation.null_control
    is_open = control is not None and control.is_sound is None and not confirmation.was_interrupted
    null_control = "null control, without an answer" if is_open else "null control"
    done = f"measured {share}{named} again" if suspects else null_control
    return f"{done}, interrupted" if confirmation.was_interrupted else done


class SessionBench:
    """Makes arms from a session's cases.

    Args:
        live: The session.
        judged: Its cases.
        stack: The stack that cleans up worktrees.
    """

    def __init__(
        self, live: LiveSession, judged: Mapping[str, JudgedCase], stack: contextlib.ExitStack
    ) -> None:
        self._live = live
        self._judged = judged
        self._stack = stack
        self._folders: dict[str, tuple[str, ...]] = {}
        self._arms: list[CaseArm] = []

    @property
    def can_pair(self) -> bool:
        """Whether two arms can exist at the same time, which pytest's own process cannot."""
        return not self._live.settings.in_process

    def find_baseline_code(self, case: str) -> BaselineCode | str:
        """Return the code of the latest session that counts, or raise where it cannot be run."""
        judged = self._judged[case]
        saved = next(one for one in reversed(judged.history) if one is not None)
        reason = explain_unpaired(saved, judged.measurement)
        if reason is not None or saved.subject is None:
            return reason or f"the baseline has no {SUBJECT}"
        commit = saved.environment.commit or ""
        try:
            return BaselineCode(saved.subject, self._check_out(commit), commit)
        except SdperfError as error:
            return str(error)

    def estimate_s(self, case: str, *, blocks: int, renewals: int, rounds: int) -> float:
        """Estimate the seconds of paired blocks of a case from the session's own seconds."""
        measurement, settings = self._judged[case].measurement, self._live.settings
        starts = 2 * renewals if self._fit_together(measurement) else 3 * blocks
        return estimate_blocks_s(
            measurement, starts=starts, warmup=settings.warmup, rounds=4 * blocks * rounds
        )

    def make_current(self, case: str) -> Arm:
        """Make an arm of the code under test."""
        suite = self._live.suites.own()
        return self._make(case, suite.subject, suite.code)

    def make_baseline(self, case: str, code: BaselineCode) -> Arm:
        """Make an arm of the baseline's code."""
        return self._make(case, code.subject, code.code)

    def close(self) -> None:
        """End all workers."""
        for arm in self._arms:
            arm.close()

    def _make(self, case: str, subject: str | None, code: tuple[str, ...]) -> Arm:
        settings, measurement = self._live.settings, self._judged[case].measurement
        pool = self._live.suites.own().pool.make_beside()
        arm = make_arm(
            self._live.suites.own(),
            measurement,
            pool=pool,
            warmup=settings.warmup,
            subject=subject,
            code=code,
        )
        if not self._fit_together(measurement):
            arm.before_load(lambda: self._close_others(arm))
        self._arms.append(arm)
        return arm

    def _fit_together(self, measurement: Measurement) -> bool:
        return fit_together(
            [measurement.memory] * 2,
            ram_bytes=measurement.environment.ram_bytes,
            device=self._live.suites.own().describe_device(),
        )

    def _close_others(self, arm: CaseArm) -> None:
        for other in self._arms:
            if other is not arm:
                other.close()

    def _check_out(self, commit: str) -> tuple[str, ...]:
        if commit not in self._folders:
            repository = find_repository(self._live.root)
            folder = self._stack.enter_context(checked_out(repository, commit))
            here = [entry or str(Path.cwd()) for entry in [*sys.path, str(Path.cwd())]]
            self._folders[commit] = map_search_path(here, repository, folder)
        return self._folders[commit]


def estimate_blocks_s(measurement: Measurement, *, starts: int, warmup: int, rounds: int) -> float:
    """Estimate the seconds of blocks: starting processes, and running rounds. Pure.

    Args:
        measurement: The session's measurement of the case; unknown seconds count as 0.
        starts: How many sets of workers are started, each with its first call and warm-up.
        warmup: How many untimed rounds each set runs.
        rounds: How many timed rounds run in all.
    """
    round_s = statistics.median(measurement.rounds_s)
    start_s = (measurement.load_s or 0.0) + (measurement.first_call_s or 0.0)
    return starts * (start_s + max(1, warmup) * round_s) + rounds * round_s


def explain_unpaired(saved: Measurement, current: Measurement) -> str | None:
    """Say why the baseline's code cannot be run beside the current one; ``None`` when it can. Pure.

    The two share everything but the subject's module. Any other change would be hidden, so the rest
    has to be the same.
    """
    commit = saved.environment.commit
    if saved.subject is None:
        return f"the baseline has no {SUBJECT}, so it has no code of its own"
    if commit is None:
        return "the baseline's commit is unknown"
    if commit.endswith("-dirty"):
        return "the baseline was measured with uncommitted changes"
    before, now = saved.environment.packages, current.environment.packages
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        return f"other versions of {', '.join(changed[:3])} than the baseline's"
    if saved.environment.variables != current.environment.variables:
        return "other environment variables than the baseline's"
    if saved.model_hash != current.model_hash:
        return "other weights than the baseline's"
    return None
