"""Rounds that count: a round is measured again where the machine was not steady."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sdperf.errors import UnfitError
from sdperf.measure.fitness.conditions import Conditions
from sdperf.measure.fitness.guard_changes import (
    compare_guards,
    compute_other_work,
    judge_other_work,
)
from sdperf.record.guard import Guard
from sdperf.record.measurement import ExcludedRound, GuardLog, GuardPolicy
from sdperf.run.pool import PoolRound
from sdperf.settings import GUARDS
from sdperf.units import format_quantity


@dataclass
class GuardedRounds:
    """Measures rounds between two readings of the machine, and again where these differ too much.

    The reading after a round is also the one before the next, so that nothing is between rounds.

    Attributes:
        read: Reads the machine's condition.
        budget: How many rounds may be measured again.
        during: The guards that changed for the worse in rounds that count.
        excluded: The rounds that do not count.
        own_cpu_s: Returns the processor seconds of this process so far; workers count their own.
    """

    read: Callable[[], Conditions]
    budget: int
    during: list[Guard] = field(default_factory=list)
    excluded: list[ExcludedRound] = field(default_factory=list)
    own_cpu_s: Callable[[], float] = time.process_time
    _last: Conditions | None = None
    _last_own_s: float = 0.0
    _other_s: float = 0.0
    _total_s: float = 0.0

    def measure(self, run: Callable[[], PoolRound]) -> PoolRound:
        """Run rounds until one is valid, and return the valid round.

        Raises:
            UnfitError: The budget is spent.
        """
        while True:
            if self._last is None:
                self._last, self._last_own_s = self.read(), self.own_cpu_s()
            before = self._last
            done = run()
            self._last = self.read()
            self._count_others(before, self._last, done)
            changes = compare_guards(before, self._last)
            failed = [guard for guard in changes if guard.state == "fail"]
            if not failed:
                self.during += [guard for guard in changes if guard not in self.during]
                return done
            reason = "; ".join(guard.sentence for guard in failed)
            self.excluded.append(ExcludedRound(done.duration_s, reason))
            if len(self.excluded) > self.budget:
                hints = [guard.hint for guard in failed if guard.hint is not None]
                raise UnfitError(
                    "the machine did not hold still long enough to be measured",
                    got=(
                        f"{format_quantity(len(self.excluded), 'invalid round')}, the last because "
                        f"{reason}"
                    ),
                    expected=f"at most {self.budget}",
                    hint="; ".join([*hints, f"{GUARDS} off measures all the same"]),
                )

    def _count_others(self, before: Conditions, after: Conditions, done: PoolRound) -> None:
        """Add up the processor time of other programs, where workers know their own share."""
        own_s = self.own_cpu_s()
        spent_s, self._last_own_s = own_s - self._last_own_s, own_s
        if done.cpu_s is None:
            return
        counted = compute_other_work(before, after, spent_s + done.cpu_s)
        if counted is not None:
            # Between readings workers also prepare a round; in the round itself others had no more
            # than it left.
            left_s = max(0.0, done.duration_s * (os.cpu_count() or 1) - done.cpu_s)
            self._other_s += min(counted[0], left_s)
            self._total_s += counted[1]

    def list_during(self) -> tuple[Guard, ...]:
        """Return the guards that were worse while the counting rounds ran."""
        others = judge_other_work(self._other_s, self._total_s)
        return (*self.during, *(() if others is None else (others,)))


def check_fit(
    guards: Sequence[Guard], policy: GuardPolicy, allowed: frozenset[str] = frozenset()
) -> None:
    """Refuse to measure on a machine that is not known to be fit, where the policy is strict.

    Args:
        guards: The answers of the guards.
        policy: The policy of the guards; only ``strict`` refuses.
        allowed: Slugs of guards that may be unknown; a guard that fails is refused anyway.

    Raises:
        UnfitError: A guard fails, or cannot be read and is not allowed.
    """
    failed = [guard for guard in guards if guard.state == "fail"]
    unread = [one for one in guards if one.state == "unknown" and one.slug not in allowed]
    if policy != "strict" or not (failed or unread):
        return
    hints = [guard.hint for guard in (*failed, *unread) if guard.hint]
    if unread:
        names = "".join(f",allow={name}" for name in sorted({one.slug for one in unread} | allowed))
        hints.append(f"or allow what cannot be known: {GUARDS} strict{names}")
    raise UnfitError(
        "this machine is not fit to be measured on"
        if failed
        else "it cannot be known whether this machine is fit to be measured on",
        got="; ".join(
            [f"{guard.name} {guard.value}: {guard.sentence}" for guard in failed]
            + [f"{guard.name} unknown: {guard.sentence}" for guard in unread]
        ),
        hint="; ".join([*hints, "sdperf doctor shows all guards"]),
    )


def make_log(
    policy: GuardPolicy,
    before: tuple[Guard, ...],
    rounds: GuardedRounds | None,
    after: tuple[Guard, ...],
    allowed: frozenset[str] = frozenset(),
) -> GuardLog:
    """Make the part of a case's record on the machine."""
    if rounds is None:
        return GuardLog(policy)
    return GuardLog(
        policy, before, rounds.list_during(), after, tuple(rounds.excluded), tuple(sorted(allowed))
    )
