"""Sweeps out of the history: one curve over versions of what several sweeps found."""

import dataclasses
import json
import math
import re

import pytest

from sdperf.errors import RecordError
from sdperf.report.sweep_series import format_series, format_series_json
from sdperf.sweep.series import list_versions, make_series, order_versions
from tests.support.bisecting import Machine, Planted
from tests.support.reported_runs import HOSTILE
from tests.support.sweeping import name_versions, run_sweep, summarise, sweep_question

VERSIONS = name_versions(5)


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """A loss, a version that refuses, a picture that changed with memory that grew."""
    planted = {
        VERSIONS[0]: Planted(),
        VERSIONS[1]: Planted(slowdown=0.2),
        VERSIONS[2]: Planted(refuses=True),
        VERSIONS[3]: Planted(slowdown=0.2),
        VERSIONS[4]: Planted(slowdown=0.2, image=True, grown_mib=300),
    }
    folder = tmp_path_factory.mktemp("sweep")
    return summarise(run_sweep(folder, sweep_question(VERSIONS), Machine(planted)))


@pytest.fixture(scope="module")
def rows(summary):
    return list_versions(summary)


def later(rows, *, sweep="f" * 16, **changes):
    """The same sweep a month later, as another question."""
    return [
        dataclasses.replace(one, sweep=sweep, begun_at=one.begun_at.replace(year=2099), **changes)
        for one in rows
    ]


def test_one_sweep_comes_back_as_its_own_curve(summary, rows):
    (own,) = summary.curves
    (series,) = make_series(rows)
    assert (series.about, series.anchor, series.is_timed) == ("planted", "1.0", True)
    assert series.machine == summary.environment.machine_name()
    for before, after in zip(own.points, series.curve.points, strict=True):
        seconds = dataclasses.replace(before.figures, seconds_per_image=before.seconds_per_image)
        assert after == dataclasses.replace(before, step=before.name, figures=seconds)
    for before, after in zip(own.steps, series.curve.steps, strict=True):
        assert (after.before, after.after) == (before.before, before.after)
        for name in ("speed", "change_log", "lower_log", "memory", "pictures", "ssim"):
            assert getattr(after.found, name) == getattr(before.found, name)
        assert after.found.memory_log == pytest.approx(before.found.memory_log)


def test_versions_and_steps_are_told_in_a_hundred_columns(rows):
    texts = [line.text for line in format_series(make_series(rows))]
    assert all(len(text) <= 100 for text in texts)
    whole = " ".join(" ".join(texts).split())
    assert "planted 1.0 .. 5.0, " in whole
    assert "4 of 5 versions measured" in whole
    assert re.search(r"largest step in time: 1\.0 -> 2\.0: \+(19|20)\.\d % \(", whole)
    assert "largest step in peak memory: 4.0 -> 5.0: +" in whole
    assert "pictures left the floors: 4.0 -> 5.0" in whole
    assert "3.0 cannot be measured: " in whole


def test_long_names_and_slow_versions_still_fit_a_hundred_columns(rows):
    (series,) = make_series(rows)
    names = {
        one.name: f"diffusers {one.name}.0, transformers 5.{one.name}"
        for one in series.curve.points
    }
    slow = {"first_call_s": 754.0, "load_s": 754.0, "seconds_per_image": 754.0}
    points = tuple(
        dataclasses.replace(
            one,
            name=names[one.name],
            figures=dataclasses.replace(one.figures, **slow),
            seconds_per_image=754.0,
            change_log=one.change_log and 2.0,
            lower_log=-0.1,
            upper_log=3.1,
        )
        for one in series.curve.points
    )
    steps = tuple(
        dataclasses.replace(
            one,
            before=names[one.before],
            after=names[one.after],
            found=dataclasses.replace(one.found, change_log=2.0, lower_log=-0.1, upper_log=3.1),
        )
        for one in series.curve.steps
    )
    curve = dataclasses.replace(series.curve, points=points, steps=steps)
    told = format_series(
        [dataclasses.replace(series, curve=curve, anchor=names[series.anchor], is_timed=True)]
    )
    texts = [line.text for line in told]
    assert max(map(len, texts)) == 100
    assert any("(-9.5 % to " in text or "(-9.5 to " in text for text in texts)


def test_json_holds_every_version_and_step(rows):
    (series,) = json.loads(format_series_json(make_series(rows)))["series"]
    assert [one["name"] for one in series["curve"]["points"]] == ["1.0", "2.0", "3.0", "4.0", "5.0"]
    assert [one["after"] for one in series["curve"]["steps"]] == ["2.0", "4.0", "5.0"]
    assert set(series["begun"]) == {"1.0", "2.0", "3.0", "4.0", "5.0"}


