"""Processor, memory, swap and disk of the process tree and of the machine, from psutil."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import psutil

from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.measure.resources.apple.apple_rusage import read_process_usage
from sdperf.measure.resources.linux.linux_swap import SwapTotals, read_linux_swap
from sdperf.measure.resources.probe import ProcessSample, Reading
from sdperf.measure.system import LIVE_SYSTEM, System
from sdperf.record.usage import Counter, Gauge

_SHORTEST_SPAN_S: Final = 0.05
"""Processor times advance in steps of 10 ms; a share over fewer seconds than this is noise."""

_UNBORN: Final = ProcessSample(
    pid=0, started_s=0.0, name="", cpu_s=0.0, rss_bytes=0, disk_read_bytes=0, disk_written_bytes=0
)
"""The use of a process before the window, where it started within the window."""

_WATCHERS: Final = frozenset({"ioreg", "macmon", "powermetrics", "sudo", "vcgencmd"})
"""Programs that probes start; they are in the process tree but are not watched."""

_TREE_AGE_S: Final = 2.0
"""Seconds for which a list of the tree's processes is used; making one reads all processes."""


@dataclass(frozen=True)
class SystemSample:
    """The whole machine at one moment; counters run since boot.

    Attributes:
        cpu_busy_s: Processor seconds of all work, summed over processors.
        cpu_total_s: Processor seconds of all work and of idle time.
        available_bytes: Bytes of memory that are available without swapping.
        swap_used_bytes: Bytes of swap space in use.
        swapped_in_bytes: Bytes read back from swap.
        swapped_out_bytes: Bytes moved to swap.
        disk_read_bytes: Bytes read from all disks.
        disk_written_bytes: Bytes written to all disks.
    """

    cpu_busy_s: float
    cpu_total_s: float
    available_bytes: int
    swap_used_bytes: int | None = None
    swapped_in_bytes: int | None = None
    swapped_out_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None


class HostSource(Protocol):
    """The source of the readings of `HostProbe`."""

    def read_processes(self) -> tuple[ProcessSample, ...]:
        """Read the tree's processes that are alive and may be read."""

    def read_system(self) -> SystemSample:
        """Read the machine."""


class HostProbe:
    """Turns samples of processes and machine into readings.

    Processes start and end: the use of an ended process stays counted, and a process that starts
    within the window counts from its start. A process that starts and ends between two readings
    is not seen.

    Attributes:
        apart: Ids of the tree's processes that are left out, since they are not watched.
    """

    name = "psutil"
    period_s = 0.0

    def __init__(self, source: HostSource, clock: Clock = monotonic_clock) -> None:
        self._source = source
        self._clock = clock
        self.apart: frozenset[int] = frozenset()
        self._seen: dict[tuple[int, float], ProcessSample] | None = None
        self._used: dict[Counter, float] = {"tree_cpu_s": 0.0}
        self._marked: tuple[float, float, SystemSample] | None = None

    def begin(self) -> None:
        """Compute shares from the next reading on; the tree's use so far stays counted."""
        self._marked = None

    def read(self) -> Reading:
        """Read the tree and the machine."""
        system, found = self._source.read_system(), self._source.read_processes()
        processes = tuple(process for process in found if process.pid not in self.apart)
        now_s = self._clock()
        self._count(processes)
        gauges: dict[Gauge, float] = {
            "tree_rss_bytes": sum(process.rss_bytes for process in processes),
            "system_available_bytes": system.available_bytes,
            **self._shares(now_s, system),
        }
        footprints = [process.footprint_bytes for process in processes]
        known = [footprint for footprint in footprints if footprint is not None]
        if known and len(known) == len(footprints):
            gauges["tree_footprint_bytes"] = sum(known)
        if system.swap_used_bytes is not None:
            gauges["system_swap_used_bytes"] = system.swap_used_bytes
        totals: Mapping[Counter, int | None] = {
            "system_disk_read_bytes": system.disk_read_bytes,
            "system_disk_written_bytes": system.disk_written_bytes,
            "system_swapped_in_bytes": system.swapped_in_bytes,
            "system_swapped_out_bytes": system.swapped_out_bytes,
        }
        known_totals = {name: value for name, value in totals.items() if value is not None}
        return Reading(gauges, {**self._used, **known_totals}, processes)

    def close(self) -> None:
        """Hold nothing."""

    def _count(self, processes: tuple[ProcessSample, ...]) -> None:
        """Add to the tree's totals the use of each process since its last reading."""
        for now in processes:
            then = now if self._seen is None else self._seen.get((now.pid, now.started_s), _UNBORN)
            self._add("tree_cpu_s", now.cpu_s, then.cpu_s)
            self._add("tree_disk_read_bytes", now.disk_read_bytes, then.disk_read_bytes)
            self._add("tree_disk_written_bytes", now.disk_written_bytes, then.disk_written_bytes)
        self._seen = {(process.pid, process.started_s): process for process in processes}

    def _add(self, name: Counter, now: float | None, last: float | None) -> None:
        if now is not None and last is not None:
            self._used[name] = self._used.get(name, 0.0) + max(0.0, now - last)

    def _shares(self, now_s: float, system: SystemSample) -> dict[Gauge, float]:
        used_s = self._used["tree_cpu_s"]
        if self._marked is None:
            self._marked = (now_s, used_s, system)
            return {}
        then_s, used_then_s, then = self._marked
        if now_s - then_s < _SHORTEST_SPAN_S:
            return {}
        self._marked = (now_s, used_s, system)
        shares: dict[Gauge, float] = {
            "tree_cpu_percent": 100 * (used_s - used_then_s) / (now_s - then_s)
        }
        total_s = system.cpu_total_s - then.cpu_total_s
        if total_s > 0:
            busy = (system.cpu_busy_s - then.cpu_busy_s) / total_s
            shares["system_cpu_percent"] = 100 * min(1.0, max(0.0, busy))
        return shares


