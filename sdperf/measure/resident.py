"""Reads the memory that this process holds for itself now, as the kernel counts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")


def read_resident_bytes() -> int | None:
    """Read the memory that is resident for this process alone; ``None`` where it cannot be known.

    Linux: resident pages without those of files and shared memory, so that weights that are mapped
    from a file and read step by step do not look like growth. macOS: the footprint, which
    includes what Metal holds and what was compressed. Memory that was swapped out on Linux is
    missing.
    """
    try:
        resident, shared = (int(pages) for pages in _STATM.read_bytes().split()[1:3])
    except (OSError, ValueError):
        return _read_footprint_bytes()
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _read_footprint_bytes() -> int | None:
    from sdperf.measure.resources.apple.apple_rusage import read_process_usage

    usage = read_process_usage(os.getpid())
    return None if usage is None else usage.footprint_bytes


def read_peak_rss_bytes() -> int | None:
    """Read the largest resident set of this process so far; ``None`` where it cannot be known."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
