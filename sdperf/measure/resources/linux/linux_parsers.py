"""Parses Linux' ``/proc`` and ``/sys``. Pure: text in, values out; no parser raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_MAX_CPUS: Final = 1 << 16


@dataclass(frozen=True)
class CpuTimes:
    """System-wide processor time since boot, in clock ticks; only differences are meaningful.

    Attributes:
        total: All time, idle time included.
        stolen: Time that the hypervisor gave to others while this machine had work.
        idle: Time without work, waiting for a disk included; ``None`` is unknown.
    """

    total: int
    stolen: int
    idle: int | None = None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Read a list of processors such as ``0-3,8``; empty where the text is not such a list.

    >>> sorted(parse_cpu_list("0-2,5"))
    [0, 1, 2, 5]
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if found is None:
            return frozenset()
        first, last = int(found.group(1)), int(found.group(2) or found.group(1))
        cpus.update(range(first, min(last, _MAX_CPUS) + 1))
    return frozenset(cpus)


def parse_allowed_cpus(status: str) -> frozenset[int]:
    """Read the processors that ``/proc/self/status`` lets this process run on."""
    found = re.search(r"^Cpus_allowed_list:[ \t]*(.*)$", status, flags=re.MULTILINE)
    return parse_cpu_list(found.group(1)) if found else frozenset()


def parse_meminfo(text: str) -> dict[str, int]:
    """Read ``/proc/meminfo`` (``MemTotal:  32768 kB``) as bytes by name."""
    return {
        name: int(kibibytes) * 1024
        for name, kibibytes in re.findall(
            r"^(\w+):[ \t]+([0-9]{1,16}) kB[ \t]*$", text, flags=re.MULTILINE
        )
    }


def parse_os_release(text: str) -> dict[str, str]:
    """Read ``/etc/os-release``: ``KEY=value`` lines, values perhaps in quotes."""
    return {
        key: value.strip().strip("\"'")
        for key, value in re.findall(r"^([A-Z_]+)=(.*)$", text, flags=re.MULTILINE)
    }


def parse_chip(cpuinfo: str, device_tree_model: str | None = None) -> str | None:
    """Name the processor: the board of the device tree, else what ``/proc/cpuinfo`` tells.

    Arm processors have no name there, only numbers of their designer and part.
    """
    board = (device_tree_model or "").strip("\0 \n")
    if board:
        return board
    fields: dict[str, str] = dict(
        re.findall(r"^([\w ]+?)[ \t]*:[ \t]*(\S.*?)[ \t]*$", cpuinfo, re.MULTILINE)
    )
    if "model name" in fields:
        return fields["model name"]
    if "CPU implementer" in fields and "CPU part" in fields:
        return f"Arm {fields['CPU implementer']} part {fields['CPU part']}"
    return None


def parse_cpu_times(stat: str) -> CpuTimes | None:
    """Read the first line of ``/proc/stat``.

    Source: ``proc_stat(5)``: user, nice, system, idle, iowait, irq, softirq, steal; guest time
    is already part of user time.
    """
    found = re.match(r"cpu[ \t]+((?:[0-9]{1,19}[ \t]*){8,})", stat)
    if found is None:
        return None
    ticks = [int(number) for number in found.group(1).split()[:8]]
    return CpuTimes(total=sum(ticks), stolen=ticks[7], idle=ticks[3] + ticks[4])


def parse_cgroup_paths(text: str) -> dict[str, str]:
    """Read ``/proc/self/cgroup``: path by controller; the key of version 2 is empty."""
    paths: dict[str, str] = {}
    for controllers, path in re.findall(r"^[0-9]+:([\w=,.-]*):(/.*)$", text, flags=re.MULTILINE):
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def parse_cpu_quota(text: str) -> float | None:
    """Read ``cpu.max`` (``150000 100000``) as processors; ``None`` for ``max`` or anything else."""
    found = re.fullmatch(r"([0-9]{1,15})[ \t]+([1-9][0-9]{0,14})", text.strip())
    return int(found.group(1)) / int(found.group(2)) if found else None


def parse_key_counts(text: str) -> Mapping[str, int]:
    """Read ``cpu.stat`` and ``/proc/vmstat``: a name and a whole number a line."""
    return {
        name: int(count)
        for name, count in re.findall(r"^(\w+) ([0-9]{1,19})$", text, flags=re.MULTILINE)
    }
