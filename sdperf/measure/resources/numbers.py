"""Checks numbers from outside: an impossible value becomes ``None``."""

from __future__ import annotations

import math
import re


def parse_count(text: str | None) -> int | None:
    """Read a non-negative whole number of at most 19 digits."""
    found = re.fullmatch(r"\s*([0-9]{1,19})\s*", text or "")
    return int(found[1]) if found else None  # \s accepts separators that int() does not


def parse_number(value: object) -> float | None:
    """Accept a finite number; booleans and texts are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def parse_amount(value: object) -> float | None:
    """Accept a number of zero or more."""
    number = parse_number(value)
    return number if number is not None and number >= 0 else None


def parse_positive(value: object) -> float | None:
    """Accept a number above zero, for sensors that answer 0 when they cannot be read."""
    number = parse_number(value)
    return number if number is not None and number > 0 else None


def parse_percent(value: object) -> float | None:
    """Accept a number in [0, 100]."""
    number = parse_number(value)
    return number if number is not None and 0 <= number <= 100 else None


def parse_whole(value: object) -> int | None:
    """Accept a whole number of zero or more."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
