"""Weights that a model's files lack, read from what transformers logs about them. Pure."""

from __future__ import annotations

import re
from typing import Final

from sdperf.units import format_names

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_SENTENCE: Final = "newly initialized"
"""Messages of transformers' versions on weights that it filled with random numbers."""
_LONGEST: Final = 300
"""The most characters that are shown of a message whose list cannot be read."""


def describe_made_up(message: str) -> str | None:
    """Say in one line which weights were made up; ``None`` for a message about other things.

    transformers 4 lists the weights in brackets; 5 prints a table with one row for each, or for
    several whose names differ by a number.

    Args:
        message: The log message, with line breaks and colours.

    >>> describe_made_up("Some weights of X are newly initialized: ['a', 'b', 'c', 'd']")
    'no values for a, b, c and 1 more'
    """
    text = _COLOUR.sub("", message)
    if _SENTENCE not in text:
        return None
    listed = re.search(rf"{_SENTENCE}: \[(.*?)\]", text, re.DOTALL)
    if listed is not None:
        names = re.findall(r"'([^']+)'", listed.group(1))
    else:
        rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
        names = [row[0] for row in rows if len(row) > 1 and row[1] == "MISSING"]
    if names:
        return f"no values for {format_names(names)}"
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST]}..."
