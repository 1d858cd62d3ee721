"""The limits that a container or a service manager sets on this process (Linux control groups)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from sdperf.measure.resources.linux.linux_parsers import (
    parse_cgroup_paths,
    parse_cpu_quota,
    parse_key_counts,
)
from sdperf.measure.resources.numbers import parse_count
from sdperf.measure.system import System

_NO_LIMIT_BYTES: Final = 1 << 62
"""Version 1 writes the largest possible number of pages where there is no limit."""


@dataclass(frozen=True)
class CgroupLimits:
    """The narrowest limit among this process's group and the groups around it.

    Attributes:
        cpus: Processor seconds per second, such as 1.5; ``None`` where there is no limit.
        memory_bytes: Bytes of memory; ``None`` where there is no limit.
        throttled_periods: Number of periods since the group's start in which it had to wait because
            its processor time was used up; ``None`` where they are not counted.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    throttled_periods: int | None = None


def read_cgroup_limits(system: System) -> CgroupLimits:
    """Read the limits of version 2 and version 1 control groups; none outside Linux."""
    paths = parse_cgroup_paths(system.read_text("/proc/self/cgroup") or "")
    cpus, memory, throttled = [], [], []
    for folder in _folders("/sys/fs/cgroup", paths.get("")):
        cpus.append(parse_cpu_quota(system.read_text(f"{folder}/cpu.max") or ""))
        memory.append(parse_count(system.read_text(f"{folder}/memory.max")))
        throttled.append(_throttled(system, folder))
    for folder in _folders("/sys/fs/cgroup/cpu", paths.get("cpu")):
        quota = system.read_text(f"{folder}/cpu.cfs_quota_us") or ""
        period = system.read_text(f"{folder}/cpu.cfs_period_us") or ""
        cpus.append(parse_cpu_quota(f"{quota.strip()} {period.strip()}"))
        throttled.append(_throttled(system, folder))
    memory += [
        parse_count(system.read_text(f"{folder}/memory.limit_in_bytes"))
        for folder in _folders("/sys/fs/cgroup/memory", paths.get("memory"))
    ]
    return CgroupLimits(
        cpus=min((limit for limit in cpus if limit is not None), default=None),
        memory_bytes=min(
            (limit for limit in memory if limit is not None and limit < _NO_LIMIT_BYTES),
            default=None,
        ),
        throttled_periods=max((count for count in throttled if count is not None), default=None),
    )


def _folders(root: str, path: str | None) -> Iterator[str]:
    """Yield the group's folder and all above it; a container often sees only the root."""
    if path is not None:
        group = PurePosixPath(path)
        for parent in (group, *group.parents):
            yield root if parent == PurePosixPath("/") else f"{root}{parent}"


def _throttled(system: System, folder: str) -> int | None:
    return parse_key_counts(system.read_text(f"{folder}/cpu.stat") or "").get("nr_throttled")
