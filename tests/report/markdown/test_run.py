import dataclasses
import doctest

import pytest

from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.report.markdown import run as markdown
from sdperf.report.markdown.run import (
    LONGEST,
    RunReport,
    escape_markdown,
    format_code,
    format_run_markdown,
)
from sdperf.report.text.session.cases import Row
from tests.support.measurements import image, measurement, scores

EVIL = "<script>alert(1)</script> @boss #12 ![x](http://evil) | `code`\n# head & *bold*"


def row(name="latency[fp32-sync-1w]", outcome=Outcome.PASS, reason="within limits", step=None):
    finding = Finding(outcome, "latency", reason, step)
    return Row(name, Verdict(f"bench.py::test_{name}", (finding,)), measurement(), 1.02)


def page(*rows, **changes):
    fields = {
        "rows": rows,
        "skipped": 0,
        "description": ("embedded on mps (Apple M4)",),
        "comparison": ("compared with 7 accepted sessions",),
        "suite": None,
        "notes": (),
        "has_failed": False,
    }
    return format_run_markdown(RunReport(**fields | changes))


def test_a_green_run_is_three_lines():
    text = page(*(row(f"case{number}") for number in range(36)))
    assert text.splitlines()[0] == "### sdperf passed: 36 cases: 36 PASS"
    assert len(text.splitlines()) == 4
    assert "|" not in text


def test_a_red_run_says_why_first_and_has_the_table_folded():
    bad = row("slow", Outcome.SLOWER, "12 % slower", "sdperf ab main")
    text = page(row("fine"), bad, has_failed=True)
    lines = text.splitlines()
    assert lines[0] == "### sdperf failed: 2 cases: 1 SLOWER, 1 PASS"
    assert "- `slow` **SLOWER**: 12 % slower; next: `sdperf ab main`" in lines
    assert "<details><summary>all cases</summary>" in lines
    assert "| `fine` | 1.00 s | +2.0 % | 1.0000 | 5.00 bit | PASS |" in lines


def test_the_worst_comes_first_and_new_cases_are_only_counted():
    rows = [
        row("new", Outcome.NO_BASELINE),
        row("slow", Outcome.SLOWER),
        row("broken", Outcome.BROKEN),
    ]
    findings = [line for line in page(*rows, has_failed=True).splitlines() if line[:1] == "-"]
    assert [line.split("`")[1] for line in findings] == ["broken", "slow"]
    assert "<details>" not in page(row("new", Outcome.NO_BASELINE))


def test_an_interrupted_run_in_which_nothing_failed_is_not_called_failed():
    still_open = row("slow", Outcome.INCONCLUSIVE)
    text = page(still_open, has_failed=True, was_interrupted=True)
    assert text.startswith("### sdperf interrupted: 1 case: 1 INCONCLUSIVE\n")
    failed = page(row("slow", Outcome.SLOWER), has_failed=True, was_interrupted=True)
    assert failed.startswith("### sdperf failed: 1 case: 1 SLOWER\n")


def test_the_similarity_is_that_of_the_terminal():
    images = (image(scores=(scores("fp32-sync", 0.9999), scores("baseline", 1.0))),)
    one = dataclasses.replace(row(outcome=Outcome.SLOWER), measurement=measurement(images=images))
    (cells,) = [line.split("|") for line in page(one).splitlines() if "bit |" in line]
    assert cells[4].strip() == "1.0000"


def test_the_suite_has_a_line_where_it_is_not_plain():
    shifted = Finding(Outcome.SLOWER, "latency", "all cases rose by 8 %")
    assert "all cases together: **SLOWER**: all cases rose by 8 %" in page(row(), suite=shifted)
    assert "together" not in page(row(), suite=Finding(Outcome.PASS, "latency", "fine"))


@pytest.mark.parametrize("where", ["reason", "case", "description", "notes", "comparison", "seen"])
def test_nothing_hostile_becomes_markup(where):
    bad = row("x" if where != "case" else EVIL, Outcome.SLOWER, EVIL if where == "reason" else "r")
    if where == "seen":
        bad = Row("x", bad.verdict, None, None, EVIL)
    changes = {where: (EVIL,)} if where in ("description", "notes", "comparison") else {}
    text = page(bad, has_failed=True, **changes)
    outside = "".join(part for index, part in enumerate(text.split("`")) if index % 2 == 0)
    assert "<script" not in outside
    assert "@boss" not in outside
    assert "#12" not in outside
    assert "](" not in outside
    assert "\n# head" not in text
    table = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(line.replace("\\|", "").count("|") == 7 for line in table)


def test_code_cannot_be_left():
    assert format_code("a`b|c\nd") == "`a'b\\|c d`"
    assert escape_markdown("a & b") == "a &amp; b"


def test_a_large_run_fits_into_a_comment():
    rows = [row(f"case{number}", Outcome.BROKEN, "x" * 300) for number in range(2000)]
    text = page(*rows, has_failed=True)
    assert len(text) < LONGEST
    assert "more lines" in text


def test_the_examples_hold():
    assert doctest.testmod(markdown).failed == 0
