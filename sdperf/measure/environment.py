"""The machine and software of a run, collected from the operating system. Loads no torch."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdperf import __version__
from sdperf.device import DeviceKind
from sdperf.git.command import GIT_QUIET
from sdperf.measure.resources.apple.apple_parsers import (
    IOREG_ACCELERATORS,
    GpuReading,
    parse_displays,
    parse_ioreg_accelerators,
    parse_power_mode,
    parse_power_source,
    parse_sysctl,
    parse_thermal_level,
)
from sdperf.measure.resources.linux.arm import CPU_FOLDER
from sdperf.measure.resources.linux.cgroup import read_cgroup_limits
from sdperf.measure.resources.linux.linux_parsers import (
    parse_allowed_cpus,
    parse_chip,
    parse_cpu_list,
    parse_meminfo,
    parse_os_release,
)
from sdperf.measure.resources.numbers import parse_count
from sdperf.measure.system import LIVE_SYSTEM, System
from sdperf.record.environment import Environment

PACKAGES: Final = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "numpy",
    "pytest-benchmark",
    "scikit-image",
    "torchao",
)
"""Packages whose versions are kept with every record, beside sdperf itself."""

_VARIABLE_PREFIXES: Final = (
    "ATEN_",
    "CUBLAS_",
    "CUDA_",
    "CUDNN_",
    "DNNL_",
    "GOMP_",
    "KMP_",
    "METAL_",
    "MKL_",
    "MTL_",
    "NVIDIA_TF32_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PYTORCH_",
    "TORCH",
    "VECLIB_",
)
_PLACE_SUFFIXES: Final = ("_HOME", "_PATH", "_DIR", "_ROOT", "_FILE", "_TOKEN")
"""Endings of variables with paths, which change no result and show private names."""

_SYSCTL_KEYS: Final = (
    "machdep.cpu.brand_string",
    "hw.memsize",
    "hw.logicalcpu",
    "hw.nperflevels",
    "hw.perflevel0.name",
    "hw.perflevel0.logicalcpu",
    "hw.perflevel1.name",
    "hw.perflevel1.logicalcpu",
    "hw.perflevel2.name",
    "hw.perflevel2.logicalcpu",
    "kern.osproductversion",
    "kern.osversion",
)

_FAST_SHARES: Final = {"cpu_capacity": 0.6, "cpufreq/cpuinfo_max_freq": 0.8}
"""Cores with at least this share of the largest capacity count as fast, which includes middle
cores. Where the kernel gives no capacity, the highest clock is used, in which small cores are
closer."""

_POWER_PROFILES: Final[Mapping[str, str]] = {
    "low-power": "low",
    "quiet": "low",
    "cool": "low",
    "balanced": "normal",
    "balanced-performance": "normal",
    "performance": "high",
}


@dataclass(frozen=True)
class _Host:
    chip: str | None
    os_name: str
    os_version: str | None
    os_build: str | None
    ram_bytes: int | None
    cpu_cores: int | None
    performance_cores: int | None


def collect_environment(
    *,
    device_kind: DeviceKind,
    device_name: str,
    gpu_cores: int | None = None,
    system: System = LIVE_SYSTEM,
) -> Environment:
    """Collect a record's facts on its machine and software.

    Args:
        device_kind: The kind of device that the pipeline runs on.
        device_name: Name of the GPU; where it is empty the processor's own name is taken. torch
            has no name for an Apple GPU, so that one is looked up.
        gpu_cores: GPU cores or multiprocessors, where the caller knows them; those of an Apple
            GPU are looked up.
        system: The source of the facts.

    Returns:
        The environment; a fact that the system does not tell is ``None``, or ``unknown`` in a
        required text. The commit is that of the folder this process works in.
    """
    host = _read_host(system)
    gpu = read_apple_gpu(system) if device_kind == "mps" else None
    if gpu is not None:
        device_name = gpu.name or device_name
        gpu_cores = gpu.cores if gpu_cores is None else gpu_cores
    power_source = read_power_source(system)
    return Environment(
        chip=host.chip or "unknown",
        device_kind=device_kind,
        device_name=device_name or host.chip or "unknown",
        machine=system.machine,
        os_name=host.os_name,
        os_version=host.os_version or "unknown",
        python=platform.python_version(),
        gpu_cores=gpu_cores,
        ram_bytes=host.ram_bytes,
        cpu_cores=host.cpu_cores,
        performance_cores=host.performance_cores,
        os_build=host.os_build,
        power_source=power_source,
        power_mode=read_power_mode(system, power_source),
        thermal_level=read_thermal_level(system),
        packages=read_package_versions(system),
        variables=read_result_variables(system),
        commit=read_commit(system),
        driver=read_nvidia_driver(system) if device_kind == "cuda" else None,
    )


def read_chip(system: System = LIVE_SYSTEM) -> str | None:
    """Read the processor's name, such as ``Apple M2 Max``; ``None`` where it cannot be known."""
    return _read_host(system).chip


