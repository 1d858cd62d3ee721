"""A table in columns of characters, for terminals and files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sdperf.report.table import Column, Table, shorten
from sdperf.report.text.lines import Line


def format_text_table(table: Table, indent: str = "") -> Iterator[Line]:
    """Lay a table out: a bold header, then a line a row, and what stands beneath it.

    Args:
        table: The table.
        indent: Blanks before each line of it; what stands beneath a row has its own.
    """
    rows = [_cut(table.columns, row) for row in (table.header, *table.rows)]
    widths = [
        max(column.least, *(len(row[number]) for row in rows))
        for number, column in enumerate(table.columns)
    ]
    yield Line(f"{indent}{lay_out(table.columns, widths, rows[0])}", bold=True)
    for number, row in enumerate(rows[1:]):
        style = table.style_of(number)
        yield Line(f"{indent}{lay_out(table.columns, widths, row)}", style.colour)
        yield from (Line(text, style.colour) for text in style.below)


def _cut(columns: Sequence[Column], row: Sequence[str]) -> list[str]:
    return [
        cell if column.most is None else shorten(cell, column.most, keeps_end=column.keeps_end)
        for column, cell in zip(columns, row, strict=True)
    ]


def lay_out(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    """Lay one row out; nothing is padded at its end.

    Args:
        columns: What its columns are.
        widths: Characters of each.
        cells: What stands in them.
    """
    laid = ""
    for number, (column, width, cell) in enumerate(zip(columns, widths, cells, strict=True)):
        padded = cell.ljust(width) if column.is_text else cell.rjust(width)
        laid += " " * (column.gap if number else 0) + padded
    return laid.rstrip()
