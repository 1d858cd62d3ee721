"""Memory and processor time of another program and of all its child processes."""

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
    """List a process and all below it; empty where it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def read_tree_peak_bytes(pid: int) -> int | None:
    """Sum the largest resident sets of the running processes of a tree; ``None`` is unknown.

    The processes may have had their peaks at different times, so the sum is an upper limit. macOS
    has no such number for other processes; there the present memory is used.
    """
    return _sum(pid, _read_peak_bytes)


def read_tree_resident_bytes(pid: int) -> int | None:
    """Sum the present memory of a tree's processes; ``None`` is unknown.

    Linux: resident pages without those of files and shared memory; macOS: ``phys_footprint``.
    """
    return _sum(pid, _read_resident_bytes)


def read_tree_cpu_s(pid: int) -> float | None:
    """Sum the processor seconds of a tree, and of ended children that it has waited for."""
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
