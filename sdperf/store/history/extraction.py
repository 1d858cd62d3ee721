"""The parts of a run that the history keeps: its head, figures per case, and the run. Pure.

The document is not trusted, whoever wrote it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sdperf.errors import RecordError
from sdperf.record.commit import parse_commit_info
from sdperf.record.environment import Environment
from sdperf.record.json import escape_surrogates, format_record, parse_record
from sdperf.record.workload import TORCH, name_engine
from sdperf.store.history.figures import (
    Figures,
    as_object,
    extract_figures,
    is_count,
    outcome_word,
    text,
)
from sdperf.store.history.schema import LONGEST_NAME
from sdperf.store.runs import RUN_KEY, SavedRun, format_content, parse_run, read_document

_MOMENTARY: Final = ("commit", "thermal_level")
"""Parts of a record's environment that belong to the moment and not to the machine."""

_SETUP: Final = ("kind", "images_per_round", "stage", "variant", "subject")
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SeriesPlace:
    """Where a case was measured.

    Attributes:
        sha256: Hash of ``document``.
        fingerprint: Machine and software whose times are comparable.
        machine: The fingerprint without software; a series continues over changes of software.
        document: Canonical JSON of the record's environment, without the parts of the moment.
    """

    sha256: str
    fingerprint: str
    machine: str
    document: str


@dataclass(frozen=True)
class KeptCase:
    """One case of a run.

    Attributes:
        name: Its test id.
        place: Where it was measured; ``None`` for a case without a measurement.
        setup: Canonical JSON of workload, variant and subject; ``None`` without a measurement.
        figures: Its figures.
    """

    name: str
    place: SeriesPlace | None
    setup: str | None
    figures: Figures


@dataclass(frozen=True)
class KeptRun:
    """One run, ready to be stored.

    Attributes:
        content_sha256: Hash of its content, whatever the layout of its file.
        measured_at: When pytest-benchmark wrote it, UTC.
        source: The file that it came from, for people.
        commit_id: Commit of the code that was measured.
        is_dirty: Whether that code had uncommitted changes.
        branch: Branch of the code that was measured.
        project: Project, as pytest-benchmark names it.
        suite_outcome: Outcome of all cases together.
        void: Why no timing of it counts; ``None`` where it does.
        is_interrupted: Whether it was ended early.
        is_accepted: Whether this file is an accepted session.
        cases: Every case, also the cases without a measurement.
        content: The run, deflated JSON.
    """

    content_sha256: str
    measured_at: datetime
    source: str
    commit_id: str | None
    is_dirty: bool | None
    branch: str | None
    project: str | None
    suite_outcome: str | None
    void: str | None
    is_interrupted: bool
    is_accepted: bool
    cases: tuple[KeptCase, ...]
    content: bytes


def read_kept_run(path: Path) -> KeptRun:
    """Read a pytest-benchmark JSON, whoever wrote it.

    Raises:
        RecordError: The file is missing, too large, not JSON, or not a run.
    """
    return extract_run(read_document(path), str(path))


