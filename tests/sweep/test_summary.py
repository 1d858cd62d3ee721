"""What is said of a sweep: tables, words, figure, page and JSON, and files that are none."""

import copy
import csv
import io
import json
import re
from argparse import Namespace
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest

from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.cli.sweep.plan import describe_plan, format_span
from sdperf.cli.sweep.report import explain_undrawn
from sdperf.errors import RecordError
from sdperf.report.figures.drawn import format_csv
from sdperf.report.figures.style import render_png, render_svg
from sdperf.report.figures.sweep import draw_sweep
from sdperf.report.html.page import render_page
from sdperf.report.markdown.sweep import format_sweep_markdown
from sdperf.report.pictures.pictures import locate_pictures
from sdperf.report.sweep import describe_error, format_sweep_lines
from sdperf.sweep.summary import format_sweep_json, read_sweep
from tests.support.bisecting import Machine, Planted
from tests.support.reported_runs import HOSTILE
from tests.support.sweeping import name_versions, run_sweep, summarise, sweep_question
from tools.record_schema.sweep import make_sweep_schema

VERSIONS = name_versions(6)
SCHEMA = Path(__file__).parents[2] / "docs" / "sweep.schema.json"


@pytest.fixture(scope="module")
def conclusion(tmp_path_factory):
    """A gain, a loss, a version that refuses, a picture that changed, memory that grew."""
    planted = {
        VERSIONS[0]: Planted(),
        VERSIONS[1]: Planted(slowdown=-0.1),
        VERSIONS[2]: Planted(refuses=True),
        VERSIONS[3]: Planted(slowdown=0.2),
        VERSIONS[4]: Planted(slowdown=0.2, image=True),
        VERSIONS[5]: Planted(slowdown=0.2, image=True, grown_mib=300),
    }
    folder = tmp_path_factory.mktemp("sweep")
    return run_sweep(folder, sweep_question(VERSIONS), Machine(planted))


@pytest.fixture(scope="module")
def summary(conclusion):
    return summarise(conclusion)


def test_a_terminal_says_the_largest_steps_first_and_fits_a_hundred_columns(summary):
    texts = [line.text for line in format_sweep_lines(summary)]
    whole = " ".join(" ".join(texts).split())
    assert whole.startswith("planted 1.0 .. 6.0: 5 of 6 versions measured, every comparison was")
    assert re.search(r" largest step in time: 2\.0 -> 4\.0: \+33\.\d % \(", whole)
    assert " second largest step in time: 1.0 -> 2.0: -10." in whole
    assert "third largest" not in whole
    assert " largest step in peak memory: 5.0 -> 6.0: +58.6 %" in whole
    assert "pictures left the floors: 4.0 -> 5.0: SSIM 0.7100, worst tile 0.7100" in whole
    assert "3.0 cannot be measured: " in whole
    assert "an error of 1 % for any false step in time is divided among all 9 comparisons" in whole
    assert max(map(len, texts)) <= 100


def test_of_two_versions_there_is_one_comparison_and_it_is_told_as_one(tmp_path):
    names = VERSIONS[:2]
    machine = Machine({name: Planted() for name in names})
    told = describe_error(summarise(run_sweep(tmp_path, sweep_question(names), machine)))
    assert "step in time belongs to the only comparison that there can be" in told


def test_markdown_has_both_tables_and_nothing_of_a_name_becomes_markup(conclusion):
    names = {step: HOSTILE if step == VERSIONS[1] else step for step in VERSIONS}
    told = format_sweep_markdown(summarise(conclusion, names=names, titles={"x": HOSTILE}))
    assert "<script" not in told
    assert told.count("\n| ") == 2 * 2 + 6 + 4
    assert "for any false step in time" in told


def test_the_figure_shows_every_version_that_was_measured_and_those_that_cannot_be(summary):
    drawn = draw_sweep(summary)
    assert render_svg(drawn.figure).startswith(b"<?xml")
    assert render_png(drawn.figure)[:4] == b"\x89PNG"
    rows = list(csv.reader(io.StringIO(format_csv(drawn.table))))
    assert [row[0] for row in rows] == ["version", *(f"{one}.0" for one in range(1, 7))]
    assert sum(name.startswith("version-") for name in drawn.hints) == 5
    assert sum(name.startswith("failed-") for name in drawn.hints) == 1
    assert "2.0 -> 4.0: +33." in "".join(drawn.hints.values())


