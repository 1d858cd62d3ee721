"""Null controls (the same code compared with itself), and the log of all that were run here.

Only a session that passed its control can be accepted, so accepted sessions cannot tell how often a
machine fails. The log keeps every control, whether its session was accepted or not.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdperf.errors import RecordError
from sdperf.record.json import format_record, parse_record

CONTROL_LOG: Final = ".sdperf/null-controls.jsonl"
"""The file in which runs keep every null control, below pytest's root folder."""

LARGEST_LOG_BYTES: Final = 64 * 2**20

UNANSWERED: Final = "it began and ended without an answer"
"""The beginning of the reason of a control that was measured and yet has no answer."""


@dataclass(frozen=True)
class NullControl:
    """The same code compared with itself in a session.

    Attributes:
        case: Test id of the case that was run.
        measured_at: When it was measured, ISO 8601, UTC.
        limit: Slowdown that a case of the session is allowed, as a fraction.
        contrasts: Log ratio of the code to itself in each block.
        is_sound: Whether the machine is fit; ``None`` where there is no answer.
        reason: Why there is no answer; ``None`` where there is one.
    """

    case: str
    measured_at: str
    limit: float
    contrasts: tuple[float, ...] = ()
    is_sound: bool | None = None
    reason: str | None = None

    @property
    def ratio(self) -> float | None:
        """Geometric mean of the blocks' ratios; ``None`` without a block."""
        return math.exp(statistics.fmean(self.contrasts)) if self.contrasts else None


@dataclass(frozen=True)
class _Entry:
    """A line of the log."""

    fingerprint: str
    control: NullControl


@dataclass(frozen=True)
class ControlLog:
    """The part of a log on one kind of machine.

    Attributes:
        controls: The controls with an answer, in the order of the log.
        damaged: How many lines could not be read: a killed writer leaves half a line.
    """

    controls: tuple[NullControl, ...] = ()
    damaged: int = 0


def append_control(path: Path, fingerprint: str, control: NullControl) -> None:
    """Add a control to a log in one write, so that several runs may add at the same time.

    Raises:
        OSError: The file cannot be written.
    """
    line = json.dumps(format_record(_Entry(fingerprint, control)), allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"\n{line}\n".encode())
    finally:
        os.close(descriptor)


def read_controls(path: Path, fingerprint: str) -> ControlLog:
    """Read the controls of one kind of machine; a log that is not there holds none.

    Raises:
        RecordError: The file cannot be read, or is larger than 64 MiB.
    """
    try:
        if not path.exists():
            return ControlLog()
        if path.stat().st_size > LARGEST_LOG_BYTES:
            raise RecordError(f"{path} is too large", expected=f"at most {LARGEST_LOG_BYTES} bytes")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=error.strerror or str(error)) from error
    controls: list[NullControl] = []
    damaged = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            entry = parse_record(_Entry, json.loads(line))
        except (ValueError, RecursionError, RecordError):
            damaged += 1
            continue
        if entry.fingerprint == fingerprint and entry.control.is_sound is not None:
            controls.append(entry.control)
    return ControlLog(tuple(controls), damaged)


def merge_controls(*sources: Iterable[NullControl]) -> tuple[NullControl, ...]:
    """Join the controls of several sources, each control once, oldest first. Pure."""
    found = {
        (one.measured_at, one.case, one.contrasts): one
        for source in sources
        for one in source
        if one.is_sound is not None
    }
    return tuple(sorted(found.values(), key=lambda one: one.measured_at))
