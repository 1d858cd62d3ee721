"""The one timed border: synchronize, read the clock, work, synchronize, read the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Clock = Callable[[], float]

monotonic_clock: Clock = time.perf_counter
"""Seconds since a start that all processes of this machine share (CLOCK_MONOTONIC on Linux,
mach_absolute_time on macOS), so that times of two workers can be compared."""


process_clock: Clock = time.process_time
"""Processor seconds of this process, user and system, of all its threads together."""


@dataclass(frozen=True)
class Interval(Generic[T]):
    """A timed piece of work: its borders in seconds of the clock, and what it returned.

    Attributes:
        start_s: Reading of the clock at the first border.
        end_s: Reading of the clock at the second border.
        result: The return value of the work.
        cpu_s: Processor seconds of all threads of this process meanwhile; ``None`` is unknown.
    """

    start_s: float
    end_s: float
    result: T
    cpu_s: float | None = None

    @property
    def duration_s(self) -> float:
        """Seconds between the borders."""
        return self.end_s - self.start_s


def timed(
    work: Callable[[], T], *, synchronize: Callable[[], None], clock: Clock = monotonic_clock
) -> Interval[T]:
    """Run ``work`` between two borders at which the device's queue is empty.

    Args:
        work: Called once. Its exceptions pass through, and then nothing is timed.
        synchronize: Returns when the device's queue is empty; called before each clock reading.
        clock: Returns seconds.

    Processor seconds are read outside of the borders.
    """
    synchronize()
    before_cpu_s = process_clock()
    start_s = clock()
    result = work()
    synchronize()
    end_s = clock()
    return Interval(start_s, end_s, result, process_clock() - before_cpu_s)


@contextmanager
def timed_block(
    note: Callable[[float, float], None], *, synchronize: Callable[[], None], clock: Clock
) -> Iterator[None]:
    """Put the borders of `timed` around a block, whose work may be inside another call.

    Args:
        note: Receives the block's start and end, seconds; not called where the block raises.
        synchronize: As for `timed`.
        clock: As for `timed`.
    """
    synchronize()
    start_s = clock()
    yield
    synchronize()
    note(start_s, clock())


class VirtualClock:
    """A clock that shows a time that it is given; pytest-benchmark reads it as its ``timer=``.

    A round is measured in a worker. Its seconds reach ``stats.data`` unchanged: before each round
    the clock is reset to zero, so the difference of the two readings is exactly the told value.
    """

    def __init__(self) -> None:
        self._now_s = 0.0

    def now(self) -> float:
        """Read the clock, in seconds."""
        return self._now_s

    def reset(self) -> None:
        """Set the clock to zero, before a round."""
        self._now_s = 0.0

    def show(self, seconds: float) -> None:
        """Let the clock show ``seconds`` from now on."""
        self._now_s = seconds


def wait_until(instant_s: float | None) -> None:
    """Wait for a time of the shared clock, without sleeping at the end."""
    if instant_s is None:
        return
    rest_s = instant_s - monotonic_clock()
    if rest_s > 0.002:
        time.sleep(rest_s - 0.002)
    while monotonic_clock() < instant_s:
        pass
