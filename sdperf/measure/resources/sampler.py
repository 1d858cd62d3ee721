"""Reads probes at regular ticks while other code works, and summarises their values."""

from __future__ import annotations

import itertools
import math
import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.measure.resources.probe import Probe, ProcessSample, Reading
from sdperf.record.usage import (
    COUNTERS,
    GAUGES,
    MAX_TIMELINE_POINTS,
    RATES,
    Counter,
    Curve,
    Gauge,
    ProcessUsage,
    ResourceUsage,
)
from sdperf.stats.summaries import compute_quantile

DEFAULT_INTERVAL_S: Final = 0.5
MAX_SAMPLES: Final = 8192
"""The most samples of a curve. When there are more, every second one is dropped and ticks come half
as often, so that memory stays bounded in a window of any length."""

MAX_PROCESSES: Final = 32

SHORTEST_ENERGY_WINDOW_S: Final[dict[Counter, float]] = {
    "gpu_board_energy_j": 1.0,
    "gpu_soc_energy_j": 1.0,
    "cpu_soc_energy_j": 10.0,
    "dram_soc_energy_j": 10.0,
    "ane_soc_energy_j": 10.0,
}
"""Seconds: Apple's counters are published up to about 2 s apart and a board's some 0.1 s (12 J at a
time were seen on an H200), so shorter windows tell little."""

LOOKING_BACK: Final[frozenset[Gauge]] = frozenset(
    {
        "gpu_board_utilisation_percent",
        "gpu_board_memory_busy_percent",
        "gpu_soc_utilisation_percent",
    }
)
"""Gauges of the time before they are read: their value at the start of a window belongs to the time
before the window."""

_RATED: Final[frozenset[Counter]] = frozenset(RATES.values())

FROZEN_AT_ZERO: Final[frozenset[Counter]] = frozenset(
    {"gpu_board_energy_j", "cpu_soc_energy_j", "dram_soc_energy_j"}
)
"""Counters whose zero growth over a busy window is not a reading: those of the processor and the
memory do not count on macOS 27, and a board's holds its idle draw."""


