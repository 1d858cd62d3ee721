import json
import math

import numpy as np
import pytest

from sdperf.judging.trend.changes import analyse_machine
from sdperf.judging.trend.points import METRICS
from sdperf.report.text.plot import ASCII, HEIGHT, UNICODE, choose_glyphs, format_plot
from sdperf.report.text.trend import (
    format_effect,
    format_trends,
    format_trends_json,
    label_series,
    make_points,
)
from sdperf.report.text.wrapping import WIDTH
from sdperf.store.history.figures import Figures
from sdperf.store.history.series import KnownEnvironment, SeriesKey, SeriesResult
from tests.judging.trend.test_changes import START, step
from tests.judging.trend.test_changes import make_points as points_of

SECONDS = METRICS["seconds"]


def read(values, metric=SECONDS, cases=1, **changes):
    series = {f"bench.py::test_{c}": points_of(values, **changes) for c in range(cases)}
    return analyse_machine(series, "mps--apple-m4", metric, 200)


def text_of(trends, **options):
    return [line.text for line in format_trends(trends, every_plot=False, **options)]


def test_a_regression_is_said_with_its_size_commits_and_cause():
    lines = text_of(read(step(), commit=lambda i: f"{i:02x}{0:038x}"))
    page = " ".join("\n".join(lines).split())
    assert lines[0].startswith("test_0: 60 runs, last ")
    assert "slower +6." in page
    assert "in 1d00000000..1e00000000, runs 29 to 30 (2026-01-31)" in page
    assert "code: no update came with it" in page
    assert any(line.rstrip().endswith("S") for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_colours_tell_what_is_bad_good_and_neither():
    (line,) = [x for x in format_trends(read(step()), every_plot=False) if "slower" in x.text][:1]
    assert line.colour == "red"
    faster = format_trends(read(step(size=-0.06)), every_plot=False)
    assert "green" in {line.colour for line in faster}
    update = format_trends(
        read(step(), environment=lambda i: {"torch": "ab"[i >= 30]}), every_plot=False
    )
    assert "red" not in {line.colour for line in update}
    assert any("update     run 30" in line.text for line in update)


def test_series_whose_cases_differ_by_their_files_alone_say_so():
    series = {f"{one}.py::test_0": points_of(step(size=0)) for one in "ab"}
    lines = text_of(analyse_machine(series, "m", SECONDS, 200))
    assert [line.partition(":: ")[0][:12] for line in lines[:2]] == ["a.py::test_0", "b.py::test_0"]


def test_nothing_to_say_is_one_line():
    lines = text_of(read(step(size=0)))
    assert len(lines) == 1
    assert lines[0].endswith("no change of level")


def test_too_few_runs_say_how_many_are_missing():
    assert "9 more needed to see changes" in text_of(read(np.zeros(5)))[0]
    assert "1 run, " in text_of(read(np.zeros(1)))[0]


def test_runs_that_do_not_count_are_named():
    lines = text_of(read(step(size=0), disturbance=lambda i: "too hot" if i == 5 else None))
    assert lines[-1] == "  left out   1 of 60 runs: too hot"
    (_, only) = text_of(read(np.zeros(1), disturbance=lambda _: "too hot"))
    assert only == "  left out   1 of 1 run: too hot"
    nothing = text_of(read(np.zeros(3), disturbance=lambda _: "too hot"))
    assert nothing[0] == "test_0: no run that counts"


def test_what_all_cases_share_has_a_line_of_its_own():
    table = {f"c{c}": points_of(step(seed=c, sigma=0.005)) for c in range(6)}
    lines = text_of(analyse_machine(table, "m", SECONDS, 200))
    assert lines[0].startswith("all cases together: 60 runs")
    assert sum("  slower  " in line for line in lines) == 1


def test_json_is_strict_and_complete():
    trends = read(step(), disturbance=lambda i: "hot" if i == 3 else None)
    (trend,) = json.loads(format_trends_json(trends), parse_constant=pytest.fail)["trends"]
    (change,) = trend["changes"]
    assert change["cause"] == "code"
    assert change["ratio"] == pytest.approx(math.exp(change["effect"]))
    assert change["last_before"]["run"] == 29
    assert trend["runs"][3]["searched"] is None
    assert trend["runs"][3]["left_out"] == "hot"
    assert trend["is_worse"]
    assert trend["creep"]["anchor_ends"]["run"] == 10


@pytest.mark.parametrize(
    ("metric", "effect", "shown"),
    [("seconds", math.log(1.05), "+5.0%"), ("ssim", -0.01, "-0.0100")],
)
def test_effects_are_ratios_or_differences(metric, effect, shown):
    assert format_effect(METRICS[metric], effect) == shown


def result(run, outcome="PASS", counts=True, environment=1, **figures):
    fields = {"outcome": outcome, "seconds_per_image": 1.0, "peak_rss_bytes": 5}
    return SeriesResult(
        run_id=run,
        measured_at=START,
        commit_id="abc",
        is_dirty=run == 2,
        branch=None,
        is_accepted=False,
        counts=counts,
        environment_id=environment,
        figures=Figures(**fields | figures),
    )


def test_rows_become_points_and_say_why_they_do_not_count():
    known = {1: KnownEnvironment(1, "f", {"packages": {"torch": "2.13"}})}
    rows = [
        result(1),
        result(2, disturbance="thermal level: heavy"),
        result(3, outcome="BROKEN"),
        result(4, counts=False),
        result(5, outcome="SLOWER", environment=None),
        result(6, seconds_per_image=None),
    ]
    points = make_points(rows, SECONDS, known)
    assert [point.run for point in points] == [1, 2, 3, 4, 5]
    assert [point.disturbance for point in points] == [
        None,
        "thermal level: heavy",
        "the case was BROKEN",
        "the run was void or interrupted",
        None,
    ]
    assert points[1].commit == "abc-dirty"
    assert points[0].environment == {"torch": "2.13"}
    assert [point.value for point in make_points(rows, METRICS["memory"], known)] == [5.0] * 6


def test_series_of_one_case_are_told_apart_by_what_differs():
    def key(number, case, **workload):
        return SeriesKey(number, case, "m", {"kind": "latency", "workload": workload})

    labels = label_series([key(1, "a", steps=20), key(2, "a", steps=30), key(3, "b", steps=20)])
    assert labels == {1: "a (steps 20)", 2: "a (steps 30)", 3: "b"}
    twins = label_series([key(1, "a"), key(2, "a")])
    assert twins == {1: "a", 2: "a #2"}
    pictures = [key(1, "a", picture="0" * 64), key(2, "a", picture="f" * 64, lora=["x", "y"])]
    assert label_series(pictures) == {
        1: f"a (picture {'0' * 12})",
        2: f"a (picture {'f' * 12}, lora x+y)",
    }


def test_a_head_wider_than_a_line_is_wrapped_and_kept_whole():
    name = "latency[fp32] (" + " ".join(["steps 20"] * 15) + ")"
    lines = text_of(analyse_machine({name: points_of(np.zeros(5))}, "m", SECONDS, 200))
    assert max(map(len, lines)) <= WIDTH
    assert "9 more needed to see changes" in " ".join(" ".join(lines).split())


def draw(values, **changes):
    options = {
        "levels": [math.nan] * len(values),
        "marks": {},
        "left_out": {},
        "format_value": lambda value: f"{value:.1f}",
        "width": 40,
        "glyphs": ASCII,
    }
    return format_plot(values, **options | changes)


def test_a_plot_has_its_extremes_on_its_axis():
    lines = draw([1.0, 2.0, 4.0])
    assert len(lines) == HEIGHT + 1
    assert lines[0] == "4.0 |  o"
    assert lines[6] == "1.0 |o"
    assert lines[7] == "    +---"


def test_many_runs_share_columns_and_marks_stay_in_place():
    values = [0.0] * 500 + [1.0] * 500
    lines = draw(values, marks={500: "S"}, levels=values)
    assert max(map(len, lines)) <= 40
    assert lines[-1].index("S") - 5 == pytest.approx(17, abs=1)
    assert draw([math.nan]) == []


def test_runs_left_out_and_levels_have_their_own_signs():
    lines = draw([1.0, math.nan, 1.0], levels=[1.0, 1.0, 1.0], left_out={1: 3.0}, marks={1: "u"})
    page = "\n".join(lines)
    assert "x" in lines[0]
    assert "o-o" in page
    assert lines[-1].strip() == "u"


def test_a_terminal_that_knows_no_unicode_gets_none():
    assert choose_glyphs("utf-8") is UNICODE
    assert choose_glyphs("ascii") is ASCII
    assert choose_glyphs(None) is ASCII
    assert choose_glyphs("klingon") is ASCII
    "".join(draw([1.0, 2.0], levels=[1.0, 1.0])).encode("ascii")
