"""A series of numbers as a few lines of text. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

HEIGHT = 7


@dataclass(frozen=True)
class Glyphs:
    """Characters of a plot.

    Attributes:
        value: A value.
        level: The level that was found.
        out: A value that is shown but does not count.
        corner: Where the axes meet.
        side: The vertical axis.
        floor: The horizontal axis.
    """

    value: str
    level: str
    out: str
    corner: str
    side: str
    floor: str


UNICODE = Glyphs("•", "─", "×", "└", "┤", "─")
ASCII = Glyphs("o", "-", "x", "+", "|", "-")


def choose_glyphs(encoding: str | None) -> Glyphs:
    """Return the characters that an output of this encoding can show."""
    try:
        "".join(vars(UNICODE).values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def format_plot(
    values: Sequence[float],
    levels: Sequence[float],
    marks: Mapping[int, str],
    left_out: Mapping[int, float],
    format_value: Callable[[float], str],
    width: int,
    glyphs: Glyphs = UNICODE,
) -> list[str]:
    """Draw values in their order, neighbours sharing a column where there are too many.

    Args:
        values: The values; NaN where there is none.
        levels: A line through them, of the same length; NaN where there is none.
        marks: A character below a position; of several in one column the last one is shown.
        left_out: Values that are shown but do not count, by position.
        format_value: Formats a value for the vertical axis.
        width: Columns of the whole plot.
        glyphs: Characters to draw with.

    Returns:
        `HEIGHT` lines, the axis, and one line with the marks where there are any; none without a
        value.
    """
    shown = [value for value in (*values, *left_out.values()) if math.isfinite(value)]
    if not shown:
        return []
    low, high = min(shown), max(shown)
    middle = (low + high) / 2
    least = max(abs(middle) * 0.02, 1e-9)
    if high - low < least:
        low, high = middle - least / 2, middle + least / 2
    labels = [format_value(high - (high - low) * row / (HEIGHT - 1)) for row in range(HEIGHT)]
    margin = max(map(len, labels)) + 1
    columns = min(len(values), max(width - margin - 1, 10))
    canvas = [[" "] * columns for _ in range(HEIGHT)]

    def draw(column: int, value: float, glyph: str) -> None:
        if math.isfinite(value):
            row = round((high - min(max(value, low), high)) / (high - low) * (HEIGHT - 1))
            canvas[row][column] = glyph

    below = [" "] * columns
    for column in range(columns):
        start = column * len(values) // columns
        stop = (column + 1) * len(values) // columns
        draw(column, _median(levels[start:stop]), glyphs.level)
        for position in range(start, stop):
            draw(column, left_out.get(position, math.nan), glyphs.out)
            below[column] = marks.get(position, below[column])
        draw(column, _median(values[start:stop]), glyphs.value)
    lines = [
        f"{labels[row] if row % 3 == 0 else '':>{margin - 1}} {glyphs.side}{''.join(cells)}"
        for row, cells in enumerate(canvas)
    ]
    lines.append(f"{'':>{margin}}{glyphs.corner}{glyphs.floor * columns}")
    if any(mark != " " for mark in below):
        lines.append(f"{'':>{margin + 1}}{''.join(below)}")
    return [line.rstrip() for line in lines]


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan
