"""The results of ``sdperf calibrate`` for a kind of machine, which every run there reads."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sdperf.errors import RecordError
from sdperf.record.json import check_format_version, format_record, parse_record
from sdperf.record.workload import Workload
from sdperf.store.files import write_atomically
from sdperf.store.runs import read_document

DEFAULT_CALIBRATION: Final = "benchmarks/calibration"
CALIBRATION_FORMAT_VERSION: Final = 1
_LONGEST_NAME: Final = 200


@dataclass(frozen=True)
class CalibratedCase:
    """How far one case moves by itself from session to session.

    Attributes:
        width: Change that the case stays below in 95 % of sessions, as a fraction.
        workload: What was generated; ``None`` where the sessions did not record it.
        images_per_round: Images of a round; ``None`` where the sessions did not record it.
    """

    width: float
    workload: Workload | None = None
    images_per_round: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.width < math.inf:
            raise RecordError("a width is a fraction of 0 or more", got=self.width)

    def is_of(self, workload: Workload, images_per_round: int | None = None) -> bool:
        """Tell whether it is about a case: the same work, with the model in any place."""
        if self.workload is None or (
            images_per_round is not None and images_per_round != self.images_per_round
        ):
            return False
        return replace(self.workload, model="") == replace(workload, model="")


@dataclass(frozen=True)
class Calibration:
    """Sessions of unchanged code on one kind of machine, and the noise of each case in them.

    Attributes:
        fingerprint: The kind of machine.
        measured_at: When they were measured, ISO 8601, UTC.
        command: The command that made it.
        max_slowdown: The limit that was tried, as a fraction.
        supports_limit: Whether every case can support it.
        calibrated: The noise of each case, by test id.
        cases: Test ids in the order of ``sessions``.
        sessions: Seconds of the rounds of each case in each session, oldest first.
        format_version: Version of this record.
    """

    fingerprint: str
    measured_at: str
    command: str
    max_slowdown: float
    supports_limit: bool
    calibrated: Mapping[str, CalibratedCase]
    cases: tuple[str, ...] = ()
    sessions: tuple[tuple[tuple[float, ...], ...], ...] = field(default=())
    format_version: int = CALIBRATION_FORMAT_VERSION


def write_calibration(folder: Path, found: Calibration, noise: Mapping[str, Any]) -> Path:
    """Store a calibration in place of the former one of this kind of machine.

    Args:
        folder: The folder of all calibrations.
        found: The calibration that runs read.
        noise: The noise of the machine, which people read beside it.

    Returns:
        The file.

    Raises:
        OSError: The file cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9.-]", "-", found.fingerprint)[:_LONGEST_NAME]
    path = folder / f"{name}.json"
    record = format_record(found)
    sessions = record.pop("sessions")
    head = json.dumps(record | {"noise": dict(noise)}, indent=1, allow_nan=False)
    rows = ",\n".join(f"  {json.dumps(one, separators=(',', ':'))}" for one in sessions)
    write_atomically(path, f'{head[:-2]},\n "sessions": [\n{rows}\n ]\n}}\n'.encode())
    return path


def read_calibrations(folder: Path) -> dict[str, Calibration]:
    """Read the calibrations of every kind of machine, by fingerprint.

    Raises:
        RecordError: A file is damaged, or another sdperf wrote it. No file is skipped: otherwise a
            limit that the machine cannot support would bind unnoticed.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        document = read_document(path)
        try:
            calibration = parse_record(Calibration, document)
        except RecordError as error:
            raise RecordError(
                f"{path} is no calibration",
                got=str(error),
                hint="calibrate again (sdperf calibrate), or remove it",
            ) from error
        check_format_version(
            str(path), calibration.format_version, CALIBRATION_FORMAT_VERSION, "sdperf calibrate"
        )
        found[calibration.fingerprint] = calibration
    return found