def test_a_later_sweep_goes_on_with_the_curve_and_its_figures_win(rows):
    again = [
        dataclasses.replace(one, version="10.0", before="2.0") if one.version == "5.0" else one
        for one in later(rows[:2], seconds_per_image=9.0) + later(rows[4:])
    ]
    (series,) = make_series([*rows, *again])
    points = {one.name: one for one in series.curve.points}
    assert list(points) == ["1.0", "2.0", "3.0", "4.0", "5.0", "10.0"]
    assert points["2.0"].seconds_per_image == 9.0
    assert points["4.0"].seconds_per_image != 9.0
    steps = {(one.before, one.after): one for one in series.curve.steps}
    assert steps["4.0", "5.0"].found is not None
    assert steps["5.0", "10.0"].found is None
    texts = " ".join(line.text for line in format_series([series]))
    assert "5.0 -> 10.0: no sweep compared these two" in texts


def test_a_version_that_no_longer_installs_keeps_what_it_came_to(rows):
    lost = later([rows[1]], state="failed", reason="gone", before=None)
    (series,) = make_series([*rows, *lost])
    assert series.curve.points[1].state == "measured"


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "another"},
        {"case_name": "another"},
        {"anchor": "2.0"},
        {"setup": '{"workload": {"model": "another"}}'},
    ],
)
def test_what_differs_in_more_than_the_version_is_another_series(summary, change, rows):
    question = summary.question
    changed = {
        "machine": {"environment": dataclasses.replace(summary.environment, chip="another")},
        "case_name": {
            "curves": tuple(dataclasses.replace(one, case="b") for one in summary.curves)
        },
        "anchor": {"anchor": "2.0"},
        "setup": {"question": dataclasses.replace(question, companions=("torch==2.13",))},
    }[next(iter(change))]
    other = list_versions(dataclasses.replace(summary, **changed))
    assert {one.series for one in other}.isdisjoint({one.series for one in rows})
    assert len(make_series([*rows, *other])) == 2


def test_another_sdperf_or_range_goes_on_with_the_series(summary, rows):
    software = {**summary.question.software, "sdperf": "99"}
    question = dataclasses.replace(summary.question, software=software)
    other = list_versions(dataclasses.replace(summary, question=question))
    assert {one.series for one in other} == {one.series for one in rows}
    assert {one.sweep for one in other}.isdisjoint({one.sweep for one in rows})


def test_commits_stand_where_the_sweeps_show_them(rows):
    def sweep(key, *names):
        return [dataclasses.replace(rows[0], sweep=key, version=name) for name in names]

    assert order_versions([*sweep("1", "aa", "dd"), *sweep("2", "aa", "bb", "cc", "dd", "ee")]) == [
        "aa", "bb", "cc", "dd", "ee",
    ]  # fmt: skip
    assert order_versions([*sweep("1", "cc", "dd"), *sweep("2", "aa", "bb", "cc")]) == [
        "aa", "bb", "cc", "dd",
    ]  # fmt: skip
    assert order_versions([*sweep("1", "aa"), *sweep("2", "bb", "cc")]) == ["aa", "bb", "cc"]


def test_a_void_sweep_and_one_without_an_anchor_keep_nothing(summary):
    assert list_versions(dataclasses.replace(summary, ending="void")) == []
    assert list_versions(dataclasses.replace(summary, anchor=None)) == []
    assert list_versions(dataclasses.replace(summary, environment=None)) == []


@pytest.mark.parametrize(
    "damage",
    [
        {"state": "fine"},
        {"change_log": 1e9},
        {"seconds_per_image": math.inf},
        {"peak_rss_bytes": -1},
        {"step_speed": "quick"},
        {"ssim": 7.0},
        {"memory": None},
    ],
)
def test_a_row_that_no_sweep_wrote_is_refused(rows, damage):
    broken = [*rows[:1], dataclasses.replace(rows[1], **damage), *rows[2:]]
    with pytest.raises(RecordError):
        make_series(broken)


def test_hostile_names_print_nothing_to_obey(rows):
    broken = [dataclasses.replace(one, reason=HOSTILE, machine=HOSTILE) for one in rows]
    texts = [line.text for line in format_series(make_series(broken))]
    assert all(text.isprintable() for text in texts)


def test_a_database_takes_every_text(summary):
    (curve,) = summary.curves
    odd = dataclasses.replace(curve.points[2], reason="no \x00 and \ud800" + "x" * 5000)
    curve = dataclasses.replace(curve, points=(*curve.points[:2], odd, *curve.points[3:]))
    kept = list_versions(dataclasses.replace(summary, curves=(curve,)))[2]
    assert kept.reason.startswith("no ? and ?x")
    assert len(kept.reason) == 1000
