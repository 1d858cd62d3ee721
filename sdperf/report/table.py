"""A table as a value; text, Markdown, HTML and CSV are made of it elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self


class Code(str):
    """A cell that Markdown and HTML show as code."""

    __slots__ = ()


class Marked(str):
    """A cell that Markdown shows in another way than as itself.

    Attributes:
        markdown: The cell in Markdown, its words escaped.
    """

    markdown: str

    def __new__(cls, text: str, markdown: str) -> Self:
        """Take both forms."""
        made = super().__new__(cls, text)
        made.markdown = markdown
        return made


@dataclass(frozen=True)
class Column:
    """The layout of a column, for the renderers that need it.

    Attributes:
        title: Its heading.
        is_text: Whether it holds words, aligned left; numbers are aligned right.
        least: Least width in characters, in text.
        most: Most characters of a cell, in text; ``None`` cuts no cell.
        keeps_end: Whether a long cell is cut at its beginning, so that its end stays.
        gap: Blanks before the column, in text.
        takes_rest: Whether cells of the first column may be longer where a line has room for them.
    """

    title: str
    is_text: bool = False
    least: int = 0
    most: int | None = None
    keeps_end: bool = False
    gap: int = 1
    takes_rest: bool = False


@dataclass(frozen=True)
class RowStyle:
    """How a row differs from others.

    Attributes:
        colour: Name of the row's colour, in text.
        below: Lines below the row, in text.
        across: Words in place of all cells but the first and the last, in text; ``None`` shows
            the cells.
        is_marked: Whether HTML highlights the row.
    """

    colour: str = ""
    below: tuple[str, ...] = ()
    across: str | None = None
    is_marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: The layout of its columns.
        rows: The cells of each row, one per column.
        styles: How rows differ from others, by the row's index.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    styles: Mapping[int, RowStyle] = field(default_factory=dict)

    @classmethod
    def of(cls, header: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Self:
        """Make a table of plain words: the first column is text, all others are numbers."""
        columns = (Column(name, is_text=number == 0) for number, name in enumerate(header))
        return cls(tuple(columns), tuple(rows))

    @property
    def header(self) -> tuple[str, ...]:
        """The headings of its columns."""
        return tuple(column.title for column in self.columns)

    def style_of(self, row: int) -> RowStyle:
        """Return how a row differs from others."""
        return self.styles.get(row, RowStyle())
