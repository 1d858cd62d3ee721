"""What became of the files of a session that has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sdperf.measure.ledger import Durations


@dataclass
class StoredRun:
    """What a session wrote, and what it could not.

    Attributes:
        instant: When the run was first written down; all its files say the same.
        durations: Where the wall time went until the run was saved first; ``None`` before.
        images: Where the run's images lie, once stored.
        exhibits: Failing images laid beside what they were compared with.
        report: What became of the report that was asked for, one line.
        refused_save: Why a save that was asked for was refused; ``None`` where it was not.
        unsaved: What was asked for and could not be written, and what became of the run instead.
        undrawn: What was asked for and could not be drawn of a run that is stored.
        unkept: What else went wrong once the run was over.
    """

    instant: datetime | None = None
    durations: Durations | None = None
    images: Path | None = None
    exhibits: int = 0
    report: str | None = None
    refused_save: str | None = None
    unsaved: list[str] = field(default_factory=list)
    undrawn: list[str] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)
