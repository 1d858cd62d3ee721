"""Counts where a session's wall time goes: seconds by activity, each second once.

Activities nest: the time of an inner activity does not count for the outer one. The clock is passed
in.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from sdperf.measure.clock import Clock, monotonic_clock

Activity = Literal[
    "start-up",
    "process starts",
    "model loads",
    "first calls",
    "warm-up rounds",
    "measured rounds",
    "profiled rounds",
    "device's peak",
    "references",
    "quality",
    "comparing",
    "waiting",
    "the rest",
]
"""The activities. ``start-up`` lasts until the first worker's process runs, with all that were
started together with it. ``process starts`` are later ones, imports included. ``profiled rounds``
are rounds that are watched, profiled or counted. ``device's peak`` is measured without the
pipeline. ``references`` are images and recordings of reference pipelines. ``comparing`` scores
images, judges, and measures suspects again. ``waiting`` reads the machine's guards and repeats
rounds in which the machine was not steady."""

ACTIVITIES: Final[tuple[Activity, ...]] = get_args(Activity)
USEFUL: Final[tuple[Activity, ...]] = ("warm-up rounds", "measured rounds", "profiled rounds")


@dataclass(frozen=True)
class Durations:
    """Where a session's wall time went.

    Attributes:
        seconds: Seconds of each activity that took any, in the order of `ACTIVITIES`.
        loads: The loaded pipelines, each with its worker, such as ``fp32, worker 1``.
        reloads: The pipelines that were loaded again although no fresh process was needed.
    """

    seconds: Mapping[str, float]
    loads: Mapping[str, int] = field(default_factory=dict)
    reloads: tuple[str, ...] = ()

    @property
    def total_s(self) -> float:
        """The whole session so far, seconds."""
        return sum(self.seconds.values())

    @property
    def share_outside(self) -> float | None:
        """Share of the time after start-up that was not spent in rounds, in [0, 1].

        Rounds are timed rounds, warm-ups, and profiled or watched rounds.

        ``None`` until there is such time.
        """
        after_s = self.total_s - self.seconds.get("start-up", 0.0)
        useful_s = sum(self.seconds.get(name, 0.0) for name in USEFUL)
        return (after_s - useful_s) / after_s if after_s > 0 else None


class Ledger:
    """Counts the wall time of one thread by activity, without the time of other threads.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Clock = monotonic_clock) -> None:
        self._clock = clock
        self._thread = threading.get_ident()
        self._seconds: dict[Activity, float] = dict.fromkeys(ACTIVITIES, 0.0)
        self._open: list[Activity] = ["start-up"]
        self._since_s = clock()
        self._loads: Counter[str] = Counter()
        self._reloads: list[str] = []

    @contextlib.contextmanager
    def spend(self, activity: Activity) -> Iterator[None]:
        """Count this block as an activity, without the activities that are counted inside it."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._settle()
        self._open.append(activity)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def move(self, seconds: float, origin: Activity, target: Activity) -> None:
        """Move seconds from one activity to another, at most as many as were counted."""
        self._settle()
        moved_s = min(max(seconds, 0.0), self._seconds[origin])
        self._seconds[origin] -= moved_s
        self._seconds[target] += moved_s

    def note_load(self, what: str, *, is_fresh: bool) -> None:
        """Note that a worker loaded a pipeline.

        Args:
            what: The pipeline and the worker.
            is_fresh: Whether a fresh process was needed, so that loading again is not waste.
        """
        if self._loads[what] and not is_fresh:
            self._reloads.append(what)
        self._loads[what] += 1
        if self._open[0] == "start-up":
            self._settle()
            self.move(self._seconds["process starts"], "process starts", "start-up")
            self._open[0] = "the rest"

    def read(self) -> Durations:
        """Return the times so far."""
        self._settle()
        spent = ((name, self._seconds[name]) for name in ACTIVITIES)
        seconds: dict[str, float] = {name: seconds for name, seconds in spent if seconds > 0}
        return Durations(seconds, dict(self._loads), tuple(self._reloads))

    def _settle(self) -> None:
        now_s = self._clock()
        self._seconds[self._open[-1]] += now_s - self._since_s
        self._since_s = now_s
