"""A figure with everything that belongs to it: caption, hints and its numbers as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class NumberTable:
    """The numbers behind a figure, as people read them.

    Attributes:
        header: Names of the columns, units included.
        rows: Cells, as many in each as in the header.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def format_csv(self) -> str:
        """Format it as CSV (RFC 4180), the header first."""
        buffer = io.StringIO()
        csv.writer(buffer).writerows([self.header, *self.rows])
        return buffer.getvalue()


@dataclass(frozen=True)
class Drawn:
    """One figure.

    Attributes:
        name: Names its file and its ids: letters, digits and dashes.
        title: What it answers.
        caption: What is shown, and what it does not prove.
        figure: The drawing.
        table: Its numbers.
        hints: By the ``gid`` of an artist, the words to show over it.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    table: NumberTable
    hints: Mapping[str, str] = field(default_factory=dict)