def test_equal_pictures_and_unsettled_steps_are_seen_in_the_figure(summary):
    time, memory, pictures = draw_sweep(summary).figure.axes
    points = enumerate(summary.curves[0].points)
    measured = [place for place, point in points if point.state == "measured"]
    assert len(measured) == 5
    drawn = [line.get_xdata()[0] for line in pictures.lines if line.get_marker() == "o"]
    assert drawn == measured[1:]
    assert all(not line.get_clip_on() for line in pictures.lines if line.get_marker() == "o")
    joined = [
        tuple(line.get_xdata())
        for line in time.lines
        if len(set(line.get_xdata())) == 2 and any(line.get_ydata())
    ]
    assert joined == list(pairwise(measured))
    low, high = memory.get_ylim()
    assert high - low >= 0.1 * max(memory.lines[0].get_ydata())


def test_a_sweep_without_time_has_a_figure_of_starts_memory_and_pictures(tmp_path):
    planted = {
        VERSIONS[0]: Planted(),
        VERSIONS[1]: Planted(refuses=True),
        VERSIONS[2]: Planted(image=True, grown_mib=300),
    }
    asked = sweep_question(VERSIONS[:3], options=CompareOptions(budget_s=0.0))
    untimed = summarise(run_sweep(tmp_path, asked, Machine(planted)))
    untimed = name_starts(untimed, first_call_s=2.0, load_s=4.0)
    drawn = draw_sweep(untimed)
    starts, memory, pictures = drawn.figure.axes
    assert "first call" in starts.get_ylabel()
    assert "No image was timed" in drawn.caption
    labels = [line.get_label() for line in starts.lines if not line.get_label().startswith("_")]
    assert labels == ["first call", "load"]
    assert list(starts.lines[0].get_ydata()) == [2.0, 2.0]
    assert drawn.hints["load_s-2"] == "3.0: load 4.00 s"
    assert drawn.hints["failed-1"].startswith("2.0 cannot be measured: ")
    assert len(memory.lines[0].get_ydata()) == 2
    assert [line.get_xdata()[0] for line in pictures.lines if line.get_marker() == "o"] == [2]
    page = render_page([], locate_pictures([]), sweeps=[untimed])
    assert "<svg" in page


def name_starts(summary, **figures):
    """Give each version that was measured the same start."""
    (curve,) = summary.curves
    points = tuple(
        replace(point, figures=replace(point.figures, **figures))
        if point.state == "measured"
        else point
        for point in curve.points
    )
    return replace(summary, curves=(replace(curve, points=points),))


def test_that_nothing_can_be_drawn_is_said_where_a_figure_was_asked_for(tmp_path, summary):
    planted = {VERSIONS[0]: Planted(), VERSIONS[1]: Planted(refuses=True)}
    found = run_sweep(tmp_path, sweep_question(VERSIONS[:2]), Machine(planted))
    nothing = summarise(found, environment=None)
    asked, unasked = (Namespace(figures=one, html=None) for one in (tmp_path, None))
    told = ["no figure: it takes two versions that were measured"]
    assert list(explain_undrawn(nothing, asked)) == told
    assert list(explain_undrawn(nothing, unasked)) == []
    assert list(explain_undrawn(summary, asked)) == []


def test_two_versions_are_the_least_that_is_drawn(tmp_path):
    planted = {VERSIONS[0]: Planted(), VERSIONS[1]: Planted(refuses=True)}
    found = run_sweep(tmp_path, sweep_question(VERSIONS[:2]), Machine(planted))
    nothing = summarise(found, environment=None)
    assert draw_sweep(nothing) is None
    page = render_page([], locate_pictures([]), sweeps=[nothing])
    assert "no two versions can be measured here" in page
    foot = page[page.index("<footer>") :]
    assert "This file holds no run" in foot
    assert "judges them again" not in foot
    assert "sdperf tune" not in foot
    lines = [line.text for line in format_sweep_lines(nothing)]
    assert "no two versions" in lines[0]
    assert lines[1] == "  embedded: 4 steps, guidance 3; 0 comparisons"


def test_a_page_holds_the_figure_and_both_tables_and_asks_nobody_for_anything(conclusion):
    names = {step: HOSTILE if step == VERSIONS[1] else step for step in VERSIONS}
    page = render_page([], locate_pictures([]), sweeps=[summarise(conclusion, names=names)])
    assert HOSTILE not in page
    assert "<svg" in page
    assert "Each version against the one before it" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)


