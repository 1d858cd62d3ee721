"""Words out of files stand for themselves in every page of Markdown and every CSV."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.ab.verdict.judging import judge_comparison
from sdperf.record.json import parse_record
from sdperf.report.figures.drawn import format_csv
from sdperf.report.markdown.ab import format_comparison_markdown
from sdperf.report.markdown.tune import format_summary_markdown
from sdperf.report.markdown.words import escape_markdown, format_block, format_code
from sdperf.report.table import Table
from sdperf.report.text.contributions import format_table
from sdperf.store.contribution.contribution import Contribution
from sdperf.tune.summary import read_summary
from tests.report.text.test_ab import FASTER, compared, with_packages

RESULTS = Path(__file__).parents[3] / "docs/results"
EVIL = "x|y\n# head\n<script>1</script>[a](http://b)![i](c)\x1b[2J\u202e @boss #12 ```\n::error::e"


def check(page):
    """Check that nothing of `EVIL` became markup, a row or a line of its own."""
    assert "head" in page
    assert not re.search(r"^\s*(# head|::error)", page, re.MULTILINE)
    assert not set("\x1b\u202e\r") & set(page)
    outside = "".join(re.split(r"`[^`\n]*`", page.replace("\\`", "")))
    for markup in ("<script", "@boss", "#12"):
        assert markup not in outside
    assert not re.search(r"(?<!\\)\]\(", outside)
    rows = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    for table in rows:
        widths = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(widths) == 1, table


def test_a_comparison_of_two_sides():
    record = with_packages(compared(FASTER).record)
    case = record.cases[0]
    images = tuple(
        dataclasses.replace(pair, a=dataclasses.replace(pair.a, prompt=EVIL))
        for pair in case.images
    )
    sides = [
        dataclasses.replace(
            side,
            label=EVIL,
            packages={**side.packages, EVIL: str(number)},
            workload=dataclasses.replace(side.workload, model=EVIL),
        )
        for number, side in enumerate((record.a, record.b))
    ]
    evil = dataclasses.replace(
        record,
        a=sides[0],
        b=sides[1],
        notes=(EVIL,),
        cases=(dataclasses.replace(case, images=images, notes=(EVIL,)),),
        environment=dataclasses.replace(record.environment, device_name=EVIL),
    )
    check(format_comparison_markdown(evil, judge_comparison(evil)))


def test_a_study():
    summary = read_summary(RESULTS / "tune-cpu-embedded.json")
    trials = tuple(dataclasses.replace(one, ending=EVIL) for one in summary.trials)
    confirmations = tuple(
        dataclasses.replace(one, judgement=EVIL, reason=EVIL) for one in summary.confirmations
    )
    evil = dataclasses.replace(
        summary,
        study=EVIL,
        machine=EVIL,
        trials=trials,
        confirmations=confirmations,
        importances={EVIL: {EVIL: 0.5}},
    )
    check(format_summary_markdown(evil))


def test_the_table_of_machines():
    (path, *_) = sorted((RESULTS / "machines").glob("*.json"))
    bundle = parse_record(Contribution, json.loads(path.read_text()))
    where = dataclasses.replace(bundle.environment, chip=EVIL, os_version=EVIL)
    cases = tuple(dataclasses.replace(one, model=EVIL) for one in bundle.cases)
    evil = dataclasses.replace(bundle, environment=where, cases=cases)
    check(format_table({"bundle.json": evil}).replace("](bundle.json)", ""))


@given(st.text())
def test_any_text_is_one_line_that_can_be_printed(text):
    for shown in (escape_markdown(text), format_code(text), format_block(text)[1]):
        assert shown.replace("\u2060", "").isprintable()
        assert len(shown.splitlines()) <= 1


def test_a_block_cannot_be_closed_from_within():
    fence, line, end = format_block("a ```` b\n```")
    assert (fence, end) == ("`````", "`````")
    assert line == "a ```` b ```"


@pytest.mark.parametrize("cell", ["=1+1", "+1+cmd|' /C x'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_is_a_formula(cell):
    (row,) = csv.reader(io.StringIO(format_csv(Table.of((cell,), ()))))
    assert row[0].startswith("'")


@pytest.mark.parametrize("cell", ["-1.5", "+3.2 %", "-3.0 %", "-", "1.2e-05", "-12 dB", "x 22.2"])
def test_a_number_stays_a_number(cell):
    (row,) = csv.reader(io.StringIO(format_csv(Table.of((cell,), ()))))
    assert row == [cell]


def test_a_line_break_makes_no_row():
    text = format_csv(Table.of(("a\nb", "c"), (("d\r\ne", "f\x1b[0m"),)))
    assert text.splitlines() == ["a b,c", "d e,f [0m"]
