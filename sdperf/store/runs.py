"""Saved runs: pytest-benchmark's JSON with sdperf's records in it, read back with every doubt."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sdperf.errors import RecordError
from sdperf.measure.ledger import Durations
from sdperf.record.guard import Guard
from sdperf.record.json import (
    check_format_version,
    decode_object,
    parse_measurement,
    parse_record,
)
from sdperf.record.measurement import Measurement
from sdperf.store.controls import NullControl
from sdperf.store.quality import QualityCase, parse_quality

RUN_KEY: Final = "sdperf"
"""Key of sdperf's own part, at the top of the JSON and in each case's ``extra_info``."""

ACCEPTED_KEY: Final = "sdperf_accepted"
"""Key of what `sdperf.store.baselines` says of an accepted run."""

RUN_FORMAT_VERSION: Final = 1


@dataclass(frozen=True)
class RunSummary:
    """What a whole run came to: every collected case, also those that left no measurement.

    Attributes:
        outcomes: Outcome of each judged case by test id, in the words of
        `sdperf.record.verdict.Outcome`.
        suite: Outcome of all cases together; ``None`` where it could not be told.
        void: Why nothing that was timed counts; ``None`` where it does.
        interrupted: Whether the run was ended before all cases were measured and judged.
        guards: What was said of the machine's fitness; ``None`` where nobody asked.
        null_control: The same code held against itself; ``None`` where nothing was compared.
        durations: Where the wall time went until the run was judged; ``None`` where nobody counted.
        format_version: Version of this record.
        earlier: Cases that an earlier process of the same session measured, before it was
            interrupted: when that process began, by test id.
        repeated: Runs of a case that another plugin made and that do not count, by test id: the
            last one was chosen.
    """

    outcomes: Mapping[str, str]
    suite: str | None = None
    void: str | None = None
    interrupted: bool = False
    guards: tuple[Guard, ...] | None = None
    null_control: NullControl | None = None
    durations: Durations | None = None
    format_version: int = RUN_FORMAT_VERSION
    earlier: Mapping[str, str] = field(default_factory=dict)
    repeated: Mapping[str, int] = field(default_factory=dict)

    @property
    def was_resumed(self) -> bool:
        """Whether its cases come from more than one process of pytest."""
        return bool(self.earlier)


@dataclass(frozen=True)
class SavedCase:
    """One case of a saved run, as far as it can be used.

    Attributes:
        name: Its test id.
        measurement: Its record; ``None`` where it could not be read.
        outcome: What the run said of it; ``None`` where it did not say.
        unusable: Why it cannot be compared with; ``None`` where it can.
    """

    name: str
    measurement: Measurement | None
    outcome: str | None
    unusable: str | None


@dataclass(frozen=True)
class SavedRun:
    """A whole saved run.

    Attributes:
        path: Its file.
        document: The JSON as read.
        summary: What the run came to; ``None`` where sdperf did not say.
        cases: Timed cases by test id.
        quality: Cases of the quality suite, in their order.
    """

    path: Path
    document: Mapping[str, Any]
    summary: RunSummary | None
    cases: Mapping[str, SavedCase] = field(default_factory=dict)
    quality: tuple[QualityCase, ...] = ()


def read_run(path: Path) -> SavedRun:
    """Read a pytest-benchmark JSON.

    Raises:
        RecordError: The file is missing, truncated, no JSON, or no pytest-benchmark run. A single
            case that cannot be used does not raise: it says so itself.
    """
    return parse_run(path, read_document(path))


def parse_run(path: Path, document: Mapping[str, Any]) -> SavedRun:
    """Turn a JSON object into a run. Pure.

    Args:
        path: Where it came from, for messages.
        document: The JSON.

    Raises:
        RecordError: As `read_run`, but for the file itself.
    """
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list):
        raise RecordError(
            f"{path} is no pytest-benchmark run",
            got=f"benchmarks: {type(benchmarks).__name__}",
            expected="a list of benchmarks",
            hint="save a run: pytest benchmarks --benchmark-json=run.json",
        )
    cases = {}
    for saved in benchmarks:
        name = saved.get("fullname") if isinstance(saved, dict) else None
        if not isinstance(name, str):
            raise RecordError(f"{path} has a benchmark without a name", got=type(saved).__name__)
        if name in cases:
            raise RecordError(f"{path} holds a case twice", got=name)
        cases[name] = parse_case(name, saved)
    own = document.get(RUN_KEY)
    try:
        summary = None if own is None else parse_record(RunSummary, own)
    except RecordError as error:
        raise RecordError(f"{path} cannot be used", got=str(error)) from error
    if summary is not None:
        check_format_version(str(path), summary.format_version, RUN_FORMAT_VERSION)
    return SavedRun(path, document, summary, cases, parse_quality(path, document))


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file that anybody may have written.

    Raises:
        RecordError: It is missing, unreadable, truncated, nested too deep, or no JSON object.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=error.strerror or str(error)) from error
    return decode_object(
        content, str(path), "restore the file (git checkout), or save the run again"
    )


def format_content(document: Mapping[str, Any], *, allow_nan: bool = True) -> bytes:
    """Return a run's content in one layout, without what acceptance added to it. Pure.

    Equal runs have equal content, whoever laid the file out.

    Raises:
        ValueError: It holds an infinite number, where those are not allowed.
    """
    content = {key: value for key, value in document.items() if key != ACCEPTED_KEY}
    return json.dumps(content, sort_keys=True, allow_nan=allow_nan).encode()


def parse_case(name: str, saved: Mapping[str, Any]) -> SavedCase:
    """Read one case of a saved run; what is wrong with it becomes its ``unusable``. Pure."""
    extra = saved.get("extra_info")
    record = extra.get(RUN_KEY) if isinstance(extra, dict) else None
    if not isinstance(record, dict):
        return SavedCase(name, None, None, "it holds no sdperf record")
    verdict = record.get("verdict")
    outcome = verdict.get("outcome") if isinstance(verdict, dict) else None
    outcome = outcome if isinstance(outcome, str) else None
    try:
        measurement = parse_measurement(record)
    except RecordError as error:
        return SavedCase(name, None, outcome, str(error))
    return SavedCase(name, measurement, outcome, _find_fault(saved.get("stats"), measurement))


def _find_fault(stats: object, measurement: Measurement) -> str | None:
    """Say what is wrong with pytest-benchmark's own figures beside a sound record."""
    if not isinstance(stats, dict):
        return "it holds no stats"
    for key, value in stats.items():
        values = value if isinstance(value, list) else [value]
        for number in values:
            if isinstance(number, int | float) and not _is_finite(number):
                return f"its stats hold {number} as {key}"
    data = stats.get("data")
    if data is not None and data != list(measurement.rounds_s):
        return "its stats.data are not the rounds of its record"
    return None


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
