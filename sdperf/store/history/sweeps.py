"""The versions that sweeps measured; a sweep that is run again replaces its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from sdperf.store.history import schema
from sdperf.store.history.database import Database
from sdperf.store.history.series import matches


@dataclass(frozen=True)
class KeptVersion:
    """One version of one case, as a sweep found it.

    Attributes:
        sweep: Key of the sweep's question; 16 hexadecimal digits.
        series: Hash of everything that versions of one series have to share.
        begun_at: When the sweep began.
        about: What differs between the versions: a package's name, or ``commits``.
        case_name: The case.
        machine: The machine without its software, as `Environment.machine_name` names it.
        setup: Workload and variant, for people; JSON.
        anchor: The version that all are compared with.
        is_timed: Whether images were timed.
        position: Place in the sweep; 0 is its oldest version.
        version: Its name.
        state: ``measured`` or ``failed``.
        reason: Why it could not be measured, or compared with the anchor; empty otherwise.
        seconds_per_image: The anchor's median times the ratio in turns; ``None`` unknown.
        speed: Against the anchor: ``slower``, ``faster``, ``same`` or ``open``; ``None`` for the
            anchor, and where that was not measured.
        change_log: Log ratio against the anchor; 0 for the anchor itself.
        lower_log: Lower bound of ``change_log``.
        upper_log: Upper bound of ``change_log``.
        peak_rss_bytes: Peak resident memory.
        peak_device_bytes: Peak device memory.
        first_call_s: Seconds of the first generation.
        load_s: Seconds of loading.
        before: The version before, which it was compared with; ``None`` where it was not.
        step_speed: The speed against the version before, in the words of ``speed``.
        step_change_log: Log ratio against the version before.
        step_lower_log: Lower bound of ``step_change_log``.
        step_upper_log: Upper bound of ``step_change_log``.
        memory: Peaks against the version before: ``more``, ``less``, ``same`` or ``unknown``.
        pictures: Pictures against the version before: ``equal``, ``alike``, ``changed``, ``broken``
            or ``unknown``.
        ssim: Lowest SSIM of all prompts against the version before.
        worst_tile_ssim: Lowest SSIM of their worst tiles.
    """

    sweep: str
    series: str
    begun_at: datetime
    about: str
    case_name: str
    machine: str
    setup: str
    anchor: str
    is_timed: bool
    position: int
    version: str
    state: str
    reason: str = ""
    seconds_per_image: float | None = None
    speed: str | None = None
    change_log: float | None = None
    lower_log: float | None = None
    upper_log: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    first_call_s: float | None = None
    load_s: float | None = None
    before: str | None = None
    step_speed: str | None = None
    step_change_log: float | None = None
    step_lower_log: float | None = None
    step_upper_log: float | None = None
    memory: str | None = None
    pictures: str | None = None
    ssim: float | None = None
    worst_tile_ssim: float | None = None


def keep_sweep(database: Database, sweep: str, versions: Sequence[KeptVersion]) -> None:
    """Store the results of a sweep in place of its former rows, all or nothing.

    Args:
        database: The history.
        sweep: Key of the sweep's question.
        versions: The versions that it has measured until now.

    Raises:
        RecordError: The database cannot be written.
    """
    table = schema.sweep_versions
    with database.writing() as connection:
        connection.execute(delete(table).where(table.c.sweep == sweep))
        if versions:
            connection.execute(insert(table), [dataclasses.asdict(one) for one in versions])


def load_versions(
    database: Database,
    about: str | None = None,
    case: str | None = None,
    machine: str | None = None,
) -> list[KeptVersion]:
    """Return the results of sweeps, oldest sweep first, with versions in their order.

    Args:
        database: The history.
        about: Only sweeps of this package, or of ``commits``.
        case: A case's name, a part of it, or a shell pattern.
        machine: Only machines with this in their name.

    Raises:
        RecordError: The database cannot be read.
    """
    table = schema.sweep_versions
    names = [field.name for field in dataclasses.fields(KeptVersion)]
    query = select(*(table.c[name] for name in names)).order_by(
        table.c.begun_at, table.c.sweep, table.c.case_name, table.c.position
    )
    if about is not None:
        query = query.where(table.c.about == about)
    with database.reading() as connection:
        rows = [KeptVersion(*row) for row in connection.execute(query)]
    return [
        one
        for one in rows
        if (case is None or matches(case, one.case_name))
        and (machine is None or machine in one.machine)
    ]