class PsutilSource:
    """This machine and the tree below one of its processes, from psutil.

    Args:
        pid: The tree's root; this process by default.
        clock: Returns seconds; decides when the list of processes is read again.
        system: The source of swap counters on Linux.
    """

    def __init__(
        self,
        pid: int | None = None,
        *,
        clock: Clock = monotonic_clock,
        system: System = LIVE_SYSTEM,
    ) -> None:
        self._root = psutil.Process(os.getpid() if pid is None else pid)
        self._clock = clock
        self._system = system
        self._listed_s: float | None = None
        self._listed: list[psutil.Process] = []

    def read_pids(self) -> frozenset[int]:
        """Number the tree's processes."""
        return frozenset(process.pid for process in self._list())

    def read_processes(self) -> tuple[ProcessSample, ...]:
        """Read the tree's processes that are alive, may be read and are not probes' own."""
        samples = (_read_process(process) for process in self._list())
        return tuple(
            sample for sample in samples if sample is not None and sample.name not in _WATCHERS
        )

    def read_system(self) -> SystemSample:
        """Read the machine."""
        times = psutil.cpu_times()
        guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        total_s = sum(times) - guests_s
        disk = psutil.disk_io_counters()
        swap = self._read_swap()
        return SystemSample(
            cpu_busy_s=total_s - times.idle - getattr(times, "iowait", 0.0),
            cpu_total_s=total_s,
            available_bytes=psutil.virtual_memory().available,
            swap_used_bytes=swap.used_bytes,
            swapped_in_bytes=swap.swapped_in_bytes,
            swapped_out_bytes=swap.swapped_out_bytes,
            disk_read_bytes=None if disk is None else disk.read_bytes,
            disk_written_bytes=None if disk is None else disk.write_bytes,
        )

    def _read_swap(self) -> SwapTotals:
        if self._system.platform == "linux":
            return read_linux_swap(self._system)
        swap = psutil.swap_memory()
        return SwapTotals(swap.used, swap.sin, swap.sout)

    def _list(self) -> list[psutil.Process]:
        now_s = self._clock()
        if self._listed_s is None or now_s - self._listed_s >= _TREE_AGE_S:
            try:
                children = self._root.children(recursive=True)
            except psutil.Error:
                children = []
            self._listed = [self._root, *children]
            self._listed_s = now_s
        return self._listed


def _read_process(process: psutil.Process) -> ProcessSample | None:
    try:
        with process.oneshot():
            times = process.cpu_times()
            read, written = _read_disk(process)
            usage = read_process_usage(process.pid)
            return ProcessSample(
                pid=process.pid,
                started_s=process.create_time(),
                name=process.name(),
                cpu_s=times.user + times.system,
                rss_bytes=process.memory_info().rss,
                footprint_bytes=usage.footprint_bytes if usage else None,
                disk_read_bytes=usage.disk_read_bytes if usage else read,
                disk_written_bytes=usage.disk_written_bytes if usage else written,
            )
    except psutil.Error:
        return None


def _read_disk(process: psutil.Process) -> tuple[int | None, int | None]:
    """Read a process's storage traffic; psutil lacks it on macOS, and so do some kernels."""
    ask: Callable[[], object] | None = getattr(process, "io_counters", None)
    if ask is None:
        return None, None
    try:
        counted = ask()
    except (psutil.AccessDenied, NotImplementedError):
        return None, None
    return getattr(counted, "read_bytes", None), getattr(counted, "write_bytes", None)
