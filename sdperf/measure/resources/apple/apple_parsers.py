"""Parses the output of macOS' own programs into readings. Pure: text in, frozen values out.

Every parser accepts any output, also an empty, incomplete or different one, and returns ``None``
(or a reading with ``None`` fields) where a value is missing. No parser raises.
"""

from __future__ import annotations

import json
import plistlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from xml.parsers.expat import ExpatError

from sdperf.measure.resources.numbers import (
    parse_amount,
    parse_count,
    parse_number,
    parse_percent,
    parse_positive,
    parse_whole,
)

Number = TypeVar("Number", int, float)

THERMAL_LEVELS: Final = ("nominal", "moderate", "heavy", "trapping", "sleeping")
"""Levels 0 to 4 of ``OSThermalNotification.h``, in lower case."""

MEMORY_PRESSURES: Final[Mapping[str, str]] = {"1": "normal", "2": "warn", "4": "critical"}
"""``kern.memorystatus_vm_pressure_level`` in words."""

IOREG_ACCELERATORS: Final = (
    "/usr/sbin/ioreg",
    *("-a", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator"),
)
"""The command whose property list `parse_ioreg_accelerators` reads."""

_PLIST_ERRORS: Final = (
    ExpatError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)
"""Exceptions of ``plistlib`` on text that is not a complete property list."""

_BYTES_PER_UNIT: Final = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class GpuReading:
    """The graphics part of the whole system, from ``ioreg`` or ``system_profiler``.

    Attributes:
        name: Its name, such as ``Apple M4 Max``.
        cores: Number of GPU cores.
        utilisation_percent: The driver's momentary value for the whole system, in [0, 100].
        in_use_bytes: GPU memory in use by all processes.
    """

    name: str | None = None
    cores: int | None = None
    utilisation_percent: float | None = None
    in_use_bytes: int | None = None


@dataclass(frozen=True)
class SwapTraffic:
    """Bytes swapped in and out since boot; only differences are meaningful."""

    swapped_in_bytes: int
    swapped_out_bytes: int


@dataclass(frozen=True)
class ProcessReading:
    """The resources of one of sdperf's own processes.

    Attributes:
        footprint_bytes: Memory charged to it, including Metal allocations and compressed memory.
        disk_read_bytes: Bytes read from storage since it started.
        disk_written_bytes: Bytes written to storage since it started.
    """

    footprint_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None


@dataclass(frozen=True)
class PowerReading:
    """One sample of ``macmon`` or ``powermetrics``; all values are model-based estimates.

    Attributes:
        gpu_power_w: Power of the GPU alone.
        cpu_power_w: Power of all CPU clusters; 0 over a busy window is not a reading (macOS 27).
        system_power_w: Power of the whole machine, from its power sensor.
        gpu_active_percent: Share of the window in which the GPU was not idle.
        gpu_clock_mhz: Mean active clock of the GPU.
        gpu_top_clock_percent: Share of the active time at the GPU's highest clock.
        gpu_temperature_c: Mean temperature of the GPU's sensors.
    """

    gpu_power_w: float | None = None
    cpu_power_w: float | None = None
    system_power_w: float | None = None
    gpu_active_percent: float | None = None
    gpu_clock_mhz: float | None = None
    gpu_top_clock_percent: float | None = None
    gpu_temperature_c: float | None = None


def parse_sysctl(text: str) -> dict[str, str]:
    """Read ``sysctl -i key ...``: one ``key: value`` a line; unknown keys are simply absent."""
    return {
        key: value.strip()
        for key, value in re.findall(r"^([\w.]+):[ \t]*(.*)$", text, flags=re.MULTILINE)
    }


def parse_thermal_level(text: str) -> str | None:
    """Read ``notifyutil -g com.apple.system.thermalpressurelevel``: one of `THERMAL_LEVELS`.

    The program reports its own failure on standard output with exit status 0.
    """
    found = re.search(r"thermalpressurelevel[ \t]+([0-9]+)[ \t]*$", text, flags=re.MULTILINE)
    level = parse_count(found.group(1)) if found else None
    return THERMAL_LEVELS[level] if level is not None and level < len(THERMAL_LEVELS) else None


def parse_power_source(text: str) -> str | None:
    """Read the first line of ``pmset -g batt``: ``ac``, or ``battery`` (also one of a UPS)."""
    found = re.match(r"\s*Now drawing from '(AC|Battery|UPS) Power'", text)
    if found is None:
        return None
    return "ac" if found.group(1) == "AC" else "battery"


def parse_power_mode(text: str, power_source: str | None = None) -> str | None:
    """Read the energy mode from ``pmset -g`` or ``pmset -g custom``: ``low``, ``normal``, ``high``.

    Machines have either ``lowpowermode`` (0, 1) or ``powermode`` (0 automatic, 1 low, 2 high), or
    neither. ``custom`` lists one section per source.

    Args:
        text: What the program printed.
        power_source: ``ac`` or ``battery``; decides the section where there are several.
    """
    section, modes = None, {}
    for line in text.splitlines():
        heading = re.fullmatch(r"(\S.*):\s*", line)
        if heading:
            section = heading.group(1)
        setting = re.match(r"\s+(lowpowermode|powermode)\s+([0-9])\b", line)
        if setting:
            modes[section, setting.group(1)] = setting.group(2)
    wanted = {"ac": "AC Power", "battery": "Battery Power"}.get(power_source or "")
    for place in ("Currently in use", wanted):
        if (place, "powermode") in modes:
            return {"0": "normal", "1": "low", "2": "high"}.get(modes[place, "powermode"])
        if (place, "lowpowermode") in modes:
            return {"0": "normal", "1": "low"}.get(modes[place, "lowpowermode"])
    return None


def parse_ioreg_accelerators(text: str) -> GpuReading | None:
    """Read ``ioreg -a -r -d 1 -w 0 -c IOAccelerator``, a property list of all accelerators.

    Where there are several, the busiest counts, field by field. Utilisation outside [0, 100] and
    sizes below zero are not readings.

    Returns:
        ``None`` where there is no accelerator, as in many virtual machines (empty output).
    """
    entries = [entry for entry in _as_list(_parse_plist(text)) if isinstance(entry, dict)]
    if not entries:
        return None
    statistics = [_as_dict(entry.get("PerformanceStatistics")) for entry in entries]
    names = [entry["model"] for entry in entries if isinstance(entry.get("model"), str)]
    return GpuReading(
        name=names[0] if names else None,
        cores=_largest(parse_whole(entry.get("gpu-core-count")) for entry in entries),
        utilisation_percent=_largest(
            parse_percent(one.get("Device Utilization %")) for one in statistics
        ),
        in_use_bytes=_largest(parse_whole(one.get("In use system memory")) for one in statistics),
    )


def parse_displays(text: str) -> GpuReading | None:
    """Read name and cores of the GPU from ``system_profiler SPDisplaysDataType -json``."""
    for entry in _as_list(_as_dict(_parse_json(text)).get("SPDisplaysDataType")):
        card = _as_dict(entry)
        name, cores = card.get("sppci_model"), card.get("sppci_cores")
        if isinstance(name, str):
            return GpuReading(
                name=name, cores=parse_count(cores) if isinstance(cores, str) else None
            )
    return None


def parse_swap_used(text: str | None) -> int | None:
    """Read the bytes in use from ``vm.swapusage``: ``total = 4096.00M  used = 3017.25M ...``."""
    found = re.search(r"\bused = ([0-9]{1,12}(?:\.[0-9]{1,6})?)([BKMGT])\b", text or "")
    return round(float(found.group(1)) * _BYTES_PER_UNIT[found.group(2)]) if found else None


def parse_vm_stat(text: str) -> SwapTraffic | None:
    """Read the swap counters of ``vm_stat``, which counts pages of the size in its first line."""
    page = re.search(r"page size of ([0-9]{1,9}) bytes", text)
    pages = {
        name: int(count)
        for name, count in re.findall(
            r"^(Swapins|Swapouts):\s+([0-9]{1,19})\.?[ \t]*$", text, flags=re.MULTILINE
        )
    }
    if page is None or set(pages) != {"Swapins", "Swapouts"}:
        return None
    size = int(page.group(1))
    return SwapTraffic(
        swapped_in_bytes=pages["Swapins"] * size, swapped_out_bytes=pages["Swapouts"] * size
    )


def parse_footprint(text: str) -> int | None:
    """Read the bytes of ``footprint --noCategories -f bytes -p PID``."""
    found = re.search(r"^\s*phys_footprint: ([0-9]{1,19}) B\s*$", text, flags=re.MULTILINE)
    return int(found.group(1)) if found else None


RUSAGE_V4: Final = struct.Struct("=16s35Q")
"""``struct rusage_info_v4`` of ``<sys/resource.h>``: a UUID and 35 unsigned 64-bit numbers."""

_RUSAGE_PHYS_FOOTPRINT: Final = 8
_RUSAGE_DISK_READ: Final = 17
_RUSAGE_DISK_WRITTEN: Final = 18


def parse_rusage(raw: bytes) -> ProcessReading | None:
    """Read what ``proc_pid_rusage(pid, RUSAGE_INFO_V4, ...)`` wrote.

    Source: ``struct rusage_info_v4`` in Apple's ``xnu/bsd/sys/resource.h``.
    """
    if len(raw) < RUSAGE_V4.size:
        return None
    fields = RUSAGE_V4.unpack_from(raw)
    return ProcessReading(
        footprint_bytes=fields[_RUSAGE_PHYS_FOOTPRINT],
        disk_read_bytes=fields[_RUSAGE_DISK_READ],
        disk_written_bytes=fields[_RUSAGE_DISK_WRITTEN],
    )


def parse_macmon(text: str) -> tuple[PowerReading, ...]:
    """Read ``macmon pipe``: one JSON object a line; an unfinished last line is dropped.

    A system power or temperature of exactly 0 means that the sensor could not be read. Before
    version 0.8 the GPU's activity was only in ``gpu_usage`` (clock in MHz, ratio).
    """
    readings = []
    for line in text.splitlines(keepends=True):
        sample = _as_dict(_parse_json(line) if line.endswith("\n") else None)
        if not sample:
            continue
        usage = _as_list(sample.get("gpu_usage"))
        clock, ratio = usage if len(usage) == 2 else (None, None)
        active = parse_number(sample.get("gpu_active_ratio", ratio))
        readings.append(
            PowerReading(
                gpu_power_w=parse_amount(sample.get("gpu_power")),
                cpu_power_w=parse_positive(sample.get("cpu_power")),
                system_power_w=parse_positive(sample.get("sys_power")),
                gpu_active_percent=None if active is None else parse_percent(active * 100),
                gpu_clock_mhz=parse_positive(sample.get("gpu_freq_mhz", clock)),
                gpu_temperature_c=parse_positive(_as_dict(sample.get("temp")).get("gpu_temp_avg")),
            )
        )
    return tuple(readings)


def parse_powermetrics(text: str) -> tuple[PowerReading, ...]:
    """Read ``powermetrics -f plist``: property lists with a NUL between them.

    The last one may be cut off and is then dropped. The program calls the GPU's clock ``freq_hz``
    and means MHz; power is in milliwatts.
    """
    readings = []
    for part in text.split("\0"):
        sample = _as_dict(_parse_plist(part))
        if not sample:
            continue
        processor, gpu = _as_dict(sample.get("processor")), _as_dict(sample.get("gpu"))
        idle = parse_number(gpu.get("idle_ratio"))
        gpu_power_mw = parse_amount(processor.get("gpu_power"))
        cpu_power_mw = parse_positive(processor.get("cpu_power"))
        readings.append(
            PowerReading(
                gpu_power_w=None if gpu_power_mw is None else gpu_power_mw / 1e3,
                cpu_power_w=None if cpu_power_mw is None else cpu_power_mw / 1e3,
                gpu_active_percent=None if idle is None else parse_percent((1 - idle) * 100),
                gpu_clock_mhz=parse_positive(gpu.get("freq_hz")),
                gpu_top_clock_percent=_top_clock_percent(gpu.get("dvfm_states")),
            )
        )
    return tuple(readings)


def parse_time_machine(text: str) -> bool | None:
    """Tell from ``tmutil status`` (an old-style property list) whether a backup is running."""
    found = re.search(r"^\s*Running = \"?([01])\"?;", text, flags=re.MULTILINE)
    return None if found is None else found.group(1) == "1"


def parse_process_cpu(text: str) -> dict[str, float]:
    """Read ``ps -Aceo pcpu,comm``: percent of one core, summed over processes of one name."""
    busy: dict[str, float] = {}
    for share, name in re.findall(
        r"^\s*([0-9]{1,6}(?:\.[0-9]{1,3})?)\s+(\S.*?)\s*$", text, flags=re.MULTILINE
    ):
        busy[name] = busy.get(name, 0.0) + float(share)
    return busy


def _top_clock_percent(states: object) -> float | None:
    shares = [
        (clock, share)
        for clock, share in (
            (
                parse_number(_as_dict(state).get("freq")),
                parse_number(_as_dict(state).get("used_ratio")),
            )
            for state in _as_list(states)
        )
        if clock is not None and share is not None and share >= 0
    ]
    active = sum(share for _, share in shares)
    return parse_percent(max(shares)[1] / active * 100) if active > 0 else None


def _parse_plist(text: str) -> object:
    try:
        return plistlib.loads(text.encode(errors="replace"), fmt=plistlib.FMT_XML)
    except _PLIST_ERRORS:
        return None


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _largest(values: Iterable[Number | None]) -> Number | None:
    return max((value for value in values if value is not None), default=None)