def compute_curve(times_s: Sequence[float], values: Sequence[float]) -> Curve | None:
    """Summarise samples in time order; ``None`` without samples.

    >>> compute_curve([0.0, 1.0], [2.0, 4.0]).mean
    3.0
    """
    count = len(values)
    if count == 0:
        return None
    points = min(count, MAX_TIMELINE_POINTS)
    borders = [index * count // points for index in range(points + 1)]
    spans = [slice(*pair) for pair in itertools.pairwise(borders)]
    return Curve(
        mean=_mean(values),
        p95=compute_quantile(values, 0.95),
        peak=max(values),
        low=min(values),
        samples=count,
        times_s=tuple(_mean(times_s[span]) for span in spans),
        values=tuple(_mean(values[span]) for span in spans),
    )


def compute_rate(times_s: Sequence[float], totals: Sequence[float]) -> Curve | None:
    """Turn totals in time order into growth per second, in the middle of each pair of totals.

    A total that falls gives no rate: a process of the tree ended and its part is missing.

    >>> compute_rate([0.0, 2.0], [10.0, 16.0]).values
    (3.0,)
    """
    pairs = list(itertools.pairwise(zip(times_s, totals, strict=True)))
    rates = [
        ((start_s + end_s) / 2, (after - before) / (end_s - start_s))
        for (start_s, before), (end_s, after) in pairs
        if end_s > start_s and after >= before
    ]
    return compute_curve([at_s for at_s, _ in rates], [rate for _, rate in rates])


@dataclass
class _Series:
    times_s: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


@dataclass
class _Watched:
    last: ProcessSample
    cpu_before_s: float
    rss_peak_bytes: int
    footprint_peak_bytes: int | None


@dataclass
class _Asked:
    probe: Probe
    due_s: float = -math.inf
    broken: bool = False


class ResourceRecorder:
    """Keeps the values of probes, tick by tick. It never waits and has no thread.

    Args:
        probes: The probes; where two know the same number, the earlier one counts.
        interval_s: Seconds between ticks.
        clock: Returns seconds.
        cpu_clock: Returns processor seconds of the thread that ticks.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        interval_s: float = DEFAULT_INTERVAL_S,
        clock: Clock = monotonic_clock,
        cpu_clock: Clock = time.thread_time,
    ) -> None:
        self.interval_s = interval_s
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._names = tuple(probe.name for probe in probes)
        self._asked = [_Asked(probe) for probe in probes]
        self._faults: list[str] = []
        self._series: dict[tuple[str, Gauge | Counter], _Series] = {}
        self._counted: dict[tuple[str, Counter], tuple[float, float]] = {}
        self._processes: dict[tuple[int, float], _Watched] = {}
        self._start_s = self._end_s = 0.0
        self._ticks = 0
        self._spent_s = 0.0
        self._spent_cpu_s = 0.0

    def tick(self, *, border: bool = False) -> None:
        """Read every probe that is due; at the borders of the window read all of them."""
        before_s, before_cpu_s = self._clock(), self._cpu_clock()
        if self._ticks == 0:
            self._start_s = before_s
        self._end_s = before_s
        for asked in self._asked:
            if not asked.broken and (border or before_s >= asked.due_s):
                asked.due_s = before_s + asked.probe.period_s
                self._ask(asked)
        self._ticks += 1
        self._spent_s += self._clock() - before_s
        self._spent_cpu_s += self._cpu_clock() - before_cpu_s

    def summarise(self, images: int | None = None) -> ResourceUsage:
        """Summarise the window from the first tick to the last.

        Args:
            images: How many images were delivered in the window.
        """
        window_s = self._end_s - self._start_s
        numbers: dict[str, Any] = {name: self._curve(name) for name in GAUGES}
        numbers |= {name: self._growth(name, window_s) for name in COUNTERS}
        numbers |= {name: self._rate(counter) for name, counter in RATES.items()}
        return ResourceUsage(
            window_s=window_s,
            images=images,
            ticks=self._ticks,
            interval_s=self.interval_s,
            watching_s=self._spent_s,
            watching_cpu_s=self._spent_cpu_s,
            probes=self._names,
            faults=tuple(self._faults),
            processes=self._summarise_processes(window_s),
            **numbers,
        )

    def _ask(self, asked: _Asked) -> None:
        name = asked.probe.name
        try:
            if self._ticks == 0:
                asked.probe.begin()
            reading = asked.probe.read()
        except Exception as error:  # noqa: BLE001 - watching must not end what is watched
            self._faults.append(f"{name}: {type(error).__name__}: {error}")
            asked.broken = True
        else:
            self._keep(name, self._clock() - self._start_s, reading)

    def _keep(self, probe: str, now_s: float, reading: Reading) -> None:
        rated = {name: reading.counters[name] for name in _RATED & reading.counters.keys()}
        for name, value in (*reading.gauges.items(), *rated.items()):
            series = self._series.setdefault((probe, name), _Series())
            series.times_s.append(now_s)
            series.values.append(value)
        for counter, total in reading.counters.items():
            first = self._counted.get((probe, counter), (total, total))[0]
            if self._ticks == 0 or (probe, counter) in self._counted:
                self._counted[probe, counter] = (first, total)
        for process in reading.processes:
            self._watch(process)
        if any(len(series.values) >= MAX_SAMPLES for series in self._series.values()):
            self._thin()

    def _watch(self, process: ProcessSample) -> None:
        key = (process.pid, process.started_s)
        watched = self._processes.get(key)
        if watched is None:
            self._processes[key] = _Watched(
                last=process,
                cpu_before_s=process.cpu_s if self._ticks == 0 else 0.0,
                rss_peak_bytes=process.rss_bytes,
                footprint_peak_bytes=process.footprint_bytes,
            )
            return
        watched.last = process
        watched.rss_peak_bytes = max(watched.rss_peak_bytes, process.rss_bytes)
        if process.footprint_bytes is not None:
            watched.footprint_peak_bytes = max(
                watched.footprint_peak_bytes or 0, process.footprint_bytes
            )

    def _thin(self) -> None:
        self.interval_s *= 2
        for series in self._series.values():
            if len(series.values) > MAX_SAMPLES // 2:
                series.times_s = series.times_s[::2]
                series.values = series.values[::2]

    def _curve(self, name: Gauge) -> Curve | None:
        for probe in self._names:
            series = self._series.get((probe, name))
            if series is not None:
                first = int(name in LOOKING_BACK and len(series.values) > 1)
                return compute_curve(series.times_s[first:], series.values[first:])
        return None

    def _rate(self, name: Counter) -> Curve | None:
        for probe in self._names:
            series = self._series.get((probe, name))
            if series is not None:
                return compute_rate(series.times_s, series.values)
        return None

    def _growth(self, name: Counter, window_s: float) -> float | None:
        for probe in self._names:
            counted = self._counted.get((probe, name))
            if counted is None:
                continue
            growth = counted[1] - counted[0]
            too_short = window_s < SHORTEST_ENERGY_WINDOW_S.get(name, 0.0)
            frozen = growth == 0 and name in FROZEN_AT_ZERO
            return None if growth < 0 or too_short or frozen else growth
        return None

    def _summarise_processes(self, window_s: float) -> tuple[ProcessUsage, ...]:
        usages = []
        for watched in self._processes.values():
            cpu_s = watched.last.cpu_s - watched.cpu_before_s
            usages.append(
                ProcessUsage(
                    pid=watched.last.pid,
                    name=watched.last.name,
                    cpu_s=cpu_s,
                    cpu_percent=100 * cpu_s / window_s if window_s > 0 else None,
                    rss_peak_bytes=watched.rss_peak_bytes,
                    footprint_peak_bytes=watched.footprint_peak_bytes,
                )
            )
        return tuple(sorted(usages, key=lambda usage: -usage.cpu_s)[:MAX_PROCESSES])


class Sampler:
    """Ticks a recorder from a separate thread, and at both borders of the window.

    Use it around rounds that are watched, never around timed ones:

        with Sampler(probes) as sampler:
            generate()
        usage = sampler.stop(images=4)

    On a GPU the caller empties the device's queue right before both borders; otherwise the energy
    of work still queued is counted elsewhere. Leaving the ``with`` block ends the window and
    closes no probe.

    Args:
        probes: As for `Recorder`.
        interval_s: As for `Recorder`.
        clock: As for `Recorder`.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        interval_s: float = DEFAULT_INTERVAL_S,
        clock: Clock = monotonic_clock,
    ) -> None:
        self._recorder = ResourceRecorder(probes, interval_s=interval_s, clock=clock)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sdperf-sampler", daemon=True)

    def start(self) -> None:
        """Begin the window with a tick in the calling thread, then tick beside it."""
        self._recorder.tick(border=True)
        self._thread.start()

    def stop(self, images: int | None = None) -> ResourceUsage:
        """End the window with a tick in the calling thread; a second call only summarises again.

        Args:
            images: How many images were delivered in the window.
        """
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self._recorder.tick(border=True)
        return self._recorder.summarise(images)

    def __enter__(self) -> Sampler:
        """Begin the window."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the window, also when the work failed."""
        self.stop()

    def _run(self) -> None:
        while not self._ended.wait(self._recorder.interval_s):
            self._recorder.tick()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
