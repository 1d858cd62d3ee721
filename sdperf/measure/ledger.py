"""Where a session's wall time goes: seconds by activity, each second counted once.

Activities nest; what happens inside another one is taken from it. The clock is passed in.
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
"""``start-up`` lasts until the first worker's process runs, and all that were started with it;
``process starts`` are those after it, imports included; ``profiled rounds`` are those that are
watched, profiled or counted; ``device's peak`` is measured without the pipeline; ``references``
are images and recordings of the pipeline that others are compared with; ``comparing`` scores
images, judges, and measures suspects again; ``waiting`` reads the machine's
guards and repeats rounds in which it did not hold still."""

ACTIVITIES: Final[tuple[Activity, ...]] = get_args(Activity)
USEFUL: Final[tuple[Activity, ...]] = ("warm-up rounds", "measured rounds", "profiled rounds")


@dataclass(frozen=True)
class Durations:
    """Where a session's wall time went.

    Attributes:
        seconds: Seconds of each activity that took any, in the order of `ACTIVITIES`.
        loads: Pipelines loaded, by what was loaded and into which worker, such as
            ``fp32, worker 1``.
        reloads: Those of them that were loaded again into a worker that nobody asked to be fresh.
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
        """Share of the time after start-up that no round took, in [0, 1].

        Rounds are timed, or warm up, or are profiled and watched for stages and resources.

        ``None`` before there is such time.
        """
        after_s = self.total_s - self.seconds.get("start-up", 0.0)
        useful_s = sum(self.seconds.get(name, 0.0) for name in USEFUL)
        return (after_s - useful_s) / after_s if after_s > 0 else None


class Ledger:
    """Counts the wall time of one thread by activity; what other threads spend is theirs.

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
        """Count what happens meanwhile as an activity, apart from what is counted inside it."""
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
        """Count seconds that were spent as one activity as another; never more than there are."""
        self._settle()
        moved_s = min(max(seconds, 0.0), self._seconds[origin])
        self._seconds[origin] -= moved_s
        self._seconds[target] += moved_s

    def note_load(self, what: str, *, is_fresh: bool) -> None:
        """Note that a worker loaded a pipeline.

        Args:
            what: Which pipeline into which worker.
            is_fresh: Whether a fresh process was wanted: loading again is no waste then.
        """
        if self._loads[what] and not is_fresh:
            self._reloads.append(what)
        self._loads[what] += 1
        if self._open[0] == "start-up":
            self._settle()
            self.move(self._seconds["process starts"], "process starts", "start-up")
            self._open[0] = "the rest"

    def read(self) -> Durations:
        """Return what was spent so far."""
        self._settle()
        spent = ((name, self._seconds[name]) for name in ACTIVITIES)
        seconds: dict[str, float] = {name: seconds for name, seconds in spent if seconds > 0}
        return Durations(seconds, dict(self._loads), tuple(self._reloads))

    def _settle(self) -> None:
        now_s = self._clock()
        self._seconds[self._open[-1]] += now_s - self._since_s
        self._since_s = now_s
