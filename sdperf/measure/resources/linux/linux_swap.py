"""Swap of a Linux machine, read without psutil, which answers 0 where a container hides it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from sdperf.measure.resources.linux.linux_parsers import parse_key_counts, parse_meminfo
from sdperf.measure.system import System


@dataclass(frozen=True)
class SwapTotals:
    """Swap in use, and the bytes moved in and out since boot; ``None`` is unknown."""

    used_bytes: int | None
    swapped_in_bytes: int | None
    swapped_out_bytes: int | None


def read_linux_swap(system: System) -> SwapTotals:
    """Read ``/proc/meminfo`` and the page counters of ``/proc/vmstat``."""
    memory = parse_meminfo(system.read_text("/proc/meminfo") or "")
    pages = parse_key_counts(system.read_text("/proc/vmstat") or "")
    total, free = memory.get("SwapTotal"), memory.get("SwapFree")
    moved_in, moved_out = pages.get("pswpin"), pages.get("pswpout")
    return SwapTotals(
        used_bytes=None if total is None or free is None else total - free,
        swapped_in_bytes=None if moved_in is None else moved_in * mmap.PAGESIZE,
        swapped_out_bytes=None if moved_out is None else moved_out * mmap.PAGESIZE,
    )
