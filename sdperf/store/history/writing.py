"""Writes runs into the history: a batch is one transaction, and existing runs stay as they are."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, insert, select, update

from sdperf.store.history import schema
from sdperf.store.history.database import Database
from sdperf.store.history.extraction import KeptCase, KeptRun

MOST_PARAMETERS: Final = 5000
"""The most values in one query; SQLite accepts 32,766, PostgreSQL 65,535."""

_HEAD: Final = tuple(
    field.name for field in dataclasses.fields(KeptRun) if field.name not in ("cases", "content")
)


@dataclass(frozen=True)
class Kept:
    """The result of storing a batch.

    Attributes:
        added: How many runs are new.
        known: How many runs were already there, or were in the batch twice.
    """

    added: int = 0
    known: int = 0

    def __add__(self, other: Kept) -> Kept:
        """Add the counts of two batches."""
        return Kept(self.added + other.added, self.known + other.known)


def keep_runs(database: Database, batch: Sequence[KeptRun], now: datetime | None = None) -> Kept:
    """Store all runs, or no run where one fails.

    A run with the content of a stored one is not stored again; where it has been accepted since,
    that is noted.

    Args:
        database: The history.
        batch: Runs, in any order.
        now: The time to note; the present time by default.

    Raises:
        RecordError: The database cannot be written.
    """
    unique = {run.content_sha256: run for run in batch}
    with database.writing() as connection:
        known = _find_known(connection, unique)
        accepted = [id_ for sha256, id_ in known.items() if unique[sha256].is_accepted]
        if accepted:
            changed = update(schema.runs).where(schema.runs.c.id.in_(accepted))
            connection.execute(changed.values(is_accepted=True))
        fresh = [run for sha256, run in unique.items() if sha256 not in known]
        fresh.sort(key=lambda run: run.measured_at)
        if fresh:
            _insert(connection, fresh, now or datetime.now(UTC))
    return Kept(added=len(fresh), known=len(batch) - len(fresh))


def _find_known(connection: Connection, unique: Iterable[str]) -> dict[str, int]:
    return _find_ids(connection, schema.runs, schema.runs.c.content_sha256, unique)


def _insert(connection: Connection, fresh: Sequence[KeptRun], now: datetime) -> None:
    places = {case.place.sha256: case.place for run in fresh for case in run.cases if case.place}
    environment_ids = _find_or_add(
        connection,
        schema.environments,
        schema.environments.c.sha256,
        {sha256: dataclasses.asdict(place) for sha256, place in places.items()},
    )
    names = {case.name for run in fresh for case in run.cases}
    case_ids = _find_or_add(
        connection, schema.cases, schema.cases.c.name, {name: {"name": name} for name in names}
    )
    keys = dict(_key_series(case) for run in fresh for case in run.cases if case.setup)
    series_ids = _find_or_add(
        connection,
        schema.series,
        schema.series.c.sha256,
        {
            sha256: {
                "sha256": sha256,
                "case_id": case_ids[case.name],
                "machine": case.place.machine,
                "setup": case.setup,
            }
            for sha256, case in keys.items()
            if case.place is not None
        },
    )
    run_ids = connection.scalars(
        insert(schema.runs).returning(schema.runs.c.id, sort_by_parameter_order=True),
        [{name: getattr(run, name) for name in _HEAD} | {"kept_at": now} for run in fresh],
    ).all()
    rows = []
    for run_id, run in zip(run_ids, fresh, strict=True):
        for case in run.cases:
            place = case.place
            row = {
                "run_id": run_id,
                "case_id": case_ids[case.name],
                "series_id": series_ids.get(_key_series(case)[0]),
                "environment_id": None if place is None else environment_ids[place.sha256],
                "measured_at": run.measured_at,
            }
            rows.append(row | vars(case.figures))
    if rows:
        connection.execute(insert(schema.results), rows)
    connection.execute(
        insert(schema.documents),
        [
            {"run_id": run_id, "content": run.content}
            for run_id, run in zip(run_ids, fresh, strict=True)
        ],
    )


def _key_series(case: KeptCase) -> tuple[str, KeptCase]:
    machine = "" if case.place is None else case.place.machine
    return _hash_series(case.name, machine, case.setup or ""), case


@functools.lru_cache(maxsize=4096)
def _hash_series(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _find_or_add(
    connection: Connection, table: Table, key: Column[Any], rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """Return the id of each row by its key, adding missing rows."""
    ids = _find_ids(connection, table, key, rows)
    missing = {name: dict(row) for name, row in rows.items() if name not in ids}
    if missing:
        connection.execute(insert(table), list(missing.values()))
        ids |= _find_ids(connection, table, key, missing)
    return ids


def _find_ids(
    connection: Connection, table: Table, key: Column[Any], wanted: Iterable[str]
) -> dict[str, int]:
    names = list(wanted)
    ids: dict[str, int] = {}
    for start in range(0, len(names), MOST_PARAMETERS):
        some = names[start : start + MOST_PARAMETERS]
        query = select(key, table.c.id).where(key.in_(some))
        ids |= {str(row[0]): int(row[1]) for row in connection.execute(query)}
    return ids
