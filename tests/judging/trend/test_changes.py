import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sdperf.judging.trend.causes import Cause
from sdperf.judging.trend.changes import ALL_CASES, analyse_machine, analyse_series
from sdperf.judging.trend.points import METRICS, TrendPoint, flatten_environment

START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = METRICS["seconds"]
OLD = {"torch": "2.12", "system": "macOS 26.1"}


def make_points(logs, **changes):
    """One run a day of one commit each, unless told otherwise: name to a function of the index."""
    points = []
    for index, value in enumerate(logs):
        fields = {
            "run": index,
            "measured_at": START + timedelta(days=index),
            "commit": f"{index:040x}",
            "value": math.exp(value),
            "environment": OLD,
        }
        fields |= {name: change(index) for name, change in changes.items()}
        points.append(TrendPoint(**fields))
    return points


def analyse(logs, metric=SECONDS, window=200, **changes):
    points = make_points(logs, **changes)
    values = [
        metric.scale(point.value) if point.disturbance is None else math.nan for point in points
    ]
    return analyse_series("case", "machine", metric, points, values, window)


def step(count=60, at=30, size=0.06, seed=0, sigma=0.01):
    values = np.random.default_rng(seed).normal(size=count) * sigma
    values[at:] += size
    return values


def test_a_step_by_itself_is_the_codes_with_its_commits():
    trend = analyse(step())
    (change,) = trend.changes
    assert change.cause is Cause.CODE
    assert (change.after.run, change.until.run) == (29, 30)
    assert not change.is_fresh
    assert trend.is_worse
    assert trend.levels[0] == pytest.approx(0, abs=0.01)
    assert trend.levels[-1] == pytest.approx(0.06, abs=0.01)


def test_a_step_down_is_no_worsening():
    trend = analyse(step(size=-0.06))
    assert trend.changes[0].cause is Cause.CODE
    assert not trend.is_worse


def test_a_step_that_came_with_torch_is_marked_as_that():
    trend = analyse(step(), environment=lambda i: OLD | {"torch": "2.12" if i < 30 else "2.13"})
    (change,) = trend.changes
    assert change.cause is Cause.ENVIRONMENT
    assert change.reason.startswith("torch 2.12 -> 2.13; the code may have changed too")
    assert trend.updates == ((30, "torch 2.12 -> 2.13"),)
    assert not trend.is_worse


def test_an_update_without_a_step_is_marked_on_the_axis_only():
    trend = analyse(step(size=0), environment=lambda i: OLD | {"torch": "ab"[i >= 30]})
    assert trend.changes == ()
    assert [position for position, _ in trend.updates] == [30]


def test_an_update_elsewhere_is_not_blamed():
    trend = analyse(step(), environment=lambda i: OLD | {"torch": "ab"[i >= 15]})
    assert trend.changes[0].cause is Cause.CODE


def test_what_differs_from_run_to_run_is_not_blamed():
    trend = analyse(step(), environment=lambda i: OLD | {"system": f"build {i % 3}"})
    assert trend.changes[0].cause is Cause.CODE


def test_a_commit_measured_on_both_levels_clears_the_code():
    trend = analyse(step(), commit=lambda i: "f" * 40 if i in (25, 35) else f"{i:040x}")
    (change,) = trend.changes
    assert change.cause is Cause.MACHINE
    assert "commit ffffffffffff was measured on both levels" in change.reason
    assert not trend.is_worse


def test_a_commit_with_changes_of_its_own_clears_nothing():
    trend = analyse(step(), commit=lambda i: "f" * 40 + "-dirty")
    assert trend.changes[0].cause is Cause.CODE


def hours_of_a_day(index):
    """Ten runs, 30 to 39, within one day."""
    if 30 <= index < 40:
        return START + timedelta(days=30, hours=index - 30)
    return START + timedelta(days=index)


def test_a_warm_day_comes_and_goes():
    values = step(size=0)
    values[30:40] += 0.05
    trend = analyse(values, measured_at=hours_of_a_day)
    assert [change.cause for change in trend.changes] == [Cause.PASSING] * 2
    assert trend.changes[0].reason == "10 runs of 2026-01-31; over since"
    assert not trend.is_worse


def test_what_lasts_for_weeks_and_is_repaired_was_no_day():
    values = step(size=0)
    values[30:40] += 0.05
    trend = analyse(values)
    assert [change.cause for change in trend.changes] == [Cause.CODE] * 2


def test_a_change_of_today_alone_says_so():
    trend = analyse(
        step(count=40, at=30),
        measured_at=lambda i: (
            START + (timedelta(days=i) if i < 30 else timedelta(days=30, hours=i - 30))
        ),
    )
    assert trend.changes[0].is_fresh


def test_runs_that_do_not_count_are_shown_and_not_searched():
    values = step(size=0)
    values[30:40] += 0.3
    trend = analyse(values, disturbance=lambda i: "hot" if 30 <= i < 40 else None)
    assert trend.changes == ()
    assert len(trend.points) == 60
    assert all(math.isnan(value) for value in trend.values[30:40])


