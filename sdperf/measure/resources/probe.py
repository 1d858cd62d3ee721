"""The one thing a source of numbers has to be: something that can be asked, cheaply and often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sdperf.record.usage import Counter, Gauge


@dataclass(frozen=True)
class ProcessSample:
    """One process of the tree at one moment.

    Attributes:
        pid: Its number.
        started_s: When it started, by any fixed clock; tells reused numbers apart.
        name: Name of its program.
        cpu_s: Processor time since it started.
        rss_bytes: Resident set.
        footprint_bytes: macOS' footprint, where known.
        disk_read_bytes: Read from storage since it started, where known.
        disk_written_bytes: Written to storage since it started, where known.
    """

    pid: int
    started_s: float
    name: str
    cpu_s: float
    rss_bytes: int
    footprint_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None


@dataclass(frozen=True)
class Reading:
    """What a probe knows at one moment; a number that is not known is not there."""

    gauges: Mapping[Gauge, float] = field(default_factory=dict)
    counters: Mapping[Counter, float] = field(default_factory=dict)
    processes: tuple[ProcessSample, ...] = ()


class Probe(Protocol):
    """A source of numbers. It is asked by one thread at a time.

    Attributes:
        name: Short and fixed, such as ``nvml``.
        period_s: It need not be asked more often than this.
    """

    name: str
    period_s: float

    def begin(self) -> None:
        """A window begins: forget what came before it, such as the start of a rate."""

    def read(self) -> Reading:
        """Return what is known now; never block for long."""

    def close(self) -> None:
        """Let go of what it holds; it is not asked again."""


@dataclass(frozen=True)
class Missing:
    """Why a probe cannot be had.

    Attributes:
        reason: What is not there, as one sentence without a full stop.
        hint: What to type or do to get it; ``None`` where nothing helps on this machine.
    """

    reason: str
    hint: str | None = None
