"""Reads saved runs: pytest-benchmark's JSON with sdperf's records in it, whoever wrote it.

`read_run` is the only reader; no part of a file is trusted.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sdperf.errors import RecordError
from sdperf.folders import suggest_runs
from sdperf.measure.ledger import Durations
from sdperf.record.guard import Guard
from sdperf.record.json import (
    check_format_version,
    decode_object,
    parse_measurement,
    parse_record,
)
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, SettledCase, parse_finding
from sdperf.store.controls import NullControl
from sdperf.store.quality import QualityCase, parse_quality
from sdperf.units import shorten

RUN_KEY: Final = "sdperf"
"""Key of sdperf's own part, at the top of the JSON and in each case's ``extra_info``."""

ACCEPTED_KEY: Final = "sdperf_accepted"
"""Key of the acceptance that `sdperf.store.baselines` adds to a run."""

RUN_FORMAT_VERSION: Final = 1

RUN_GATE: Final = "run"
"""Gate of a run's outcome for a case that has no reason."""

LARGEST_FILE_BYTES: Final = 256 * 2**20
MOST_CASES: Final = 20_000
MOST_ROUNDS: Final = 1_000_000
LONGEST_DURATION_S: Final = 1e9
SHORTEST_DURATION_S: Final = 1e-12


@dataclass(frozen=True)
class RunSummary:
    """The result of a whole run: every collected case, also the cases without a measurement.

    Attributes:
        outcomes: Outcome of each judged case by test id, in the words of
        `sdperf.record.verdict.Outcome`.
        suite: Outcome of all cases together; ``None`` where it could not be told.
        void: Why nothing that was timed counts; ``None`` where it does.
        interrupted: Whether the run was ended before all cases were measured and judged.
        guards: The answers of the guards on the machine's fitness; ``None`` without guards.
        null_control: The same code compared with itself; ``None`` where nothing was compared.
        durations: Where the wall time went until the run was judged; ``None`` where nobody counted.
        format_version: Version of this record.
        earlier: Cases that an earlier process of the same session measured, before it was
            interrupted: when that process began, by test id.
        repeated: How often another plugin ran a case again, by test id; only its last run counts.
        settled: Findings on a case's speed that its saved numbers alone do not give, by test id;
            empty in runs from before they were kept.
        skipped: Why each skipped case did not run, by test id; empty too in runs from before it was
            kept.
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
    settled: Mapping[str, SettledCase] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def was_resumed(self) -> bool:
        """Whether its cases were measured by more than one pytest process."""
        return bool(self.earlier)


@dataclass(frozen=True)
class Acceptance:
    """Why a session is a baseline; it is in the session's file under ``sdperf_accepted``.

    Attributes:
        reason: The reason, in the words of the person who accepted it.
        accepted_at: When it was accepted, ISO 8601, UTC.
        commit: Commit of the code that was measured, ``-dirty`` appended where it had changes;
            ``None`` where unknown.
        content_sha256: Hash of the run as it was before acceptance.
        level_changed: Cases whose level this session changes on purpose: earlier accepted sessions
            are no longer compared with them.
    """

    reason: str
    accepted_at: str
    commit: str | None
    content_sha256: str
    level_changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class SavedCase:
    """One case of a saved run, as far as it can be used.

    Attributes:
        name: Its test id.
        measurement: Its record; ``None`` where it could not be read.
        outcome: The run's outcome for it; ``None`` where the run has none.
        unusable: Why its record cannot be used in a comparison; ``None`` where it can.
        rounds_s: Seconds of its rounds, in order, as pytest-benchmark saved them; empty where it
            did not save them, or where they are not durations.
        is_ours: Whether sdperf recorded the case.
        findings: The run's own findings on it, with reasons.
        base: The session whose pictures the run's own were compared with; ``None`` is unknown.
    """

    name: str
    measurement: Measurement | None = None
    outcome: str | None = None
    unusable: str | None = None
    rounds_s: tuple[float, ...] = ()
    is_ours: bool = True
    findings: tuple[Finding, ...] = ()
    base: str | None = None


@dataclass(frozen=True)
class SavedRun:
    """A whole saved run.

    Attributes:
        path: Its file.
        cases: Timed cases by test id, in the order of the file.
        document: The JSON as read.
        summary: The result of the run; ``None`` where sdperf did not record one.
        quality: Cases of the quality suite, in their order.
        acceptance: Why it is a baseline; ``None`` where nobody accepted it.
        machine: System, architecture and processor as pytest-benchmark wrote them; ``None`` where
            it did not.
    """

    path: Path
    cases: Mapping[str, SavedCase] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    summary: RunSummary | None = None
    quality: tuple[QualityCase, ...] = ()
    acceptance: Acceptance | None = None
    machine: str | None = None

    @property
    def source(self) -> str:
        """Its file's name, as shown to people."""
        return self.path.name

    @property
    def is_accepted(self) -> bool:
        """Whether somebody accepted it as a baseline, failures and all."""
        return self.acceptance is not None

    @property
    def level_changed(self) -> tuple[str, ...]:
        """Cases whose earlier history it ends."""
        return () if self.acceptance is None else self.acceptance.level_changed

    @property
    def void(self) -> str | None:
        """Why nothing that was timed in it counts; ``None`` where it does."""
        return None if self.summary is None else self.summary.void

    @property
    def was_resumed(self) -> bool:
        """Whether its cases come from more than one process of pytest."""
        return self.summary is not None and self.summary.was_resumed

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """Guards of the machine that failed when it was measured."""
        guards = () if self.summary is None else self.summary.guards or ()
        return tuple(guard.name for guard in guards if guard.state == "fail")

    @functools.cached_property
    def findings(self) -> Mapping[str, tuple[Finding, ...]]:
        """The run's own findings on its cases by test id, also for cases without timings."""
        found = {name: case.findings for name, case in self.cases.items() if case.findings}
        for one in self.quality:
            if one.findings:
                found[one.case] = tuple(
                    parse_finding(each.outcome, "image", each.reason) for each in one.findings
                )
        for name, outcome in ({} if self.summary is None else self.summary.outcomes).items():
            found.setdefault(name, (parse_finding(outcome, RUN_GATE, "the run itself said so"),))
        return found


