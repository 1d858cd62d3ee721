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
        markdown: How, its words escaped.
    """

    markdown: str

    def __new__(cls, text: str, markdown: str) -> Self:
        """Take both forms."""
        made = super().__new__(cls, text)
        made.markdown = markdown
        return made


@dataclass(frozen=True)
class Column:
    """What a column is, for those renderers that lay it out.

    Attributes:
        title: Its heading.
        is_text: Whether it is words, which begin at the left; numbers end at the right.
        least: Characters that it takes at least, in text.
        most: Characters after which its cells are cut, in text; ``None`` cuts none.
        keeps_end: Whether a cell is cut at its beginning.
        gap: Blanks before it, in text.
    """

    title: str
    is_text: bool = False
    least: int = 0
    most: int | None = None
    keeps_end: bool = False
    gap: int = 1


@dataclass(frozen=True)
class RowStyle:
    """How a row differs from others.

    Attributes:
        colour: Name of a colour, in text.
        below: Lines beneath it, in text.
        across: Words in place of all its cells but the first and the last, in text; ``None`` shows
            the cells.
        is_marked: Whether HTML points at it.
    """

    colour: str = ""
    below: tuple[str, ...] = ()
    across: str | None = None
    is_marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: What its columns are.
        rows: Cells, as many in each as there are columns.
        styles: How rows differ from others, by their number.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    styles: Mapping[int, RowStyle] = field(default_factory=dict)

    @classmethod
    def of(cls, header: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Self:
        """Make one of plain words: the first column is text, all others are numbers."""
        columns = (Column(name, is_text=number == 0) for number, name in enumerate(header))
        return cls(tuple(columns), tuple(rows))

    @property
    def header(self) -> tuple[str, ...]:
        """The headings of its columns."""
        return tuple(column.title for column in self.columns)

    def style_of(self, row: int) -> RowStyle:
        """Return how a row differs from others."""
        return self.styles.get(row, RowStyle())