def read_nvidia_driver(system: System = LIVE_SYSTEM) -> str | None:
    """Read the version of the NVIDIA driver that the kernel has loaded, on Linux."""
    text = system.read_text("/proc/driver/nvidia/version") or ""
    found = re.search(r"\bKernel Module\b.*?\s(\d+(?:\.\d+)+)\b", text)
    return None if found is None else found.group(1)


def count_performance_cores(system: System = LIVE_SYSTEM) -> int | None:
    """Count the fast cores this process may use; all of them where there is one kind.

    On a Mac a kind counts unless it is named ``Efficiency``. On Linux cores of the kernel's
    ``cpu_core`` kind count (hybrid x86), else those with at least 60 % of the largest capacity
    (Arm), else those with 80 % of the highest clock, and never more than the control group allows.
    """
    return _read_host(system).performance_cores


def read_apple_gpu(system: System = LIVE_SYSTEM) -> GpuReading | None:
    """Read the Apple GPU's name, cores and momentary load; ``None`` where there is none."""
    if system.platform != "darwin":
        return None
    reading = parse_ioreg_accelerators(system.run(*IOREG_ACCELERATORS) or "")
    if reading is not None and reading.cores is not None:
        return reading
    listed = system.run("/usr/sbin/system_profiler", "SPDisplaysDataType", "-json")
    return parse_displays(listed or "") or reading


def read_power_source(system: System = LIVE_SYSTEM) -> str | None:
    """Read where the machine's power comes from: ``ac`` or ``battery``."""
    if system.platform == "darwin":
        return parse_power_source(system.run("/usr/bin/pmset", "-g", "batt") or "")
    folder = "/sys/class/power_supply"
    supplies = [f"{folder}/{name}" for name in system.list_names(folder)]
    kinds = {path: (system.read_text(f"{path}/type") or "").strip() for path in supplies}
    mains = [path for path, kind in kinds.items() if kind in ("Mains", "USB")]
    if any((system.read_text(f"{path}/online") or "").strip() == "1" for path in mains):
        return "ac"
    return "battery" if "Battery" in kinds.values() and mains else None


def read_power_mode(system: System, power_source: str | None) -> str | None:
    """Read the energy mode the user chose: ``low``, ``normal`` or ``high``."""
    if system.platform != "darwin":
        profile = system.read_text("/sys/firmware/acpi/platform_profile") or ""
        return _POWER_PROFILES.get(profile.strip())
    current = parse_power_mode(system.run("/usr/bin/pmset", "-g") or "")
    if current is not None:
        return current
    listed = system.run("/usr/bin/pmset", "-g", "custom") or ""
    return parse_power_mode(listed, power_source)


def read_thermal_level(system: System = LIVE_SYSTEM) -> str | None:
    """Read macOS' thermal pressure; Linux has no such level and is always unknown here."""
    if system.platform != "darwin":
        return None
    asked = ("/usr/bin/notifyutil", "-g", "com.apple.system.thermalpressurelevel")
    return parse_thermal_level(system.run(*asked) or "")


