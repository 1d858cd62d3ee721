"""Parses readings of small Arm boards: ``vcgencmd`` and the kernel's thermal files. Pure.

Every parser accepts any text, also an empty, incomplete or different one, and returns ``None``
where a value is missing. No parser raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

UNDER_VOLTAGE: Final = 0x1
SLOWED: Final[Mapping[int, str]] = {
    0x2: "the clock is capped",
    0x4: "the processor is throttled",
    0x8: "the soft temperature limit is active",
}
"""Bits of ``get_throttled`` that mean lower clocks at this moment."""

SINCE_BOOT_SHIFT: Final = 16
"""Each bit has a twin this many bits higher, which stays set until the board restarts."""

_COLDEST_C: Final = -55.0
_HOTTEST_C: Final = 150.0
_HIGHEST_V: Final = 20.0

_PROCESSOR_ZONE: Final = re.compile(r"cpu|soc|core|pkg", re.IGNORECASE)
_PROCESSOR_COOLING: Final = re.compile(r"(?:thermal-)?cpufreq[-\w]*", re.IGNORECASE)


def parse_throttled(text: str) -> int | None:
    """Read the bits of ``vcgencmd get_throttled``: ``throttled=0x50005``.

    A line without an end was cut off, perhaps within its bits.

    Source: Raspberry Pi documentation, ``vcgencmd``: 0 under-voltage, 1 clock capped, 2 throttled,
    3 soft temperature limit; 16 to 19 the same, at any time since the start.
    """
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})\s*\n", text)
    return int(found.group(1), 16) if found else None


def parse_board_temperature(text: str) -> float | None:
    """Read ``vcgencmd measure_temp``: ``temp=48.3'C``, degrees Celsius."""
    found = re.fullmatch(r"temp=(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)'C", text.strip())
    return _plausible_c(float(found.group(1))) if found else None


def parse_board_voltage(text: str) -> float | None:
    """Read ``vcgencmd measure_volts``: ``volt=0.8500V``, the core's voltage."""
    found = re.fullmatch(r"volt=([0-9]{1,3}(?:\.[0-9]{1,6})?)V", text.strip())
    volts = float(found.group(1)) if found else 0.0
    return volts if 0 < volts <= _HIGHEST_V else None


def parse_zone_temperature(text: str | None) -> float | None:
    """Read ``thermal_zone*/temp``, thousandths of a degree Celsius, as degrees.

    A line without an end was cut off, perhaps within its number.

    Source: the kernel's ``sysfs-class-thermal``.
    """
    found = re.fullmatch(r"(-?[0-9]{1,7})\s*\n", text or "")
    return _plausible_c(int(found.group(1)) / 1000) if found else None


def is_processor_zone(kind: str) -> bool:
    """Tell from a zone's ``type`` whether it measures the processor or the chip it is part of.

    >>> is_processor_zone("cpu-thermal"), is_processor_zone("gpu-thermal")
    (True, False)
    """
    return _PROCESSOR_ZONE.search(kind) is not None


def is_processor_cooling(kind: str) -> bool:
    """Tell from a cooling device's ``type`` whether it cools by lowering processors' clocks.

    >>> is_processor_cooling("thermal-cpufreq-0"), is_processor_cooling("pwm-fan")
    (True, False)
    """
    return _PROCESSOR_COOLING.fullmatch(kind) is not None


def _plausible_c(celsius: float) -> float | None:
    return celsius if _COLDEST_C <= celsius <= _HOTTEST_C else None
