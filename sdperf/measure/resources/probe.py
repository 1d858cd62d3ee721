"""The interface of a probe: a source of numbers that can be read cheaply and often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sdperf.record.usage import Counter, Gauge


@dataclass(frozen=True)
class ProcessSample:
    """One process of the tree at one moment.

    Attributes:
        pid: Its process id.
        started_s: When it started, by any fixed clock; distinguishes reused process ids.
        name: Name of its program.
        cpu_s: Processor seconds since it started.
        rss_bytes: Bytes of its resident set.
        footprint_bytes: Bytes of its footprint (macOS); ``None`` is unknown.
        disk_read_bytes: Bytes read from storage since it started; ``None`` is unknown.
        disk_written_bytes: Bytes written to storage since it started; ``None`` is unknown.
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
    """The numbers of a probe at one moment; unknown numbers are left out."""

    gauges: Mapping[Gauge, float] = field(default_factory=dict)
    counters: Mapping[Counter, float] = field(default_factory=dict)
    processes: tuple[ProcessSample, ...] = ()


class Probe(Protocol):
    """A source of numbers, which one thread reads at a time.

    Attributes:
        name: Its short, fixed name, such as ``nvml``.
        period_s: Seconds between readings; more frequent readings give nothing new.
    """

    name: str
    period_s: float

    def begin(self) -> None:
        """Begin a window: forget earlier readings, such as the start of a rate."""

    def read(self) -> Reading:
        """Return the present values; never block for long."""

    def close(self) -> None:
        """Release its resources; it is not read again."""


@dataclass(frozen=True)
class Missing:
    """Why a probe is not available.

    Attributes:
        reason: What is missing, as one sentence without a full stop.
        hint: What to type or do to get it; ``None`` where nothing helps on this machine.
    """

    reason: str
    hint: str | None = None
