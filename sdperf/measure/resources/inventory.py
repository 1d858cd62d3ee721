"""All probes, the values that each of them gives, and the probes that this machine can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sdperf.measure.resources.apple.apple import (
    find_macmon,
    find_powermetrics,
    open_energy,
    open_ioreg,
    open_macmon,
    open_powermetrics,
)
from sdperf.measure.resources.host import HostProbe, PsutilSource
from sdperf.measure.resources.linux.arm import ARM_MACHINES, open_firmware, open_sysfs
from sdperf.measure.resources.nvidia import NvmlGpu, NvmlProbe, open_nvml
from sdperf.measure.resources.probe import Missing, Probe
from sdperf.measure.system import LIVE_SYSTEM, System


@dataclass(frozen=True)
class ProbeKind:
    """A probe that a machine may have.

    Attributes:
        name: Its name in `Probe`.
        scope: The part that it measures, in words.
        gives: The numbers that it gives, in words.
        platforms: Values of ``sys.platform`` that it exists on.
        find: Tells cheaply whether it is available; opens nothing that stays open.
        open: Opens it.
        machines: Architectures that it exists on; empty for all.
    """

    name: str
    scope: str
    gives: str
    platforms: tuple[str, ...]
    find: Callable[[System], Any]
    open: Callable[[System], Probe | Missing]
    machines: tuple[str, ...] = ()


def open_probes(system: System = LIVE_SYSTEM) -> tuple[Probe, ...]:
    """Open every probe that this machine can have; the caller closes them.

    ``powermetrics`` runs as root and costs processor time: it is opened only where ``macmon``,
    which gives the same numbers, is missing.
    """
    probes: list[Probe] = []
    for kind in list_probe_kinds(system):
        if kind.name == "powermetrics" and any(probe.name == "macmon" for probe in probes):
            continue
        probe = kind.open(system)
        if not isinstance(probe, Missing):
            probes.append(probe)
    return tuple(probes)


def list_probe_kinds(system: System) -> tuple[ProbeKind, ...]:
    """List the probes that exist on this kind of machine, most trusted first."""
    return tuple(
        kind
        for kind in PROBE_KINDS
        if system.platform in kind.platforms
        and (not kind.machines or system.machine in kind.machines)
    )


def _open_host(system: System) -> Probe:
    return HostProbe(PsutilSource(system=system))


def _find_nvml(system: System) -> NvmlGpu | Missing:
    gpu = open_nvml(system.environ.get("CUDA_VISIBLE_DEVICES"))
    if not isinstance(gpu, Missing):
        gpu.close()
    return gpu


def _open_nvml(system: System) -> Probe | Missing:
    gpu = open_nvml(system.environ.get("CUDA_VISIBLE_DEVICES"))
    return gpu if isinstance(gpu, Missing) else NvmlProbe(gpu, PsutilSource().read_pids)


PROBE_KINDS: Final = (
    ProbeKind(
        name="psutil",
        scope="process tree and system",
        gives="CPU, memory, swap, disk",
        platforms=("darwin", "linux", "win32"),
        find=_open_host,
        open=_open_host,
    ),
    ProbeKind(
        name="nvml",
        scope="NVIDIA board",
        gives="load, memory, power, energy, clock, temperature, throttling",
        platforms=("linux", "win32"),
        find=_find_nvml,
        open=_open_nvml,
    ),
    ProbeKind(
        name="vcgencmd",
        scope="Raspberry Pi",
        gives="temperature, core voltage, throttling",
        platforms=("linux",),
        find=open_firmware,
        open=open_firmware,
        machines=ARM_MACHINES,
    ),
    ProbeKind(
        name="sysfs",
        scope="processor",
        gives="temperature and clock",
        platforms=("linux",),
        find=open_sysfs,
        open=open_sysfs,
    ),
    ProbeKind(
        name="zeus-apple-silicon",
        scope="parts of an Apple chip",
        gives="energy of GPU, CPU, memory and Neural Engine",
        platforms=("darwin",),
        find=open_energy,
        open=open_energy,
    ),
    ProbeKind(
        name="ioreg",
        scope="Apple GPU, all programs",
        gives="load and memory",
        platforms=("darwin",),
        find=open_ioreg,
        open=open_ioreg,
    ),
    ProbeKind(
        name="macmon",
        scope="Apple chip and machine",
        gives="clock, temperature and power of the GPU, power of the machine",
        platforms=("darwin",),
        find=find_macmon,
        open=open_macmon,
    ),
    ProbeKind(
        name="powermetrics",
        scope="Apple chip",
        gives="share of the GPU's time at its top clock, power",
        platforms=("darwin",),
        find=find_powermetrics,
        open=open_powermetrics,
    ),
)
