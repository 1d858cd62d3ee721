"""Probes of Linux boards: temperature and clocks from ``/sys``, a Raspberry Pi's firmware.

They do not need root. They were written from documented formats, without a board to try them on.
"""

from __future__ import annotations

import re
from collections import Counter as Tally
from dataclasses import dataclass
from typing import Final

from sdperf.measure.resources.linux.arm_parsers import (
    SLOWED,
    is_processor_cooling,
    is_processor_zone,
    parse_board_temperature,
    parse_board_voltage,
    parse_throttled,
    parse_zone_temperature,
)
from sdperf.measure.resources.numbers import parse_count
from sdperf.measure.resources.probe import Missing, Reading
from sdperf.measure.system import System
from sdperf.record.usage import Gauge

ARM_MACHINES: Final = ("aarch64", "armv7l", "armv8l")
CPU_FOLDER: Final = "/sys/devices/system/cpu"
THERMAL_FOLDER: Final = "/sys/class/thermal"
MOST_CLOCKS: Final = 16
"""How many processors' clocks are read at each tick: on some machines reading interrupts each."""


@dataclass(frozen=True)
class CoreKind:
    """Processors that are alike.

    Attributes:
        count: How many processors there are.
        capacity: The kernel's figure, 1024 for the fastest; ``None`` where it gives none.
        max_clock_mhz: Highest clock in MHz; ``None`` where the kernel gives none.
    """

    count: int
    capacity: int | None
    max_clock_mhz: float | None


class SysfsProbe:
    """The processor's temperature and clock from the kernel."""

    name = "sysfs"
    period_s = 0.5

    def __init__(self, system: System) -> None:
        self._system = system
        self._cpus = list_cpus(system)[:MOST_CLOCKS]

    def begin(self) -> None:
        """Remember nothing."""

    def read(self) -> Reading:
        """Read the hottest zone and the mean clock."""
        gauges: dict[Gauge, float] = {}
        celsius = read_temperature(self._system)
        if celsius is not None:
            gauges["cpu_soc_temperature_c"] = celsius
        clocks = [
            parse_count(self._system.read_text(f"{CPU_FOLDER}/{cpu}/cpufreq/scaling_cur_freq"))
            for cpu in self._cpus
        ]
        known = [clock for clock in clocks if clock]
        if known and len(known) == len(clocks):
            gauges["cpu_soc_clock_mhz"] = sum(known) / len(known) / 1e3
        return Reading(gauges)

    def close(self) -> None:
        """Hold nothing."""


class FirmwareProbe:
    """The readings of a Raspberry Pi's firmware: temperature, core voltage, throttling."""

    name = "vcgencmd"
    period_s = 1.0

    def __init__(self, system: System, program: str) -> None:
        self._system = system
        self._program = program

    def begin(self) -> None:
        """Remember nothing."""

    def read(self) -> Reading:
        """Run the program three times."""
        flags = parse_throttled(self._ask("get_throttled"))
        values: dict[Gauge, float | None] = {
            "cpu_soc_temperature_c": parse_board_temperature(self._ask("measure_temp")),
            "cpu_soc_voltage_v": parse_board_voltage(self._ask("measure_volts")),
            "cpu_soc_throttled_percent": None if flags is None else 100.0 * is_slowed(flags),
        }
        return Reading({name: value for name, value in values.items() if value is not None})

    def close(self) -> None:
        """Hold nothing."""

    def _ask(self, question: str) -> str:
        return self._system.run(self._program, question) or ""


def is_slowed(flags: int) -> bool:
    """Tell from the bits of ``get_throttled`` whether clocks are lowered at this moment."""
    return any(flags & bit for bit in SLOWED)


def open_sysfs(system: System) -> SysfsProbe | Missing:
    """Open the probe where the kernel shows a temperature or a clock."""
    probe = SysfsProbe(system)
    if not probe.read().gauges:
        return Missing("the kernel shows neither temperature nor clock (usual in virtual machines)")
    return probe


def open_firmware(system: System) -> FirmwareProbe | Missing:
    """Open the probe where ``vcgencmd`` is installed and answers."""
    program = system.find_program("vcgencmd")
    if program is None:
        return Missing("vcgencmd is not installed; only a Raspberry Pi has it")
    probe = FirmwareProbe(system, program)
    if not probe.read().gauges:
        return Missing("vcgencmd answers nothing", "sudo usermod -aG video $USER, and log in again")
    return probe


def read_firmware_flags(system: System) -> int | None:
    """Read the bits of ``vcgencmd get_throttled``, where the program exists."""
    program = system.find_program("vcgencmd") if system.machine in ARM_MACHINES else None
    return None if program is None else parse_throttled(system.run(program, "get_throttled") or "")


def read_temperature(system: System) -> float | None:
    """Read the hottest of the processor's thermal zones, degrees Celsius."""
    temperatures = [
        parse_zone_temperature(system.read_text(f"{THERMAL_FOLDER}/{zone}/temp"))
        for zone in system.list_names(THERMAL_FOLDER)
        if zone.startswith("thermal_zone")
        and is_processor_zone((system.read_text(f"{THERMAL_FOLDER}/{zone}/type") or "").strip())
    ]
    return max((each for each in temperatures if each is not None), default=None)


def read_cooling_state(system: System) -> int | None:
    """Sum the steps by which the kernel lowers processors' clocks for heat; 0 is not at all."""
    states = [
        parse_count(system.read_text(f"{THERMAL_FOLDER}/{device}/cur_state"))
        for device in system.list_names(THERMAL_FOLDER)
        if device.startswith("cooling_device")
        and is_processor_cooling(
            (system.read_text(f"{THERMAL_FOLDER}/{device}/type") or "").strip()
        )
    ]
    known = [state for state in states if state is not None]
    return sum(known) if known else None


def list_cpus(system: System) -> list[str]:
    """List the processors' folders in ``/sys`` by number."""
    names = system.list_names(CPU_FOLDER)
    cpus = [name for name in names if re.fullmatch(r"cpu[0-9]{1,5}", name)]
    return sorted(cpus, key=lambda name: int(name.removeprefix("cpu")))


def read_core_kinds(system: System) -> tuple[CoreKind, ...]:
    """Read the kinds of processors, fastest first; empty where the kernel does not tell."""
    kinds = Tally(
        (
            parse_count(system.read_text(f"{CPU_FOLDER}/{cpu}/cpu_capacity")),
            parse_count(system.read_text(f"{CPU_FOLDER}/{cpu}/cpufreq/cpuinfo_max_freq")),
        )
        for cpu in list_cpus(system)
    )
    found = [
        CoreKind(count, capacity, None if clock is None else clock / 1e3)
        for (capacity, clock), count in kinds.items()
        if capacity is not None or clock is not None
    ]
    return tuple(
        sorted(found, key=lambda kind: (-(kind.capacity or 0), -(kind.max_clock_mhz or 0.0)))
    )
