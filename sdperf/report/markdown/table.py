"""A table as Markdown; words from files are escaped. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sdperf.report.markdown.words import escape_markdown, format_code
from sdperf.report.table import Code, Marked, Table

_FIGURES: Final = re.compile(r"(?<!\])\\([+()])")


def format_markdown_table(table: Table) -> Iterator[str]:
    """Lay a table out: its header, the alignment of its columns, then one line per row."""
    yield _join([_format_cell(name) for name in table.header])
    yield _join(["---" if column.is_text else "---:" for column in table.columns])
    for row in table.rows:
        yield _join([_format_cell(cell) for cell in row])


def _format_cell(cell: str) -> str:
    if isinstance(cell, Marked):
        return cell.markdown
    return format_code(cell) if isinstance(cell, Code) else _escape(cell)


def _escape(text: str) -> str:
    """Escape words; signs and brackets of figures stay, since they are not markup within a cell."""
    return _FIGURES.sub(r"\1", escape_markdown(text))


def _join(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