def read_run(path: Path, *, needs_rounds: bool = False) -> SavedRun:
    """Read a pytest-benchmark JSON.

    Args:
        path: The file.
        needs_rounds: Whether a case without its rounds refuses the whole run.

    Raises:
        RecordError: The file is missing, larger than 256 MiB, truncated or not JSON; it holds NaN
            or infinity, is not a pytest-benchmark run, has another format version, names a case
            twice, or lacks rounds that are needed. A single case that cannot be used raises no
            error; its ``unusable`` has the reason.
    """
    return parse_run(path, read_document(path), needs_rounds=needs_rounds)


def parse_run(path: Path, document: Mapping[str, Any], *, needs_rounds: bool = False) -> SavedRun:
    """Turn a JSON object into a run, checking everything that is used. Pure.

    Args:
        path: The file, for messages.
        document: The JSON.
        needs_rounds: Whether a case without its rounds refuses the whole run.

    Raises:
        RecordError: For the reasons of `read_run` that do not concern the file itself.
    """
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list) or len(benchmarks) > MOST_CASES:
        raise RecordError(
            f"{path} is no pytest-benchmark run",
            got=f"benchmarks: {_name_kind(benchmarks)}",
            expected=f"a list of at most {MOST_CASES} benchmarks",
            hint="save a run: pytest benchmarks --benchmark-json=run.json",
        )
    cases: dict[str, SavedCase] = {}
    for position, saved in enumerate(benchmarks, 1):
        where = f"{path}, benchmark {position}"
        if not isinstance(saved, dict):
            raise RecordError(
                f"{where} cannot be read", got=_name_kind(saved), expected="an object"
            )
        name = saved.get("fullname")
        if not isinstance(name, str) or not name:
            raise RecordError(f"{where} has no name", got=_name_kind(name), expected="fullname")
        if name in cases:
            raise RecordError(f"{path} holds a case twice", got=name)
        cases[name] = parse_case(name, saved)
        if needs_rounds and not cases[name].rounds_s:
            parse_rounds(f"{where} ({name})", saved.get("stats"))  # which says what is wrong
    own, accepted = document.get(RUN_KEY), document.get(ACCEPTED_KEY)
    try:
        summary = None if own is None else parse_record(RunSummary, own)
        acceptance = None if accepted is None else parse_record(Acceptance, accepted)
    except RecordError as error:
        raise RecordError(f"{path} cannot be used", got=str(error)) from error
    if summary is not None:
        check_format_version(str(path), summary.format_version, RUN_FORMAT_VERSION)
    quality = parse_quality(path, document)
    machine = _describe_machine(document.get("machine_info"))
    return SavedRun(path, cases, document, summary, quality, acceptance, machine)


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file that anybody may have written.

    Raises:
        RecordError: The file is missing, unreadable, larger than 256 MiB, truncated, nested too
            deep, or not a JSON object.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > LARGEST_FILE_BYTES:
            raise RecordError(
                f"{path} is too large",
                got=f"{size_bytes} bytes",
                expected=f"at most {LARGEST_FILE_BYTES}",
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        is_absent = isinstance(error, FileNotFoundError)
        raise RecordError(
            f"{path} cannot be read",
            got=reason or str(error),
            hint=suggest_runs() if is_absent else None,
        ) from error
    return decode_object(
        content,
        str(path),
        "restore the file (git checkout), or save the run again",
        refusal="is no pytest-benchmark run",
    )


def format_content(document: Mapping[str, Any], *, allow_nan: bool = True) -> bytes:
    """Return a run's content in one fixed layout, without its acceptance. Pure.

    Equal runs have equal content, whoever laid the file out.

    Raises:
        ValueError: It holds an infinite number where such numbers are not allowed.
    """
    content = {key: value for key, value in document.items() if key != ACCEPTED_KEY}
    return json.dumps(content, sort_keys=True, allow_nan=allow_nan).encode()


def hash_content(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a run's content: of a run, and of the session it became. Pure."""
    return hashlib.sha256(format_content(document)).hexdigest()


def find_itself(runs: Sequence[SavedRun], document: Mapping[str, Any]) -> list[SavedRun]:
    """Find the accepted sessions that are a run itself: comparing it with them tells nothing.

    Args:
        runs: The runs that it could be compared with.
        document: The run's JSON, whole.

    Returns:
        Those of the runs that were accepted with the same content.
    """
    if all(one.acceptance is None for one in runs):
        return []
    content = hash_content(document)
    return [
        one
        for one in runs
        if one.acceptance is not None and one.acceptance.content_sha256 == content
    ]


def parse_case(name: str, saved: Mapping[str, Any]) -> SavedCase:
    """Read one case of a saved run; a fault becomes its ``unusable``. Pure."""
    extra, stats = saved.get("extra_info"), saved.get("stats")
    is_ours = isinstance(extra, dict) and RUN_KEY in extra
    record = extra.get(RUN_KEY) if isinstance(extra, dict) else None
    try:
        rounds_s = parse_rounds(name, stats)
    except RecordError:
        rounds_s = ()
    if not isinstance(record, dict):
        reason = "it holds no sdperf record"
        return SavedCase(name, unusable=reason, rounds_s=rounds_s, is_ours=is_ours)
    verdict = record.get("verdict")
    verdict = verdict if isinstance(verdict, dict) else {}
    outcome, listed, base = (verdict.get(key) for key in ("outcome", "findings", "base"))
    try:
        measurement = parse_measurement(record)
        unusable = _find_fault(stats, measurement)
    except RecordError as error:
        measurement, unusable = None, str(error)
    return SavedCase(
        name=name,
        measurement=measurement,
        outcome=outcome if isinstance(outcome, str) else None,
        unusable=unusable,
        rounds_s=rounds_s,
        findings=tuple(
            parse_finding(one.get("outcome"), one.get("gate"), one.get("reason"))
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict)
        ),
        base=base if isinstance(base, str) else None,
    )


def parse_rounds(where: str, stats: object) -> tuple[float, ...]:
    """Read the rounds that pytest-benchmark saved of a case.

    Args:
        where: The place of the rounds, for messages.
        stats: pytest-benchmark's own figures, as read.

    Returns:
        Seconds, in order; one or more, positive.

    Raises:
        RecordError: There are no rounds, or too many, or one is not a duration.
    """
    data = stats.get("data") if isinstance(stats, dict) else None
    if not isinstance(data, list) or not data:
        raise RecordError(
            f"{where} was saved without its rounds",
            got=f"stats.data: {_name_kind(data)}",
            expected="a list of durations",
            hint="save with --benchmark-save-data, or with --benchmark-json",
        )
    if len(data) > MOST_ROUNDS:
        raise RecordError(f"{where} has too many rounds", got=len(data))
    for value in data:
        if not is_duration(value):
            raise RecordError(
                f"{where} has a round that is no duration",
                got=shorten(repr(value), 60),
                expected="a positive number of seconds",
            )
    return tuple(map(float, data))


def is_duration(value: object) -> bool:
    """Tell whether a value is a number of seconds that a round can take."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return SHORTEST_DURATION_S <= value <= LONGEST_DURATION_S


def _find_fault(stats: object, measurement: Measurement) -> str | None:
    """Say how pytest-benchmark's own figures disagree with a sound record."""
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


def _describe_machine(info: object) -> str | None:
    if not isinstance(info, dict):
        return None
    cpu = info.get("cpu")
    parts = [info.get("system"), info.get("machine")]
    parts.append(cpu.get("brand_raw") if isinstance(cpu, dict) else None)
    return " ".join(part for part in parts if isinstance(part, str)) or None


def _name_kind(value: object) -> str:
    if value is None:
        return "nothing"
    return f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
