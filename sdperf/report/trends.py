"""Trends for people: from the history where there is one, else from the runs at hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sdperf.judging.machine import JudgedMachine
    from sdperf.judging.trend.changes import Trend
    from sdperf.judging.trend.points import Metric
    from sdperf.store.history.database import Database

DEFAULT_WINDOW: Final = 200
"""How many of the latest runs are searched."""


def load_trends(
    database: Database,
    metric: Metric,
    *,
    case: str | None = None,
    machine: str | None = None,
    branch: str | None = None,
    window: int = DEFAULT_WINDOW,
) -> list[tuple[str, list[Trend]]]:
    """Read and analyse the series of each machine.

    All cases of a machine are used to find what they share, even where one case is asked for.

    Args:
        database: The history.
        metric: Which figure.
        case: The cases to return: a test id, a part of one, or a pattern.
        machine: A part of the machine's name.
        branch: Only runs of this branch.
        window: How many of the latest runs are searched.
    """
    from sdperf.judging.trend.changes import ALL_CASES, ANCHOR_RUNS, analyse_machine
    from sdperf.report.text.trend import label_series, make_points
    from sdperf.store.history.series import list_series, load_environments, load_series, matches

    environments = load_environments(database)
    machines = []
    keys = list_series(database, machine=machine)
    for name, grouped in itertools.groupby(keys, key=lambda key: key.machine):
        ours = list(grouped)
        if case is not None and not any(matches(case, key.case) for key in ours):
            continue
        labels = label_series(ours)
        series = {}
        for key in ours:
            results = load_series(database, key.id, last=window, first=ANCHOR_RUNS, branch=branch)
            points = make_points(results, metric, environments)
            if points:
                series[labels[key.id]] = points
        wanted = {labels[key.id] for key in ours if case is None or matches(case, key.case)}
        trends = analyse_machine(
            series, name, metric, window, only=None if case is None else wanted
        )
        if trends and (case is None or any(trend.case != ALL_CASES for trend in trends)):
            machines.append((name, trends))
    return machines


def find_machine_trends(
    machines: Sequence[JudgedMachine], database: Database | None
) -> dict[str, list[Trend]]:
    """Find the trend of each machine: from the history, else from the runs of the report.

    Args:
        machines: The machines of a report.
        database: The history; ``None`` without one.

    Raises:
        RecordError: The history is damaged.
    """
    from sdperf.judging.trend.changes import analyse_machine
    from sdperf.judging.trend.points import METRICS
    from sdperf.report.figures.trend import list_points

    kept = {} if database is None else dict(load_trends(database, METRICS["seconds"]))
    trends = {}
    for machine in machines:
        where = machine.head.environment
        found = None if where is None else kept.get(where.machine_name())
        if not found:
            series = list_points([*machine.bases, machine.head])
            name = machine.machine
            found = analyse_machine(series, name, METRICS["seconds"], DEFAULT_WINDOW)
        trends[machine.machine] = found
    return trends