def extract_run(document: Mapping[str, Any], source: str) -> KeptRun:
    """Take from a run the parts that the history keeps.

    Args:
        document: The JSON.
        source: The file that it came from, for messages.

    Raises:
        RecordError: The run cannot be used (`sdperf.store.runs.parse_run`), holds NaN or an
            infinite number, or does not say when it was measured.
    """
    try:
        content = format_content(document, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{source} cannot be kept", got=str(error)[:120]) from error
    document, source = escape_surrogates(dict(document)), escape_surrogates(source)
    run = parse_run(Path(source), document)
    commit = as_object(document.get("commit_info"))
    known = parse_commit_info(commit)
    return KeptRun(
        content_sha256=hashlib.sha256(content).hexdigest(),
        measured_at=_parse_instant(document.get("datetime"), source),
        source=text(source) or "",
        commit_id=known.id,
        is_dirty=known.is_dirty,
        branch=text(known.branch),
        project=text(commit.get("project")),
        suite_outcome=None if run.summary is None else outcome_word(run.summary.suite),
        void=text(run.void),
        is_interrupted=run.summary is not None and run.summary.interrupted,
        is_accepted=run.is_accepted,
        cases=_extract_cases(run),
        content=zlib.compress(content, 1),
    )


def inflate(content: bytes) -> dict[str, Any]:
    """Turn a stored run back into its JSON.

    Raises:
        RecordError: The stored run is damaged.
    """
    try:
        document = json.loads(zlib.decompress(content))
    except (zlib.error, ValueError) as error:
        raise RecordError("a stored run is damaged", got=str(error)[:120]) from error
    return dict(document)


def _extract_cases(run: SavedRun) -> tuple[KeptCase, ...]:
    outcomes = {} if run.summary is None else run.summary.outcomes
    places = _Places(as_object(run.document.get("machine_info")))
    found = []
    for benchmark in run.document["benchmarks"]:
        name = _check_name(benchmark["fullname"], run.path)
        record = as_object(as_object(benchmark.get("extra_info")).get(RUN_KEY))
        stats = as_object(benchmark.get("stats"))
        figures = extract_figures(run.cases[name], stats, outcomes.get(name))
        found.append(KeptCase(name, places.find(record), _describe_setup(record), figures))
    found += [
        KeptCase(_check_name(name, run.path), None, None, Figures(outcome=outcome_word(outcome)))
        for name, outcome in outcomes.items()
        if name not in run.cases and outcome_word(outcome)
    ]
    return tuple(found)


class _Places:
    """The environments of one run; nearly always one that all its cases share."""

    def __init__(self, machine_info: Mapping[str, Any]) -> None:
        self._machine_info = machine_info
        self._last: tuple[object, SeriesPlace | None] | None = None

    def find(self, record: Mapping[str, Any]) -> SeriesPlace | None:
        """Return where a case was measured; ``None`` where its record does not say."""
        raw = record.get("environment") if record else self._machine_info
        if self._last is None or self._last[0] != raw:
            self._last = (raw, _describe_environment(as_object(raw), is_ours=bool(record)))
        return self._last[1]


def _describe_environment(raw: Mapping[str, Any], *, is_ours: bool) -> SeriesPlace | None:
    if not is_ours:
        return _describe_foreign(json.dumps(raw))
    return _parse_place(
        json.dumps({k: v for k, v in raw.items() if k not in _MOMENTARY}, sort_keys=True)
    )


@functools.lru_cache(maxsize=256)
def _describe_foreign(machine_info: str) -> SeriesPlace | None:
    """Describe the machine of a run that sdperf did not write, as far as it says."""
    raw = json.loads(machine_info)
    cpu = as_object(raw.get("cpu"))
    cores = cpu.get("count")
    environment = Environment(
        chip=text(cpu.get("brand_raw")) or "unknown",
        device_kind="cpu",
        device_name="",
        machine=text(raw.get("machine")) or "unknown",
        os_name=text(raw.get("system")) or "unknown",
        os_version=text(raw.get("release")) or "unknown",
        python=text(raw.get("python_version")) or "unknown",
        cpu_cores=cores if is_count(cores) else None,
    )
    return _describe_environment(format_record(environment), is_ours=True)


@functools.lru_cache(maxsize=256)
def _parse_place(document: str) -> SeriesPlace | None:
    try:
        environment = parse_record(Environment, json.loads(document))
    except RecordError:
        return None
    return SeriesPlace(
        sha256=hashlib.sha256(document.encode()).hexdigest(),
        fingerprint=environment.fingerprint(),
        machine=environment.machine_name(),
        document=document,
    )


def _describe_setup(record: Mapping[str, Any]) -> str:
    """Return what has to be equal for two results of a case to be compared with each other.

    The place of the model may differ, and so may its weights, whose change should be seen. The name
    of the model may not differ.
    """
    if not record:
        return "{}"
    workload = dict(as_object(record.get("workload")))
    model = workload.pop("model", None)
    setup = {key: record.get(key) for key in _SETUP}
    variant = setup["variant"]
    if isinstance(variant, dict):
        # Records from before these could be chosen do not name them: their series continue.
        unsaid = {"engine": TORCH, "threads": None}.items()
        setup["variant"] = {
            key: name_engine(value) if key == "engine" and isinstance(value, str) else value
            for key, value in variant.items()
            if (key, value) not in unsaid
        }
    if workload:
        name = str(model).replace("\\", "/").rstrip("/").rpartition("/")[2]
        setup |= {"workload": workload, "model": name}
    return json.dumps(setup, sort_keys=True)


def _check_name(name: str, source: Path) -> str:
    if not 0 < len(name) <= LONGEST_NAME or text(name, 2000) != name:
        raise RecordError(
            f"{source} has a benchmark whose name cannot be kept",
            got=repr(name)[:60],
            expected=f"text of 1 to {LONGEST_NAME} characters",
        )
    return name


def _parse_instant(value: object, source: str) -> datetime:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is not None:
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
        if _EARLIEST < instant < _LATEST:
            return instant.astimezone(UTC)
    raise RecordError(
        f"{source} does not say when it was measured",
        got=f"datetime: {value!r}"[:80],
        expected="an instant, as pytest-benchmark writes it",
    )
