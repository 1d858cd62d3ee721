"""Any pytest-benchmark JSON as timings, whoever wrote it; nothing in the file is trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sdperf.errors import RecordError
from sdperf.record.json import parse_record
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding
from sdperf.store.baselines import Acceptance
from sdperf.store.findings import read_findings
from sdperf.store.quality import parse_quality
from sdperf.store.runs import (
    ACCEPTED_KEY,
    RUN_KEY,
    RunSummary,
    SavedCase,
    parse_case,
    read_document,
)

LARGEST_FILE_BYTES: Final = 256 * 2**20
MOST_CASES: Final = 20_000
MOST_ROUNDS: Final = 1_000_000

LONGEST_DURATION_S: Final = 1e9
SHORTEST_DURATION_S: Final = 1e-12


@dataclass(frozen=True)
class TimedCase:
    """One case of a saved session.

    Attributes:
        name: Its test id.
        rounds_s: Seconds of its rounds, in order; one or more, positive.
        saved: What sdperf recorded of it; ``None`` in files that sdperf did not write.
    """

    name: str
    rounds_s: tuple[float, ...]
    saved: SavedCase | None

    @property
    def measurement(self) -> Measurement | None:
        """Its record, where there is one that can be read."""
        return None if self.saved is None else self.saved.measurement


@dataclass(frozen=True)
class SavedSession:
    """One saved session.

    Attributes:
        path: Its file.
        machine: System, architecture and processor as pytest-benchmark wrote them; ``None`` where
            it did not.
        cases: By test id, in the order of the file.
        is_accepted: Whether somebody accepted it as a baseline, failures and all.
        level_changed: Cases whose earlier history it ends.
        failed_guards: Guards of the machine that failed when it was measured.
        void: Why nothing that was timed in it counts; ``None`` where it does.
        was_resumed: Whether its cases come from more than one process of pytest.
        findings: What the run itself said of its cases by test id, also of those without timings.
    """

    path: Path
    machine: str | None
    cases: Mapping[str, TimedCase]
    is_accepted: bool = False
    level_changed: tuple[str, ...] = ()
    failed_guards: tuple[str, ...] = ()
    void: str | None = None
    was_resumed: bool = False
    findings: Mapping[str, Sequence[Finding]] = field(default_factory=dict)


def read_session(path: Path) -> SavedSession:
    """Read a pytest-benchmark JSON with ``stats.data``.

    Raises:
        RecordError: The file is missing, larger than 256 MiB, truncated, no JSON, holds NaN or
            infinity, is no pytest-benchmark run, names a case twice, or has a case whose rounds
            were not saved or are no durations.
    """
    check_size(path)
    return parse_session(path, read_document(path))


def check_size(path: Path) -> None:
    """Refuse a file that is too large to be read.

    Raises:
        RecordError: It is, or is missing.
    """
    try:
        size_bytes = path.stat().st_size
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read", got=str(error)) from error
    if size_bytes > LARGEST_FILE_BYTES:
        raise RecordError(
            f"{path} is too large",
            got=f"{size_bytes} bytes",
            expected=f"at most {LARGEST_FILE_BYTES}",
        )


def parse_session(
    path: Path, document: Mapping[str, Any], known: Mapping[str, SavedCase] | None = None
) -> SavedSession:
    """Turn a JSON object into a session, checking everything that is used. Pure.

    Args:
        path: Where it came from, for messages.
        document: The JSON.
        known: Records of this document that were read before, by test id.

    Raises:
        RecordError: As `read_session`.
    """
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list) or len(benchmarks) > MOST_CASES:
        raise RecordError(
            f"{path} is no pytest-benchmark run",
            got=f"benchmarks: {_name_kind(benchmarks)}",
            expected=f"a list of at most {MOST_CASES} benchmarks",
            hint="save a run: pytest --benchmark-json=run.json",
        )
    cases: dict[str, TimedCase] = {}
    for position, benchmark in enumerate(benchmarks):
        case = _parse_case(f"{path}, benchmark {position + 1}", benchmark, known or {})
        if case.name in cases:
            raise RecordError(f"{path} holds a case twice", got=case.name)
        cases[case.name] = case
    accepted, own = document.get(ACCEPTED_KEY), document.get(RUN_KEY)
    try:
        summary = None if own is None else parse_record(RunSummary, own)
        quality = parse_quality(path, document)
        acceptance = None if accepted is None else parse_record(Acceptance, accepted)
    except RecordError as error:
        raise RecordError(f"{path} cannot be used", got=str(error)) from error
    return SavedSession(
        path=path,
        machine=_describe_machine(document.get("machine_info")),
        cases=cases,
        is_accepted=acceptance is not None,
        level_changed=() if acceptance is None else acceptance.level_changed,
        failed_guards=tuple(
            guard.name
            for guard in (() if summary is None else summary.guards or ())
            if guard.state == "fail"
        ),
        void=None if summary is None else summary.void,
        was_resumed=summary is not None and summary.was_resumed,
        findings=read_findings(document, summary, quality),
    )


def _parse_case(where: str, benchmark: object, known: Mapping[str, SavedCase]) -> TimedCase:
    if not isinstance(benchmark, dict):
        raise RecordError(
            f"{where} cannot be read", got=_name_kind(benchmark), expected="an object"
        )
    name = benchmark.get("fullname")
    if not isinstance(name, str) or not name:
        raise RecordError(f"{where} has no name", got=_name_kind(name), expected="fullname")
    stats = benchmark.get("stats")
    data = stats.get("data") if isinstance(stats, dict) else None
    if not isinstance(data, list) or not data:
        raise RecordError(
            f"{where} ({name}) was saved without its rounds",
            got=f"stats.data: {_name_kind(data)}",
            expected="a list of durations",
            hint="save with --benchmark-save-data, or with --benchmark-json",
        )
    if len(data) > MOST_ROUNDS:
        raise RecordError(f"{where} ({name}) has too many rounds", got=len(data))
    extra = benchmark.get("extra_info")
    is_ours = isinstance(extra, dict) and RUN_KEY in extra
    return TimedCase(
        name=name,
        rounds_s=tuple(_parse_duration(f"{where} ({name})", duration) for duration in data),
        saved=(known.get(name) or parse_case(name, benchmark)) if is_ours else None,
    )


def _parse_duration(where: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            duration = float(value)
        except OverflowError:
            duration = math.inf
        if SHORTEST_DURATION_S <= duration <= LONGEST_DURATION_S:
            return duration
    shown = repr(value)
    raise RecordError(
        f"{where} has a round that is no duration",
        got=shown if len(shown) <= 60 else f"{shown[:57]}...",
        expected="a positive number of seconds",
    )


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
