"""A figure with everything that belongs to it: caption, hints and its numbers as a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sdperf.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBER: Final = re.compile(r"[+-]?[0-9.]*(e[+-]?[0-9]+)?( ?[A-Za-z%]{1,5})?")
"""A number with its sign and unit, or the dash of an unknown one."""


def format_csv(table: Table) -> str:
    """Format a table as CSV (RFC 4180), the header first; no cell is a formula to a spreadsheet."""
    buffer = io.StringIO()
    rows = [table.header, *table.rows]
    csv.writer(buffer).writerows([[_make_plain(cell) for cell in row] for row in rows])
    return buffer.getvalue()


def _make_plain(cell: str) -> str:
    """Return a cell on one line that a spreadsheet reads as text, or as a number where it is one.

    Source: OWASP, CSV Injection: what begins with ``= + - @`` is calculated; an apostrophe before
        it makes it text.
    """
    flat = " ".join("".join(one if one.isprintable() else " " for one in cell).split())
    is_formula = flat.startswith(("=", "+", "-", "@")) and not _NUMBER.fullmatch(flat)
    return f"'{flat}" if is_formula else flat


@dataclass(frozen=True)
class Drawn:
    """One figure.

    Attributes:
        name: The name of its file and of its ids: letters, digits and dashes.
        title: The question that the figure answers.
        caption: What is shown, and what it does not prove.
        figure: The drawing.
        table: Its numbers.
        hints: Words to show over an artist, by the artist's ``gid``.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    table: Table
    hints: Mapping[str, str] = field(default_factory=dict)
