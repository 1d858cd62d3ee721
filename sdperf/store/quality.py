"""The quality suite's cases inside a saved run; they are not entries of pytest-benchmark.

They are at the top of the JSON under ``sdperf_quality``, and are read back as equal values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdperf.errors import RecordError
from sdperf.record.json import check_format_version, format_record, parse_record
from sdperf.record.observation import (
    ComponentParity,
    ImageParity,
    Observation,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.record.verdict import Finding, Verdict
from sdperf.record.workload import Precision

QUALITY_KEY: Final = "sdperf_quality"
QUALITY_FORMAT_VERSION: Final = 1

_KINDS: Final[Mapping[str, type[Observation]]] = {
    kind.__name__: kind
    for kind in (Soundness, Repeats, ComponentParity, TrajectoryParity, ImageParity)
}


@dataclass(frozen=True)
class QualityFinding:
    """The saved finding of a gate on the images.

    Attributes:
        outcome: A value of `sdperf.record.verdict.Outcome`.
        reason: The reason for it.
    """

    outcome: str
    reason: str


@dataclass(frozen=True)
class QualityCase:
    """One case of the quality suite in a saved run.

    Attributes:
        case: Its test id.
        precision: Precision of the pipeline under test.
        outcome: The worst outcome of its findings.
        findings: The findings of the gates.
        seen: What the case observed, which the gates judged.
    """

    case: str
    precision: Precision
    outcome: str
    findings: tuple[QualityFinding, ...]
    seen: Observation


@dataclass(frozen=True)
class _Header:
    """The part of a case's record that is the same for all observations."""

    case: str
    precision: Precision
    observation: str
    outcome: str
    findings: tuple[QualityFinding, ...]


def make_quality_case(
    case: str, precision: Precision, seen: Observation, findings: tuple[Finding, ...]
) -> QualityCase:
    """Make the saved form of a case."""
    return QualityCase(
        case=case,
        precision=precision,
        outcome=Verdict(case, findings).outcome.value,
        findings=tuple(QualityFinding(one.outcome.value, one.reason) for one in findings),
        seen=seen,
    )


def format_quality(cases: tuple[QualityCase, ...]) -> dict[str, Any]:
    """Turn the cases into plain JSON values.

    Raises:
        RecordError: A number is NaN or infinite.
    """
    return {
        "format_version": QUALITY_FORMAT_VERSION,
        "cases": [{"observation": type(one.seen).__name__} | format_record(one) for one in cases],
    }


def parse_quality(path: Path, document: Mapping[str, Any]) -> tuple[QualityCase, ...]:
    """Read the cases from a run's JSON; an empty result where the run had no such case.

    Args:
        path: The file, for messages.
        document: The whole JSON.

    Raises:
        RecordError: The cases cannot be read, or a newer sdperf wrote them.
    """
    block = document.get(QUALITY_KEY)
    if block is None:
        return ()
    if not isinstance(block, dict):
        raise RecordError(f"{path}: {QUALITY_KEY} cannot be read", got=type(block).__name__)
    version = block.get("format_version")
    check_format_version(f"{path}: {QUALITY_KEY}", version, QUALITY_FORMAT_VERSION)
    cases = block.get("cases")
    try:
        if not isinstance(cases, list):
            raise RecordError("its cases are no list", got=type(cases).__name__)
        found = tuple(_parse_case(one) for one in cases)
    except RecordError as error:
        raise RecordError(f"{path}: its quality results cannot be read", got=str(error)) from error
    if len({one.case for one in found}) != len(found):
        raise RecordError(f"{path} holds a quality case twice")
    return found


def _parse_case(record: object) -> QualityCase:
    header = parse_record(_Header, record)
    kind = _KINDS.get(header.observation)
    if kind is None or not isinstance(record, dict):
        raise RecordError(
            "there is no such observation",
            got=repr(header.observation)[:60],
            expected=", ".join(_KINDS),
        )
    seen: Observation = parse_record(kind, record.get("seen"))
    return QualityCase(header.case, header.precision, header.outcome, header.findings, seen)
