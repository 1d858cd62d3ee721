"""Memory and processor time of another program and of all that it started."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

_PEAK: Final = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


def list_tree(pid: int) -> list[psutil.Process]:
    """List a process and all below it; empty where it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def read_tree_peak_bytes(pid: int) -> int | None:
    """Sum the largest resident set of each process of a tree that runs now; ``None`` unknown.

    The processes need not have had their peaks together, so that the sum is an upper limit. macOS
    keeps no such number for others; the present memory stands for it there.
    """
    return _sum(pid, _read_peak_bytes)


def read_tree_resident_bytes(pid: int) -> int | None:
    """Sum the memory that a tree's processes hold now; ``None`` unknown.

    Linux: resident pages without those of files and shared memory; macOS: ``phys_footprint``.
    """
    return _sum(pid, _read_resident_bytes)


def read_tree_cpu_s(pid: int) -> float | None:
    """Sum the processor seconds of a tree, of the children that it has waited for too."""
    total = 0.0
    found = list_tree(pid)
    for process in found:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
            total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total if found else None


def _sum(pid: int, read: Callable[[psutil.Process], int | None]) -> int | None:
    values = [value for process in list_tree(pid) if (value := read(process)) is not None]
    return sum(values) if values else None


def _read_peak_bytes(process: psutil.Process) -> int | None:
    if sys.platform == "darwin":
        return _read_resident_bytes(process)
    try:
        found = _PEAK.search(Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return None if found is None else int(found.group(1)) * 1024


def _read_resident_bytes(process: psutil.Process) -> int | None:
    if sys.platform == "darwin":
        from sdperf.measure.resources.apple.apple_rusage import read_process_usage

        usage = read_process_usage(process.pid)
        return None if usage is None else usage.footprint_bytes
    try:
        memory = process.memory_info()
    except psutil.Error:
        return None
    return int(memory.rss) - int(getattr(memory, "shared", 0))
