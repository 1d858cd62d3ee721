"""Reads the runs of the history: the list of runs, their figures, and each run as it was saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from sdperf.errors import ConfigurationError
from sdperf.record.commit import parse_commit_id
from sdperf.store.history import schema
from sdperf.store.history.database import Database
from sdperf.store.history.extraction import inflate
from sdperf.store.history.figures import FIGURES, Figures
from sdperf.store.history.writing import MOST_PARAMETERS


@dataclass(frozen=True)
class RunHead:
    """One kept run.

    Attributes:
        id: Its number in this history.
        content_sha256: Hash of its content.
        measured_at: When it was measured.
        source: The file that it came from.
        commit_id: Commit that was measured.
        is_dirty: Whether the code had uncommitted changes.
        branch: Branch that was measured.
        suite_outcome: Outcome of all cases together.
        void: Why no timing of it counts; ``None`` where it does.
        is_interrupted: Whether it was ended early.
        is_accepted: Whether it was accepted as a baseline.
        outcomes: Number of cases by outcome; cases without an outcome under ``None``.
        machines: Fingerprints of the machines that measured it.
    """

    id: int
    content_sha256: str
    measured_at: datetime
    source: str
    commit_id: str | None
    is_dirty: bool | None
    branch: str | None
    suite_outcome: str | None
    void: str | None
    is_interrupted: bool
    is_accepted: bool
    outcomes: Mapping[str | None, int]
    machines: tuple[str, ...]


@dataclass(frozen=True)
class Filters:
    """A choice of runs; ``None`` in a field means all.

    Attributes:
        case: Shell pattern of a case's name; chooses runs that hold such a case.
        branch: Branch that was measured.
        commit: Beginning of the hash of the measured commit.
        since: Earliest time of measurement.
        before: Latest time of measurement.
    """

    case: str | None = None
    branch: str | None = None
    commit: str | None = None
    since: datetime | None = None
    before: datetime | None = None


def count_runs(database: Database, filters: Filters | None = None) -> int:
    """Return how many runs there are, in all or among the chosen ones."""
    query = _filtered(select(func.count()).select_from(schema.runs), filters or Filters())
    with database.reading() as connection:
        return connection.scalar(query) or 0


def list_runs(
    database: Database, filters: Filters | None = None, limit: int | None = None
) -> list[RunHead]:
    """Return runs, the newest first.

    Args:
        database: The history.
        filters: The choice of runs; all by default.
        limit: The most runs to return.
    """
    runs = schema.runs
    query = _filtered(select(runs), filters or Filters())
    query = query.order_by(runs.c.measured_at.desc(), runs.c.id.desc()).limit(limit)
    with database.reading() as connection:
        return _load_heads(connection, connection.execute(query).all())


def list_run_ids(database: Database, filters: Filters) -> list[int]:
    """Return the numbers of runs, the oldest first."""
    query = _filtered(select(schema.runs.c.id), filters)
    query = query.order_by(schema.runs.c.measured_at, schema.runs.c.id)
    with database.reading() as connection:
        return list(connection.scalars(query))


def find_run(database: Database, name: str) -> RunHead:
    """Find one run by its number, or by the beginning of its hash or commit.

    Raises:
        ConfigurationError: No run fits, or more than one.
    """
    runs = schema.runs
    query = select(runs)
    if name.isdecimal() and len(name) <= 18:
        query = query.where(runs.c.id == int(name))
    elif name:
        query = query.where(
            runs.c.content_sha256.startswith(name, autoescape=True)
            | runs.c.commit_id.startswith(name, autoescape=True)
        )
    with database.reading() as connection:
        rows = connection.execute(query.order_by(runs.c.id.desc()).limit(5)).all() if name else []
        heads = _load_heads(connection, rows)
    if len(heads) != 1:
        raise ConfigurationError(
            f"{len(heads) or 'no'} runs are called {name!r}",
            got=f"runs {', '.join(str(head.id) for head in heads)}" if heads else None,
            expected="a run's number, or the beginning of its hash or commit",
            hint="sdperf history list",
        )
    return heads[0]


def load_document(database: Database, run_id: int) -> dict[str, Any] | None:
    """Return a run as it was saved, or ``None`` where only its figures were kept.

    Raises:
        RecordError: The stored run is damaged.
    """
    query = select(schema.documents.c.content).where(schema.documents.c.run_id == run_id)
    with database.reading() as connection:
        content = connection.scalar(query)
    return None if content is None else inflate(content)


def load_results(database: Database, run_id: int) -> dict[str, Figures]:
    """Return the figures of each case of a run, by test id, in order of their names."""
    results, cases = schema.results, schema.cases
    query = (
        select(cases.c.name, *(results.c[name] for name in FIGURES))
        .join(cases, cases.c.id == results.c.case_id)
        .where(results.c.run_id == run_id)
        .order_by(cases.c.name)
    )
    with database.reading() as connection:
        return {row[0]: Figures(*row[1:]) for row in connection.execute(query)}


def _filtered(query: Select[Any], filters: Filters) -> Select[Any]:
    runs, results, cases = schema.runs, schema.results, schema.cases
    if filters.branch is not None:
        query = query.where(runs.c.branch == filters.branch)
    if filters.commit is not None:
        query = query.where(runs.c.commit_id.startswith(filters.commit, autoescape=True))
    if filters.since is not None:
        query = query.where(runs.c.measured_at >= filters.since)
    if filters.before is not None:
        query = query.where(runs.c.measured_at < filters.before)
    if filters.case is not None:
        pattern = filters.case if "*" in filters.case else f"*{filters.case}*"
        like = "".join({"*": "%", "?": "_"}.get(c, f"\\{c}" if c in "%_\\" else c) for c in pattern)
        held = (
            select(results.c.run_id)
            .join(cases, cases.c.id == results.c.case_id)
            .where(cases.c.name.like(like, escape="\\"))
        )
        query = query.where(runs.c.id.in_(held))
    return query


def _load_heads(connection: Connection, rows: Sequence[Row[Any]]) -> list[RunHead]:
    """Add to rows of ``runs`` the outcomes of their cases and the machines that measured them."""
    results, environments = schema.results, schema.environments
    outcomes: dict[int, dict[str | None, int]] = {row.id: {} for row in rows}
    machines: dict[int, list[str]] = {row.id: [] for row in rows}
    ids = list(outcomes)
    for start in range(0, len(ids), MOST_PARAMETERS):
        some = results.c.run_id.in_(ids[start : start + MOST_PARAMETERS])
        counted = select(results.c.run_id, results.c.outcome, func.count()).where(some)
        counted = counted.group_by(results.c.run_id, results.c.outcome)
        for run_id, outcome, count in connection.execute(counted):
            outcomes[run_id][outcome] = count
        placed = select(results.c.run_id, environments.c.fingerprint).distinct().where(some)
        placed = placed.join(environments, environments.c.id == results.c.environment_id)
        for run_id, fingerprint in connection.execute(placed.order_by(environments.c.fingerprint)):
            machines[run_id].append(fingerprint)
    return [_make_head(row, outcomes[row.id], tuple(machines[row.id])) for row in rows]


def _make_head(
    row: Row[Any], outcomes: Mapping[str | None, int], machines: tuple[str, ...]
) -> RunHead:
    commit = parse_commit_id(row.commit_id)  # older histories hold placeholders
    return RunHead(
        id=row.id,
        content_sha256=row.content_sha256,
        measured_at=row.measured_at,
        source=row.source,
        commit_id=commit,
        is_dirty=None if commit is None else row.is_dirty,
        branch=row.branch,
        suite_outcome=row.suite_outcome,
        void=row.void,
        is_interrupted=row.is_interrupted,
        is_accepted=row.is_accepted,
        outcomes=outcomes,
        machines=machines,
    )