def read_package_versions(system: System = LIVE_SYSTEM) -> dict[str, str]:
    """Read the versions of sdperf and of the installed `PACKAGES`, without importing them."""
    versions = {name: system.package_version(name) for name in PACKAGES}
    installed = {name: version for name, version in versions.items() if version is not None}
    return installed | {"sdperf": __version__}


def read_result_variables(system: System = LIVE_SYSTEM) -> dict[str, str]:
    """Read the environment variables that change times or pixels, without those of paths."""
    return {
        name: value
        for name, value in sorted(system.environ.items())
        if name.startswith(_VARIABLE_PREFIXES) and not name.endswith(_PLACE_SUFFIXES)
    }


def read_commit(system: System = LIVE_SYSTEM) -> str | None:
    """Read the commit of the folder this process works in, ``-dirty`` where files have changes.

    Files that git does not track are not changes. On a Mac without developer tools git is a stub
    that opens a dialog, so it is not called there.
    """
    git = system.find_program("git")
    if git is None or (
        git == "/usr/bin/git"
        and system.platform == "darwin"
        and system.run("/usr/bin/xcode-select", "-p") is None
    ):
        return None
    described = system.run(
        git,
        *GIT_QUIET,
        *("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
        timeout_s=10.0,
    )
    return (described or "").strip() or None


def _read_host(system: System) -> _Host:
    return _read_mac_host(system) if system.platform == "darwin" else _read_linux_host(system)


def _read_mac_host(system: System) -> _Host:
    facts = parse_sysctl(system.run("/usr/sbin/sysctl", "-i", *_SYSCTL_KEYS) or "")
    cores = parse_count(facts.get("hw.logicalcpu"))
    levels = [
        parse_count(facts.get(f"hw.perflevel{level}.logicalcpu"))
        for level in range(parse_count(facts.get("hw.nperflevels")) or 0)
        if facts.get(f"hw.perflevel{level}.name", "Efficiency" if level else "") != "Efficiency"
    ]
    return _Host(
        chip=facts.get("machdep.cpu.brand_string"),
        os_name="macOS",
        os_version=facts.get("kern.osproductversion"),
        os_build=facts.get("kern.osversion"),
        ram_bytes=parse_count(facts.get("hw.memsize")),
        cpu_cores=cores,
        performance_cores=sum(count or 0 for count in levels) or cores,
    )


def _read_linux_host(system: System) -> _Host:
    release = parse_os_release(system.read_text("/etc/os-release") or "")
    memory = parse_meminfo(system.read_text("/proc/meminfo") or "")
    limits = read_cgroup_limits(system)
    allowed = parse_allowed_cpus(system.read_text("/proc/self/status") or "")
    fast = _read_fast_cpus(system, allowed)
    quota = None if limits.cpus is None else max(1, math.ceil(limits.cpus))
    sizes = [memory.get("MemTotal"), limits.memory_bytes]
    return _Host(
        chip=parse_chip(
            system.read_text("/proc/cpuinfo") or "",
            system.read_text("/proc/device-tree/model"),
        ),
        os_name=release.get("ID", system.platform),
        os_version=release.get("VERSION_ID"),
        os_build=(system.read_text("/proc/sys/kernel/osrelease") or "").strip() or None,
        ram_bytes=min((size for size in sizes if size is not None), default=None),
        cpu_cores=_at_most(len(allowed), quota),
        performance_cores=_at_most(len(fast), quota),
    )


def _read_fast_cpus(system: System, allowed: frozenset[int]) -> frozenset[int]:
    hybrid = parse_cpu_list(system.read_text("/sys/devices/cpu_core/cpus") or "")
    if hybrid & allowed:
        return hybrid & allowed
    for name, share in _FAST_SHARES.items():
        sizes = {
            cpu: parse_count(system.read_text(f"{CPU_FOLDER}/cpu{cpu}/{name}")) or 0
            for cpu in allowed
        }
        largest = max(sizes.values(), default=0)
        if largest > 0:
            return frozenset(cpu for cpu, size in sizes.items() if size >= share * largest)
    return allowed


def _at_most(count: int, quota: int | None) -> int | None:
    if count == 0:
        return quota
    return count if quota is None else min(count, quota)
