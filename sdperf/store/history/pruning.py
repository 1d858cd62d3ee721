"""Makes a history smaller, without removing what trends are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select

from sdperf.store.history import schema
from sdperf.store.history.database import Database
from sdperf.store.history.reading import Filters, list_run_ids
from sdperf.store.history.writing import MOST_PARAMETERS


@dataclass(frozen=True)
class PrunePlan:
    """The runs that pruning would remove.

    Attributes:
        run_ids: Runs that are removed, the oldest first.
        anchors: How many runs that were asked for too but stay, because trends are compared with
            them.
    """

    run_ids: tuple[int, ...]
    anchors: int


def plan_pruning(
    database: Database, filters: Filters, *, keep_latest: int = 0, anchor_runs: int
) -> PrunePlan:
    """Choose the runs to remove.

    The first runs of every series stay, and so do accepted ones: the anchor that slow creep is
    measured against never moves.

    Args:
        database: The history.
        filters: The runs that may be removed.
        keep_latest: How many of the latest of these runs stay.
        anchor_runs: How many first runs of every series stay.
    """
    meant = list_run_ids(database, filters)
    meant = meant[: len(meant) - keep_latest] if keep_latest else meant
    anchors = _find_anchors(database, anchor_runs)
    going = tuple(run_id for run_id in meant if run_id not in anchors)
    return PrunePlan(going, len(meant) - len(going))


def _find_anchors(database: Database, anchor_runs: int) -> set[int]:
    results, runs = schema.results, schema.runs
    ranked = (
        select(
            results.c.run_id,
            func.row_number()
            .over(
                partition_by=results.c.series_id, order_by=(results.c.measured_at, results.c.run_id)
            )
            .label("rank"),
        )
        .join(runs, runs.c.id == results.c.run_id)
        .where(
            results.c.series_id.is_not(None),
            results.c.seconds_per_image.is_not(None),
            runs.c.void.is_(None),
        )
        .subquery()
    )
    with database.reading() as connection:
        first = connection.scalars(
            select(ranked.c.run_id).where(ranked.c.rank <= anchor_runs).distinct()
        )
        accepted = connection.scalars(select(runs.c.id).where(runs.c.is_accepted))
        return {*first, *accepted}


def prune_runs(database: Database, run_ids: Sequence[int], *, only_documents: bool = False) -> int:
    """Remove runs, or only the whole documents behind their figures; SQLite's file shrinks.

    Args:
        database: The history.
        run_ids: The runs to remove.
        only_documents: Whether to keep heads and figures, so that lists and trends stay the same.

    Returns:
        How many rows were removed.

    Raises:
        RecordError: The database cannot be written; then nothing is removed.
    """
    table = schema.documents if only_documents else schema.runs
    column = schema.documents.c.run_id if only_documents else schema.runs.c.id
    gone = 0
    with database.writing() as connection:
        for start in range(0, len(run_ids), MOST_PARAMETERS):
            some = run_ids[start : start + MOST_PARAMETERS]
            gone += connection.execute(delete(table).where(column.in_(some))).rowcount
    if gone:
        database.compact()
    return gone
