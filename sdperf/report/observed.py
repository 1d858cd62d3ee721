"""What the quality suite saw, read back out of a saved run; nothing in the file is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdperf.codec import parse_record
from sdperf.errors import RecordError
from sdperf.observation import (
    ComponentParity,
    ImageParity,
    Observation,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.verdict import Finding, Outcome

QUALITY_KEY: Final = "sdperf_quality"
"""Key of the quality suite's results at the top of a saved run's JSON."""

_KINDS: Final[dict[str, type[Observation]]] = {
    kind.__name__: kind
    for kind in (Soundness, Repeats, ComponentParity, TrajectoryParity, ImageParity)
}


@dataclass(frozen=True)
class ObservedCase:
    """One case of the quality suite.

    Attributes:
        name: Its test id.
        precision: Of the pipeline under test.
        findings: What was said of it.
        observation: What was seen; ``None`` where this version cannot read it.
    """

    name: str
    precision: str
    findings: tuple[Finding, ...]
    observation: Observation | None


def parse_quality(document: Mapping[str, Any]) -> tuple[ObservedCase, ...]:
    """Read the quality suite's results of a run; what cannot be read is left out."""
    listed = document.get(QUALITY_KEY)
    return tuple(
        ObservedCase(
            name=one["case"],
            precision=str(one.get("precision")),
            findings=tuple(_parse_findings(one.get("findings"))),
            observation=_parse_observation(one.get("observation"), one.get("seen")),
        )
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and isinstance(one.get("case"), str)
    )


def parse_finding(outcome: object, gate: object, reason: object) -> Finding:
    """Read one saved finding; an outcome of another version is INCONCLUSIVE."""
    try:
        return Finding(Outcome(outcome), str(gate), str(reason))
    except ValueError:
        unknown = f"{outcome!r} is no outcome that this version knows: {reason}"
        return Finding(Outcome.INCONCLUSIVE, str(gate), unknown)


def _parse_findings(listed: object) -> list[Finding]:
    return [
        parse_finding(one.get("outcome"), "image", one.get("reason"))
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict)
    ]


def _parse_observation(kind: object, seen: object) -> Observation | None:
    known = _KINDS.get(str(kind))
    try:
        return None if known is None else parse_record(known, seen)
    except RecordError:
        return None
