"""The files of a session that has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sdperf.measure.ledger import Durations


@dataclass
class StoredRun:
    """The files that a session wrote, and those that it could not write.

    Attributes:
        instant: When the run was first written; all its files have the same time.
        durations: Where the wall time went until the run was first saved; ``None`` before.
        images: The folder of the run's images, once stored.
        exhibits: How many failing images were saved beside their references.
        report: One line about the requested report.
        refused_save: Why a requested save was refused; ``None`` where it was not.
        no_run: That no case was measured and nothing is kept; ``None`` where a run is kept, or
            another line says it.
        unsaved: Lines on requested files that could not be written, and where the run is instead.
        undrawn: Lines on requested pages that could not be drawn from the stored run.
        unkept: Lines on other errors after the end of the run.
    """

    instant: datetime | None = None
    durations: Durations | None = None
    images: Path | None = None
    exhibits: int = 0
    report: str | None = None
    refused_save: str | None = None
    no_run: str | None = None
    unsaved: list[str] = field(default_factory=list)
    undrawn: list[str] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)
