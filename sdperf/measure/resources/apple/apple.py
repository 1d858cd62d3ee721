"""Probes of an Apple chip: GPU load from ``ioreg``, energy from IOReport, and two programs.

The authors did not run them on a Mac: they follow the documented formats. Each of them answers
without a value rather than with a number that cannot be right.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from packaging.version import Version

from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.measure.resources.apple.apple_parsers import (
    IOREG_ACCELERATORS,
    PowerReading,
    parse_ioreg_accelerators,
    parse_macmon,
    parse_powermetrics,
    parse_sysctl,
)
from sdperf.measure.resources.numbers import parse_whole
from sdperf.measure.resources.probe import Missing, Reading
from sdperf.measure.system import Stream, System
from sdperf.record.usage import Counter, Gauge

ENERGY_FIELDS: Final[Mapping[str, Counter]] = {
    "gpu_mj": "gpu_soc_energy_j",
    "cpu_total_mj": "cpu_soc_energy_j",
    "dram_mj": "dram_soc_energy_j",
    "ane_mj": "ane_soc_energy_j",
}
"""Fields of ``AppleEnergyMetrics`` (whole millijoules, or ``None``) and their names here."""

_LAST_TO_READ_ONE_DIE: Final = Version("1.1.0")
_PER_DIE: Final = frozenset({"cpu_total_mj"})

MACMON_ARGUMENTS: Final = ("pipe", "-i", "500", "-s", "14400")
POWERMETRICS: Final = "/usr/bin/powermetrics"
POWERMETRICS_ARGUMENTS: Final = (
    *("-f", "plist", "-i", "1000", "-n", "7200"),
    *("--samplers", "cpu_power,gpu_power,thermal"),
)
"""Both programs end by themselves after two hours, in case nobody stops them."""

_SUDO: Final = "/usr/bin/sudo"
_SHORTEST_POWER_SPAN_S: Final = 0.1


class IoregProbe:
    """GPU utilisation and memory of the whole system, as the graphics driver reports them."""

    name = "ioreg"
    period_s = 0.5

    def __init__(self, system: System) -> None:
        self._system = system

    def begin(self) -> None:
        """Remember nothing."""

    def read(self) -> Reading:
        """Run ``ioreg`` once."""
        gpu = parse_ioreg_accelerators(self._system.run(*IOREG_ACCELERATORS) or "")
        gauges: dict[Gauge, float] = {}
        if gpu is not None and gpu.utilisation_percent is not None:
            gauges["gpu_soc_utilisation_percent"] = gpu.utilisation_percent
        if gpu is not None and gpu.in_use_bytes is not None:
            gauges["gpu_soc_memory_used_bytes"] = gpu.in_use_bytes
        return Reading(gauges)

    def close(self) -> None:
        """Hold nothing."""


class EnergyProbe:
    """Energy of the chip's parts from IOReport, through ``zeus-apple-silicon``.

    Args:
        monitor: An ``AppleEnergyMonitor``.
        clock: Returns seconds; power is energy over the time between two readings.
        untrusted: Fields of ``AppleEnergyMetrics`` that are known to be wrong here.
    """

    name = "zeus-apple-silicon"
    period_s = 0.0

    def __init__(
        self, monitor: Any, clock: Clock = monotonic_clock, untrusted: frozenset[str] = frozenset()
    ) -> None:
        self._monitor = monitor
        self._clock = clock
        self._untrusted = untrusted
        self._marked: tuple[float, float] | None = None

    def begin(self) -> None:
        """Compute power from the next reading on."""
        self._marked = None

    def read(self) -> Reading:
        """Read the cumulative counters."""
        metrics, now_s = self._monitor.get_cumulative_energy(), self._clock()
        counters: dict[Counter, float] = {}
        for field, counter in ENERGY_FIELDS.items():
            energy_mj = parse_whole(getattr(metrics, field, None))
            if energy_mj is not None and field not in self._untrusted:
                counters[counter] = energy_mj / 1000
        return Reading(self._power(now_s, counters.get("gpu_soc_energy_j")), counters)

    def close(self) -> None:
        """Hold nothing."""

    def _power(self, now_s: float, energy_j: float | None) -> dict[Gauge, float]:
        if energy_j is None:
            return {}
        then = self._marked
        if then is not None and now_s - then[0] < _SHORTEST_POWER_SPAN_S:
            return {}
        self._marked = (now_s, energy_j)
        if then is None or energy_j < then[1]:
            return {}
        return {"gpu_soc_power_w": (energy_j - then[1]) / (now_s - then[0])}


class StreamProbe:
    """A program that prints samples by itself; each sample is reported once.

    Args:
        name: Name of the program.
        stream: The output of the program.
        separator: The text that ends a sample.
        parse: Parses finished samples.
    """

    period_s = 0.5

    def __init__(
        self,
        name: str,
        stream: Stream,
        separator: str,
        parse: Callable[[str], tuple[PowerReading, ...]],
    ) -> None:
        self.name = name
        self._stream = stream
        self._separator = separator
        self._parse = parse
        self._unfinished = ""

    def begin(self) -> None:
        """Drop all samples so far; the unfinished one began before the window."""
        self.read()

    def read(self) -> Reading:
        """Report the newest sample that was finished since the last reading."""
        text = self._unfinished + self._stream.read_new()
        finished, found, rest = text.rpartition(self._separator)
        self._unfinished = rest
        samples = self._parse(finished + found)
        if not samples:
            return Reading()
        newest = samples[-1]
        values: Mapping[Gauge, float | None] = {
            "gpu_soc_power_w": newest.gpu_power_w,
            "cpu_soc_power_w": newest.cpu_power_w,
            "machine_power_w": newest.system_power_w,
            "gpu_soc_utilisation_percent": newest.gpu_active_percent,
            "gpu_soc_clock_mhz": newest.gpu_clock_mhz,
            "gpu_soc_top_clock_percent": newest.gpu_top_clock_percent,
            "gpu_soc_temperature_c": newest.gpu_temperature_c,
        }
        return Reading({name: value for name, value in values.items() if value is not None})

    def close(self) -> None:
        """End the program."""
        self._stream.stop()


def open_ioreg(system: System) -> IoregProbe | Missing:
    """Open the ``ioreg`` probe where it shows an accelerator."""
    if parse_ioreg_accelerators(system.run(*IOREG_ACCELERATORS) or "") is None:
        return Missing("ioreg shows no graphics accelerator (as in many virtual machines)")
    return IoregProbe(system)


def open_energy(
    system: System, load: Callable[[str], Any] = importlib.import_module
) -> EnergyProbe | Missing:
    """Open the energy probe where the optional package is installed and IOReport answers.

    Chips of two dies have CPU counters for each; the package reads one of them up to 1.1.0.
    """
    try:
        package = load("zeus_apple_silicon")
    except ImportError:
        return Missing("zeus-apple-silicon is not installed", "pip install 'sdperf[apple]'")
    try:
        monitor = package.AppleEnergyMonitor()
    except RuntimeError as error:
        return Missing(f"IOReport gives no energy ({error})")
    facts = parse_sysctl(system.run("/usr/sbin/sysctl", "-i", "machdep.cpu.brand_string") or "")
    two_dies = "Ultra" in facts.get("machdep.cpu.brand_string", "")
    version = system.package_version("zeus-apple-silicon")
    reads_one = version is None or Version(version) <= _LAST_TO_READ_ONE_DIE
    return EnergyProbe(monitor, untrusted=_PER_DIE if two_dies and reads_one else frozenset())


def find_macmon(system: System) -> str | Missing:
    """Find Homebrew's ``macmon``; the package of this name on PyPI is another program."""
    program = system.find_program("macmon")
    if program is None:
        return Missing("the program macmon is not installed", "brew install macmon")
    if parse_macmon(system.run(program, "pipe", "-s", "1", "-i", "100") or "") == ():
        return Missing("macmon prints no samples", "brew reinstall macmon")
    return program


def open_macmon(system: System) -> StreamProbe | Missing:
    """Start ``macmon``."""
    program = find_macmon(system)
    if isinstance(program, Missing):
        return program
    stream = system.start(program, *MACMON_ARGUMENTS)
    if stream is None:
        return Missing("macmon cannot be started", "brew reinstall macmon")
    return StreamProbe("macmon", stream, "\n", parse_macmon)


def find_powermetrics(system: System) -> str | Missing:
    """Tell whether ``sudo`` lets this user run ``powermetrics`` without a password."""
    if system.run(_SUDO, "-n", "-l", POWERMETRICS) is None:
        return Missing(
            "powermetrics needs root",
            f"a sudoers line for {POWERMETRICS} alone; never needed where macmon is installed",
        )
    return POWERMETRICS


def open_powermetrics(system: System) -> StreamProbe | Missing:
    """Start ``powermetrics`` as root, without asking for a password."""
    program = find_powermetrics(system)
    if isinstance(program, Missing):
        return program
    stream = system.start(_SUDO, "-n", program, *POWERMETRICS_ARGUMENTS)
    if stream is None:
        return Missing("powermetrics cannot be started")
    return StreamProbe("powermetrics", stream, "\0", parse_powermetrics)
