"""The series of a case: the results that may be compared with each other, in order of time."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from sdperf.record.commit import parse_commit_id
from sdperf.store.history import schema
from sdperf.store.history.database import Database
from sdperf.store.history.figures import FIGURES, Figures


@dataclass(frozen=True)
class SeriesKey:
    """The results that may be compared with each other.

    Attributes:
        id: Its number in this history.
        case: Test id.
        machine: The machine without its software.
        setup: Workload, variant and subject, as JSON.
    """

    id: int
    case: str
    machine: str
    setup: Mapping[str, Any]


@dataclass(frozen=True)
class SeriesResult:
    """One result of a series, with the needed facts of its run.

    Attributes:
        run_id: Number of its run.
        measured_at: When it was measured.
        commit_id: Commit that was measured.
        is_dirty: Whether the code had uncommitted changes.
        branch: Branch that was measured.
        is_accepted: Whether its run was accepted as a baseline.
        counts: Whether its run was neither void nor interrupted.
        environment_id: Number of its environment; see `load_environments`.
        figures: Its figures.
    """

    run_id: int
    measured_at: datetime
    commit_id: str | None
    is_dirty: bool | None
    branch: str | None
    is_accepted: bool
    counts: bool
    environment_id: int | None
    figures: Figures


@dataclass(frozen=True)
class KnownEnvironment:
    """One environment.

    Attributes:
        id: Its number in this history.
        fingerprint: Machine and software whose times are comparable.
        document: The record's environment.
    """

    id: int
    fingerprint: str
    document: Mapping[str, Any]


def list_series(
    database: Database, case: str | None = None, machine: str | None = None
) -> list[SeriesKey]:
    """Return the keys of all series, ordered by machine and name.

    Args:
        database: The history.
        case: A test id, a part of it, or a shell pattern.
        machine: A part of the machine's name.
    """
    series, cases = schema.series, schema.cases
    query = select(series.c.id, cases.c.name, series.c.machine, series.c.setup).join(
        cases, cases.c.id == series.c.case_id
    )
    with database.reading() as connection:
        rows = connection.execute(query.order_by(series.c.machine, cases.c.name, series.c.id)).all()
    return [
        SeriesKey(row.id, row.name, row.machine, json.loads(row.setup))
        for row in rows
        if (case is None or matches(case, row.name)) and (machine is None or machine in row.machine)
    ]


def matches(pattern: str, name: str) -> bool:
    """Tell whether a pattern matches a test id: the id, a part of it, or with ``*``. Pure."""
    return pattern in name or ("*" in pattern and fnmatch.fnmatchcase(name, pattern))


def load_series(
    database: Database, series_id: int, *, last: int, first: int = 0, branch: str | None = None
) -> list[SeriesResult]:
    """Return the latest results of a series, and its first ones, in order of time.

    Args:
        database: The history.
        series_id: The series.
        last: How many of the latest results to return.
        first: The most results to return of the earliest that have durations and count.
        branch: Only runs of this branch.
    """
    results, runs = schema.results, schema.runs
    query = (
        select(
            runs.c.id,
            runs.c.measured_at,
            runs.c.commit_id,
            runs.c.is_dirty,
            runs.c.branch,
            runs.c.is_accepted,
            (runs.c.void.is_(None) & runs.c.is_interrupted.is_(False)).label("counts"),
            results.c.environment_id,
            *(results.c[name] for name in FIGURES),
        )
        .join(runs, runs.c.id == results.c.run_id)
        .where(results.c.series_id == series_id)
    )
    if branch is not None:
        query = query.where(runs.c.branch == branch)
    when = results.c.measured_at
    latest = query.order_by(when.desc(), runs.c.id.desc()).limit(last)
    earliest = (
        query.where(results.c.seconds_per_image.is_not(None), runs.c.void.is_(None))
        .order_by(when, runs.c.id)
        .limit(first)
    )
    with database.reading() as connection:
        rows = {row[0]: row for row in connection.execute(latest)}
        if first:
            rows |= {row[0]: row for row in connection.execute(earliest)}
    ordered = sorted(rows.values(), key=lambda row: (row[1], row[0]))
    return [
        SeriesResult(
            run_id=row[0],
            measured_at=row[1],
            commit_id=parse_commit_id(row[2]),
            is_dirty=row[3] if parse_commit_id(row[2]) is not None else None,
            branch=row[4],
            is_accepted=row[5],
            counts=bool(row[6]),
            environment_id=row[7],
            figures=Figures(*row[8:]),
        )
        for row in ordered
    ]


def load_environments(database: Database) -> dict[int, KnownEnvironment]:
    """Return all environments by their number."""
    table = schema.environments
    with database.reading() as connection:
        rows = connection.execute(select(table.c.id, table.c.fingerprint, table.c.document)).all()
    return {row[0]: KnownEnvironment(row[0], row[1], json.loads(row[2])) for row in rows}
