"""The condition of the machine at one moment, read from macOS, Linux and an NVIDIA board."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sdperf.device import DeviceKind
from sdperf.device.cpu_flags import parse_cpuinfo_flags
from sdperf.measure.environment import (
    read_apple_gpu,
    read_power_mode,
    read_power_source,
    read_result_variables,
    read_thermal_level,
)
from sdperf.measure.resources.apple.apple_parsers import (
    MEMORY_PRESSURES,
    parse_process_cpu,
    parse_swap_used,
    parse_sysctl,
    parse_time_machine,
    parse_vm_stat,
)
from sdperf.measure.resources.linux.arm import (
    read_cooling_state,
    read_firmware_flags,
    read_temperature,
)
from sdperf.measure.resources.linux.cgroup import CgroupLimits, read_cgroup_limits
from sdperf.measure.resources.linux.linux_parsers import (
    CpuTimes,
    parse_cpu_list,
    parse_cpu_times,
    parse_meminfo,
)
from sdperf.measure.resources.linux.linux_swap import read_linux_swap
from sdperf.measure.resources.numbers import parse_count
from sdperf.measure.resources.nvidia import GpuUser, NvmlGpu
from sdperf.measure.system import LIVE_SYSTEM, System

_SYSCTL_KEYS: Final = (
    "kern.hv_vmm_present",
    "kern.memorystatus_vm_pressure_level",
    "hw.logicalcpu",
    "iogpu.wired_limit_mb",
    "sysctl.proc_translated",
    "vm.loadavg",
    "vm.swapusage",
)

_BACKGROUND_PROGRAMS: Final = re.compile(
    r"mds|mds_stores|mdworker\w*|mediaanalysisd|photoanalysisd|backupd|softwareupdated"
)
_VIRTUAL_MAKERS: Final = re.compile(r"QEMU|KVM|VMware|Xen|Amazon EC2|Google")


@dataclass(frozen=True)
class Conditions:
    """The readings of the machine at one moment; ``None`` is unknown.

    Attributes:
        platform: ``sys.platform``.
        device_kind: The kind of device that the pipeline runs on.
        thermal_level: macOS' thermal level.
        power_source: ``ac`` or ``battery``.
        has_battery: Whether the machine could run on one (Linux).
        power_mode: ``low``, ``normal``, ``high``.
        memory_pressure: macOS' level: ``normal``, ``warn``, ``critical``.
        available_share: Available memory over all memory (Linux).
        swap_used_bytes: Swap in use.
        swapped_in_bytes: Bytes read back from swap since boot.
        swapped_out_bytes: Bytes moved to swap since boot.
        load_per_core: Load average of the last minute over all processors of the machine.
        background: Busy system programs (macOS), percent of one core by name.
        backup_running: Whether Time Machine is copying.
        virtual_machine: Whether this is a virtual machine.
        translated: Whether Python runs under Rosetta.
        variables: Environment variables that change results.
        gpu_busy_percent: Load of the GPU, all programs.
        gpu_users: Processes that compute on an NVIDIA board.
        clock_events: NVML's bit mask.
        limits: The control group's limits.
        cpu_times: Processor time since boot, including the time that the hypervisor took.
        governor: Linux' clock governor.
        throttle_count: How often processors slowed down for heat since boot (Linux, Intel).
        gpu_wired_limit_bytes: How much memory the GPU may use, set by hand (Mac); 0 is macOS' own
            choice.
        cooling_state: Steps by which the kernel lowers clocks for heat (Linux).
        firmware_flags: Bits of a Raspberry Pi's ``get_throttled``.
        temperature_c: The processor's hottest thermal zone (Linux).
        niceness: This process's nice value.
        is_background: Whether macOS keeps this process on slow cores.
    """

    platform: str
    device_kind: DeviceKind
    thermal_level: str | None = None
    power_source: str | None = None
    has_battery: bool | None = None
    power_mode: str | None = None
    memory_pressure: str | None = None
    available_share: float | None = None
    swap_used_bytes: int | None = None
    swapped_in_bytes: int | None = None
    swapped_out_bytes: int | None = None
    load_per_core: float | None = None
    background: Mapping[str, float] | None = None
    backup_running: bool | None = None
    virtual_machine: bool | None = None
    translated: bool | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    gpu_busy_percent: float | None = None
    gpu_users: tuple[GpuUser, ...] | None = None
    clock_events: int | None = None
    limits: CgroupLimits = field(default_factory=CgroupLimits)
    cpu_times: CpuTimes | None = None
    governor: str | None = None
    throttle_count: int | None = None
    gpu_wired_limit_bytes: int | None = None
    cooling_state: int | None = None
    firmware_flags: int | None = None
    temperature_c: float | None = None
    niceness: int | None = None
    is_background: bool | None = None


def read_conditions(
    device_kind: DeviceKind,
    *,
    system: System = LIVE_SYSTEM,
    gpu: NvmlGpu | None = None,
    thorough: bool = True,
) -> Conditions:
    """Read the machine's condition.

    Args:
        device_kind: The kind of device that the pipeline runs on.
        system: The source of the readings.
        gpu: The NVIDIA board; ``None`` without one.
        thorough: Whether to read also what matters only before a run (load by program, backup, GPU
            load); between rounds this would cost time in which clocks cool down.
    """
    if system.platform == "darwin":
        return _read_mac(device_kind, system, thorough=thorough)
    return _read_linux(device_kind, system, gpu)


def _read_mac(device_kind: DeviceKind, system: System, *, thorough: bool) -> Conditions:
    facts = parse_sysctl(system.run("/usr/sbin/sysctl", "-i", *_SYSCTL_KEYS) or "")
    traffic = parse_vm_stat(system.run("/usr/bin/vm_stat") or "")
    source = read_power_source(system)
    programs = system.run("/bin/ps", "-Aceo", "pcpu,comm") if thorough else None
    copying = system.run("/usr/bin/tmutil", "status") if thorough else None
    gpu = read_apple_gpu(system) if thorough and device_kind == "mps" else None
    wired_limit_mib = parse_count(facts.get("iogpu.wired_limit_mb"))
    return Conditions(
        platform=system.platform,
        device_kind=device_kind,
        thermal_level=read_thermal_level(system),
        power_source=source,
        power_mode=read_power_mode(system, source),
        memory_pressure=MEMORY_PRESSURES.get(facts.get("kern.memorystatus_vm_pressure_level", "")),
        swap_used_bytes=parse_swap_used(facts.get("vm.swapusage")),
        swapped_in_bytes=traffic.swapped_in_bytes if traffic else None,
        swapped_out_bytes=traffic.swapped_out_bytes if traffic else None,
        load_per_core=_per_core(
            facts.get("vm.loadavg", "").strip("{ "), parse_count(facts.get("hw.logicalcpu"))
        ),
        background=None if programs is None else _find_background(programs),
        backup_running=None if copying is None else parse_time_machine(copying),
        virtual_machine=_as_switch(facts.get("kern.hv_vmm_present")),
        translated=_is_translated(system, facts),
        variables=read_result_variables(system),
        gpu_busy_percent=gpu.utilisation_percent if gpu else None,
        gpu_wired_limit_bytes=None if wired_limit_mib is None else wired_limit_mib * 2**20,
        niceness=system.read_niceness(),
        is_background=system.is_background(),
    )


def _read_linux(device_kind: DeviceKind, system: System, gpu: NvmlGpu | None) -> Conditions:
    memory = parse_meminfo(system.read_text("/proc/meminfo") or "")
    swap = read_linux_swap(system)
    available, total = memory.get("MemAvailable"), memory.get("MemTotal")
    online = parse_cpu_list(system.read_text("/sys/devices/system/cpu/online") or "")
    source = read_power_source(system)
    return Conditions(
        platform=system.platform,
        device_kind=device_kind,
        power_source=source,
        has_battery=_has_battery(system),
        power_mode=read_power_mode(system, source),
        available_share=available / total if available is not None and total else None,
        swap_used_bytes=swap.used_bytes,
        swapped_in_bytes=swap.swapped_in_bytes,
        swapped_out_bytes=swap.swapped_out_bytes,
        load_per_core=_per_core(system.read_text("/proc/loadavg") or "", len(online)),
        virtual_machine=_is_virtual(system),
        variables=read_result_variables(system),
        gpu_busy_percent=gpu.read_utilisation()[0] if gpu else None,
        gpu_users=gpu.read_users() if gpu else None,
        clock_events=gpu.read_clock_events() if gpu else None,
        limits=read_cgroup_limits(system),
        cpu_times=parse_cpu_times(system.read_text("/proc/stat") or ""),
        governor=(
            system.read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or ""
        ).strip()
        or None,
        throttle_count=_count_throttling(system, online),
        cooling_state=read_cooling_state(system),
        firmware_flags=read_firmware_flags(system),
        temperature_c=read_temperature(system),
        niceness=system.read_niceness(),
    )


def _find_background(programs: str) -> dict[str, float]:
    busy = parse_process_cpu(programs)
    return {name: busy[name] for name in sorted(busy) if _BACKGROUND_PROGRAMS.fullmatch(name)}


def _is_translated(system: System, facts: Mapping[str, str]) -> bool | None:
    """Python is native where it runs as arm64; as x86_64 only the kernel knows."""
    if system.machine == "arm64":
        return False
    translated = _as_switch(facts.get("sysctl.proc_translated"))
    return False if translated is None and facts else translated


def _is_virtual(system: System) -> bool | None:
    """Look for a hypervisor in x86 processors' flags, or in an Arm machine's name."""
    flags = parse_cpuinfo_flags(system.read_text("/proc/cpuinfo") or "")
    if "fpu" in flags:
        return "hypervisor" in flags
    board = system.read_text("/proc/device-tree/model")
    if board is not None:
        return "virt" in board
    maker = system.read_text("/sys/class/dmi/id/sys_vendor") or ""
    return True if _VIRTUAL_MAKERS.search(maker) else None


def _has_battery(system: System) -> bool | None:
    """Tell whether a battery powers the machine; unknown where the kernel's tree is hidden."""
    if not system.list_names("/sys/class"):
        return None
    folder = "/sys/class/power_supply"
    kinds = (system.read_text(f"{folder}/{name}/type") for name in system.list_names(folder))
    return any((kind or "").strip() == "Battery" for kind in kinds)


def _count_throttling(system: System, cpus: frozenset[int]) -> int | None:
    counts = [
        parse_count(
            system.read_text(f"/sys/devices/system/cpu/cpu{cpu}/thermal_throttle/{counter}")
        )
        for cpu in cpus
        for counter in ("core_throttle_count", "package_throttle_count")
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _per_core(load_average: str, cores: int | None) -> float | None:
    found = re.match(r"([0-9]{1,6}\.[0-9]{1,6})\s", load_average)
    return float(found.group(1)) / cores if found and cores else None


def _as_switch(value: str | None) -> bool | None:
    return {"0": False, "1": True}.get(value or "")
