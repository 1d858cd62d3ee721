"""A table as HTML; every word in it is escaped. Pure."""

from __future__ import annotations

from html import escape

from sdperf.report.table import Code, Table


def format_html_table(table: Table) -> str:
    """Lay a table out: the headings, then one line per row, whose first cell names the row."""
    headings = "".join(f'<th scope="col">{escape(title)}</th>' for title in table.header)
    rows = (
        _format_row(row, is_marked=table.style_of(number).is_marked)
        for number, row in enumerate(table.rows)
    )
    return (
        f"<table>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table>"
    )


def _format_row(row: tuple[str, ...], *, is_marked: bool) -> str:
    name, *cells = map(_format_cell, row)
    sign = '<span aria-hidden="true">≠</span> ' if is_marked else ""
    start = '<tr class="differs">' if is_marked else "<tr>"
    listed = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'{start}<th scope="row">{sign}{name}</th>{listed}</tr>\n'


def _format_cell(cell: str) -> str:
    return f"<code>{escape(cell)}</code>" if isinstance(cell, Code) else escape(cell)