def test_slow_creep_is_seen_against_the_first_runs():
    values = np.random.default_rng(4).normal(size=120) * 0.004
    values += 0.0006 * np.arange(120)
    whole = analyse(values)
    assert whole.creep.drift == pytest.approx(0.0006 * 110, abs=0.01)
    assert whole.creep.anchor_ends.run == 9
    late = analyse(values, window=30)
    assert late.changes == ()
    assert late.creep.is_significant
    assert late.creep.anchor_ends.run == 9
    assert late.is_worse
    assert not analyse(-values, window=30).is_worse


def test_a_step_leaves_nothing_to_creep():
    trend = analyse(step(count=100, at=60))
    assert not trend.creep.is_significant
    assert trend.creep.unexplained == pytest.approx(0, abs=0.015)


def test_few_runs_have_no_anchor():
    assert analyse([0.0] * 6).creep is None
    assert analyse([0.0]).changes == ()
    nothing = analyse([0.0, 0.0], disturbance=lambda _: "hot")
    assert nothing.spread is None
    assert nothing.creep is None


def make_machine(cases=8, runs=60, seed=0, sigma=0.01):
    rng = np.random.default_rng(seed)
    return {f"case {c}": c + rng.normal(size=runs) * sigma for c in range(cases)}


def read_machine(table, **changes):
    series = {name: make_points(values, **changes) for name, values in table.items()}
    return {trend.case: trend for trend in analyse_machine(series, "machine", SECONDS, 200)}


def test_what_all_cases_share_is_taken_out_and_told_by_itself():
    table = make_machine()
    for values in table.values():
        values[40:] += 0.05
    trends = read_machine(table)
    (change,) = trends[ALL_CASES].changes
    assert change.change.effect == pytest.approx(0.05, abs=0.01)
    assert not any(trends[name].changes for name in table)
    assert trends["case 3"].is_adjusted


def test_one_case_stands_out_on_a_warm_day():
    table = make_machine()
    for values in table.values():
        values[50:] += 0.04
    table["case 3"][25:] += 0.05
    trends = read_machine(table)
    assert [c.change.index for c in trends["case 3"].changes] == [25]
    assert [c.change.index for c in trends[ALL_CASES].changes] == [50]


def test_few_cases_share_nothing():
    trends = read_machine(make_machine(cases=3))
    assert ALL_CASES not in trends
    assert not trends["case 0"].is_adjusted


def test_cases_that_are_missing_in_some_runs_are_no_trouble():
    table = make_machine()
    series = {name: make_points(values) for name, values in table.items()}
    series["case 2"] = series["case 2"][30:]
    series["case 3"] = series["case 3"][:1]
    trends = analyse_machine(series, "machine", SECONDS, 200)
    assert len(trends) == 9
    assert not any(trend.changes for trend in trends)


def test_only_what_was_asked_for_is_read_with_all_telling_what_they_share():
    table = make_machine()
    for values in table.values():
        values[40:] += 0.05
    series = {name: make_points(values) for name, values in table.items()}
    trends = analyse_machine(series, "machine", SECONDS, 200, only={"case 1"})
    assert [trend.case for trend in trends] == [ALL_CASES, "case 1"]
    assert trends[1].changes == ()


def test_scores_fall_as_differences():
    metric = METRICS["ssim"]
    values = 0.99 + np.random.default_rng(0).normal(size=60) * 1e-4
    values[30:] -= 0.01
    points = make_points(np.log(values))
    trend = analyse_series("case", "machine", metric, points, values.tolist(), 200)
    (change,) = trend.changes
    assert change.change.effect == pytest.approx(-0.01, abs=1e-4)
    assert trend.is_worse


def test_points_and_values_have_to_fit():
    with pytest.raises(ValueError, match="do not fit"):
        analyse_series("case", "machine", SECONDS, make_points([0.0]), [], 200)


@pytest.mark.parametrize(
    ("metric", "value", "accepted"),
    [
        ("seconds", 1.0, True),
        ("seconds", 0.0, False),
        ("seconds", None, False),
        ("ssim", 0.0, True),
        ("ssim", math.nan, False),
        ("memory", 2**70, True),
    ],
)
def test_what_a_metric_can_take(metric, value, accepted):
    assert METRICS[metric].accepts(value) is accepted


def test_an_environment_is_flat():
    assert flatten_environment(
        {
            "os_name": "macOS",
            "os_version": "26.1",
            "os_build": None,
            "python": "3.12.1",
            "packages": {"torch": "2.13"},
            "variables": {"OMP_NUM_THREADS": "2"},
            "chip": "M4",
        }
    ) == {
        "system": "macOS 26.1",
        "python": "3.12.1",
        "torch": "2.13",
        "OMP_NUM_THREADS": "2",
    }