def test_json_is_as_its_schema_says_and_is_read_back_without_the_command(summary, tmp_path):
    path = tmp_path / "sweep.json"
    path.write_text(format_sweep_json(summary))
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert make_sweep_schema() == schema, (
        "python -m tools.record_schema sweep > docs/sweep.schema.json"
    )
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(path.read_text())
    validator.validate(document)
    damaged = copy.deepcopy(document)
    damaged["curves"][0]["points"][0]["state"] = "perhaps"
    assert not validator.is_valid(damaged)
    assert read_sweep(path) == replace(summary, command="")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda one: one.update(kind="sdperf ab"), "is no sweep"),
        (lambda one: one.update(format_version=2), "another sdperf"),
        (lambda one: one.update(curves=[]), "holds no case"),
        (lambda one: one["curves"][0]["points"].pop(), "does not hold"),
        (lambda one: one["curves"][0]["points"][1].update(change_log=1e9), "log ratio"),
        (lambda one: one["curves"][0]["points"][0]["figures"].update(load_s=-1.0), "negative"),
        (lambda one: one["curves"][0]["points"][0]["figures"].update(load_s=1e300), "beyond"),
        (lambda one: one["curves"][0]["points"][0].update(seconds_per_image=-1.0), "negative"),
        (lambda one: one.update(took_s=-1.0), "negative"),
        (lambda one: one.update(comparisons=-1), "negative"),
        (lambda one: one["curves"].append(one["curves"][0]), "holds a case twice"),
        (
            lambda one: one["curves"][0]["points"].append(one["curves"][0]["points"][0]),
            "holds a version twice; got: 1.0",
        ),
        (
            lambda one: one["curves"][0]["steps"].append(one["curves"][0]["steps"][0]),
            "holds a step twice; got: 1.0 -> 2.0",
        ),
        (lambda one: one["curves"][0]["steps"][0]["found"].update(ssim=1e308), "SSIM"),
        (lambda one: one["curves"][0]["steps"][0]["found"].update(worst_tile_ssim=-9.0), "SSIM"),
        (lambda one: one["question"]["plan"].update(chosen=[]), "a sweep over 0 steps"),
    ],
)
def test_a_file_that_is_damaged_is_refused(summary, tmp_path, damage, words):
    document = json.loads(format_sweep_json(summary))
    damage(document)
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RecordError, match=words):
        read_sweep(path)


def test_controls_in_a_foreign_files_texts_reach_no_page_and_no_terminal(summary, tmp_path):
    document = json.loads(format_sweep_json(summary))
    (curve,) = document["curves"]
    for point in curve["points"]:
        point["name"] += "\x1b[31m\ud800"
    for step in curve["steps"]:
        step.update(
            before=step["before"] + "\x1b[31m\ud800", after=step["after"] + "\x1b[31m\ud800"
        )
    document["anchor"] = "a|b\x1b"
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(document))
    foreign = read_sweep(path)
    assert foreign.curves[0].points[0].name.endswith("?[31m?")
    markdown = format_sweep_markdown(foreign)
    header = next(line for line in markdown.splitlines() if line.startswith("| version"))
    assert r"against a\|b?" in header
    page = render_page([], locate_pictures([]), sweeps=[foreign])
    text = "".join(line.text for line in format_sweep_lines(foreign))
    assert "\x1b" not in markdown + page + text


def test_a_missing_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(RecordError, match="cannot be read"):
        read_sweep(tmp_path / "none.json")
    monkeypatch.setattr("sdperf.sweep.summary.LARGEST_BYTES", 1)
    (tmp_path / "large.json").write_text("{}")
    with pytest.raises(RecordError, match="too large"):
        read_sweep(tmp_path / "large.json")


def test_a_plan_says_the_time_from_what_was_measured_once_something_was(tmp_path):
    asked = sweep_question(VERSIONS[:4])
    names = {step: step for step in VERSIONS}
    before = list(describe_plan(asked, names, None))
    assert before[1].startswith("5 comparisons: neighbours, and each with the anchor")
    assert before[2].startswith("if an image takes 1 s: ")
    assert len(before) == 4
    machine = Machine(dict.fromkeys(VERSIONS, Planted()), interrupt_at=3)
    stopped = run_sweep(tmp_path, asked, machine)
    state = replace(
        stopped.state, pairs=tuple(replace(one, took_s=600.0) for one in stopped.state.pairs)
    )
    after = list(describe_plan(asked, names, state))
    assert after[-1] == "3 left: about 30 min, as long as those before took"
    assert (format_span(50), format_span(9000)) == ("50.0 s", "2.5 h")


def test_the_plan_of_a_long_range_names_its_newest():
    steps = tuple(f"1.{number}" for number in range(40))
    names = dict(zip(steps, steps, strict=True))
    told = next(iter(describe_plan(sweep_question(steps), names, None)))
    assert told.endswith("1.27, 1.28, and 10 more up to 1.39")
