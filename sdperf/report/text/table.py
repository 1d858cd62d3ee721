"""A table in columns of characters, for terminals and files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sdperf.report.table import Column, Table
from sdperf.report.text.lines import Line
from sdperf.report.text.wrapping import WIDTH
from sdperf.streams import strip_controls
from sdperf.units import shorten, shorten_apart


def format_text_table(table: Table, indent: str = "", width: int = WIDTH) -> Iterator[Line]:
    """Lay a table out: a bold header, then one line per row with the lines below it.

    Where that is wider than a line, the first column is cut, if its texts may be cut.

    Args:
        table: The table.
        indent: Blanks before each line of the table; lines below a row have their own.
        width: Columns of a line.
    """
    rows = _cut(table)
    widths = _measure(table, rows)
    longest = max(len(lay_out(table.columns, widths, row)) for row in rows)
    if (over := len(indent) + longest - width) > 0:
        rows = _cut_names(table, rows, widths[0] - over)
        widths = _measure(table, rows)
    yield Line(f"{indent}{lay_out(table.columns, widths, rows[0])}", bold=True)
    for number, row in enumerate(rows[1:]):
        style = table.style_of(number)
        if style.across is None:
            laid = lay_out(table.columns, widths, row)
        else:
            laid = _lay_across(table.columns, widths, row, style.across)
        yield Line(f"{indent}{laid}", style.colour)
        yield from (Line(text, style.colour) for text in style.below)


def _measure(table: Table, rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the characters that each column needs."""
    return [
        max(column.least, *(len(row[number]) for row in rows))
        for number, column in enumerate(table.columns)
    ]


def _cut_names(table: Table, rows: list[list[str]], room: int) -> list[list[str]]:
    """Return the rows with the first column cut to what is left of a line; rows stay distinct."""
    names = table.columns[0]
    if names.most is None:
        return rows
    room = max(room, names.least)
    cut = shorten_apart([row[0] for row in rows], room, keeps_end=names.keeps_end)
    return [[name, *row[1:]] for name, row in zip(cut, rows, strict=True)]


def _cut(table: Table) -> list[list[str]]:
    """Return header and rows with cells cut to their columns' limits; rows stay distinct.

    Cells are cleaned first, since that can make them longer.
    """
    rows = [[strip_controls(cell) for cell in row] for row in (table.header, *table.rows)]
    cut = [
        [row[number] for row in rows]
        if column.most is None or (number == 0 and column.takes_rest)
        else shorten_apart([row[number] for row in rows], column.most, keeps_end=column.keeps_end)
        for number, column in enumerate(table.columns)
    ]
    return [list(row) for row in zip(*cut, strict=True)]


def _lay_across(
    columns: Sequence[Column], widths: Sequence[int], row: Sequence[str], words: str
) -> str:
    """Lay out a row in which words replace all cells but the first and the last."""
    between = zip(columns[1:-1], widths[1:-1], strict=True)
    room = sum(column.gap + width for column, width in between) - columns[1].gap
    ends = (columns[0], Column("", is_text=True, gap=columns[1].gap), columns[-1])
    return lay_out(ends, (widths[0], room, widths[-1]), (row[0], shorten(words, room), row[-1]))


def lay_out(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    """Lay one row out; nothing is padded at its end.

    Args:
        columns: The layout of its columns.
        widths: Characters of each column.
        cells: The text of each cell.
    """
    laid = ""
    for number, (column, width, cell) in enumerate(zip(columns, widths, cells, strict=True)):
        padded = cell.ljust(width) if column.is_text else cell.rjust(width)
        laid += " " * (column.gap if number else 0) + padded
    return laid.rstrip()
