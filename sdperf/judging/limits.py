"""Limits as people type them, on pytest's command line and in the commands alike. Pure."""

from __future__ import annotations

import math
import re

from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.starts import StartLimits


def parse_percent(text: str) -> float:
    """Parse ``25%`` or ``25`` to 0.25.

    Raises:
        ValueError: It is not a percentage above 0.
    """
    return parse_positive(text.strip().removesuffix("%")) / 100


def parse_growth(text: str) -> MemoryLimits:
    """Parse ``10%+64MiB``.

    Raises:
        ValueError: It is not a percentage above 0 and a size in KiB, MiB or GiB.
    """
    found = re.fullmatch(r"\s*([0-9.]+)\s*%\s*\+\s*([0-9.]+)\s*([KMG])iB\s*", text)
    if not found:
        raise ValueError("a percentage and a size, such as 10%+64MiB")
    scale = {"K": 2**10, "M": 2**20, "G": 2**30}[found.group(3)]
    return MemoryLimits(
        parse_positive(found.group(1)) / 100, round(parse_positive(found.group(2)) * scale)
    )


def parse_bytes(text: str) -> int:
    """Parse ``256KiB``.

    Raises:
        ValueError: It is not a size in KiB, MiB or GiB.
    """
    found = re.fullmatch(r"\s*([0-9.]{1,18})\s*([KMG])iB\s*", text)
    if not found:
        raise ValueError("a size in KiB, MiB or GiB, such as 256KiB")
    scale = {"K": 2**10, "M": 2**20, "G": 2**30}[found.group(2)]
    return round(parse_positive(found.group(1)) * scale)


def parse_joules(text: str) -> float:
    """Parse ``300J`` or ``1.5kJ``.

    Raises:
        ValueError: It is not an energy above 0.
    """
    found = re.fullmatch(r"\s*([0-9.]{1,18})\s*(k?)J\s*", text)
    if not found:
        raise ValueError("joules above 0, such as 300J or 1.5kJ")
    return parse_positive(found.group(1)) * (1000 if found.group(2) else 1)


def parse_start_limits(text: str) -> StartLimits:
    """Parse ``50%+2s``.

    Raises:
        ValueError: It is not a percentage above 0 and seconds above 0.
    """
    found = re.fullmatch(r"\s*([0-9.]+)\s*%\s*\+\s*([0-9.]+)\s*s\s*", text)
    if not found:
        raise ValueError("a percentage and seconds, such as 50%+2s")
    return StartLimits(parse_positive(found.group(1)) / 100, parse_positive(found.group(2)))


def parse_number(text: str) -> float:
    """Parse a finite number.

    Raises:
        ValueError: It is not one.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number")
    return number


def parse_positive(text: str) -> float:
    """Parse a number above 0.

    Raises:
        ValueError: It is not one.
    """
    number = parse_number(text)
    if number <= 0:
        raise ValueError("a number above 0")
    return number
