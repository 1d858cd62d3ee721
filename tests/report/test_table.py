"""One table, and what text, Markdown, HTML and CSV make of it."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdperf.report.figures.drawn import format_csv
from sdperf.report.html.table import format_html_table
from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.table import Code, Column, Marked, RowStyle, Table
from sdperf.report.text.table import format_text_table
from sdperf.units import shorten

TABLE = Table(
    (
        Column("case", is_text=True, most=10),
        Column("s/image", least=9),
        Column("verdict", is_text=True, gap=2),
    ),
    (
        (Code("latency[fp32]"), "1.2 s", Marked("SLOWER", "**SLOWER**: 12 %")),
        (Code("a"), "900 ms", "PASS"),
    ),
    {0: RowStyle("red", ("  beneath",), is_marked=True)},
)


def test_text_has_columns_of_characters_and_what_stands_beneath_a_row():
    lines = list(format_text_table(TABLE, "> "))
    assert [line.text for line in lines] == [
        "> case         s/image  verdict",
        "> latency...     1.2 s  SLOWER",
        "  beneath",
        "> a             900 ms  PASS",
    ]
    assert [(line.colour, line.bold) for line in lines] == [
        ("", True),
        ("red", False),
        ("red", False),
        ("", False),
    ]


def test_a_table_wider_than_a_line_cuts_its_names_and_they_stay_apart():
    names = [f"diffusers 0.{n}.0, transformers 5.{n}.0" for n in (40, 41)]
    columns = (
        Column("step", is_text=True, least=8, most=40),
        *(Column("x" * 15, gap=2) for _ in range(4)),
    )
    rows = tuple((name, "1", "2", "3", "4") for name in names)
    lines = [line.text for line in format_text_table(Table(columns, rows), "  ")]
    assert [len(line) for line in lines] == [100] * 3
    assert len({line[:32] for line in lines[1:]}) == 2
    assert all(line[:32].strip() != name for line, name in zip(lines[1:], names, strict=True))
    whole = [line.text for line in format_text_table(Table(columns, rows), "  ", width=200)]
    assert all(name in line for line, name in zip(whole[1:], names, strict=True))


def test_a_table_whose_names_may_not_be_cut_keeps_them_whole():
    table = Table((Column("step", is_text=True), Column("n")), (("a" * 120, "1"),))
    assert [line.text for line in format_text_table(table)][1] == f"{'a' * 120} 1"


def test_markdown_says_how_columns_stand():
    assert list(format_markdown_table(TABLE)) == [
        "| case | s/image | verdict |",
        "| --- | ---: | --- |",
        "| `latency[fp32]` | 1.2 s | **SLOWER**: 12 % |",
        "| `a` | 900 ms | PASS |",
    ]


def test_html_names_rows_and_columns_and_marks_a_row():
    text = format_html_table(TABLE)
    assert '<th scope="col">s/image</th>' in text
    assert '<tr class="differs"><th scope="row"><span aria-hidden="true">≠</span> ' in text
    assert '<tr><th scope="row"><code>a</code></th><td>900 ms</td><td>PASS</td></tr>' in text


def test_words_become_no_markup():
    hostile = "<b>[x](y) | `c` @all\x1b[31m\n"
    table = Table.of(("a", hostile), [(hostile, hostile)])
    assert "<b>" not in format_html_table(table)
    _, _, row = format_markdown_table(table)
    assert "](" not in row
    assert "<b>" not in row
    assert not any("\x1b" in line.text or "\n" in line.text for line in format_text_table(table))


WORDS = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=30)


@given(rows=st.lists(st.tuples(WORDS, WORDS), max_size=5), most=st.integers(4, 12))
@example(rows=[("::", "0")], most=4)  # a line that a workflow's log would obey
def test_columns_stay_beneath_their_heading(rows, most):
    table = Table((Column("name", is_text=True, most=most), Column("n", least=3)), tuple(rows))
    widest = max([3, *(len(cell) for _, cell in rows)])
    name = max([4, *(min(len(cell), most) for cell, _ in rows)])
    lines = [line.text for line in format_text_table(table)]
    assert all(len(line) <= name + 1 + widest for line in lines)
    assert lines[0] == f"{'name':<{name}} {'n':>{widest}}"
    read = list(csv.reader(io.StringIO(format_csv(table))))
    assert len(read) == len(rows) + 1


@pytest.mark.parametrize("keeps_end", [False, True])
@given(text=st.text(), most=st.integers(4, 40))
def test_a_shortened_text_fits(text, most, keeps_end):
    shown = shorten(text, most, keeps_end=keeps_end)
    assert len(shown) <= most
    assert (shown == text) == (len(text) <= most) or "..." in text


def test_room_that_only_the_last_column_would_leave_empty_cuts_no_name():
    columns = (Column("case", is_text=True, most=90), Column("verdict", is_text=True, least=12))
    name = "n" * 90
    table = Table(columns, ((name, "PASS"),))
    lines = [line.text for line in format_text_table(table, width=98)]
    assert lines[1] == f"{name} PASS"
    assert len(next(iter(format_text_table(table, width=97))).text) <= 97
