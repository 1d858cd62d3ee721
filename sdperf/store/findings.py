"""What a saved run itself said of its cases: timed ones, pictures, dead workers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sdperf.record.verdict import Finding, Outcome
from sdperf.store.quality import QualityCase
from sdperf.store.runs import RUN_KEY, RunSummary

RUN_GATE: Final = "run"
"""Gate of what a run said of a case without saying why."""


def read_findings(
    document: Mapping[str, Any], summary: RunSummary | None, quality: tuple[QualityCase, ...]
) -> dict[str, list[Finding]]:
    """Read what a run itself said of its cases, by test id; nothing in the file is trusted.

    Args:
        document: The run's JSON, a list under ``benchmarks``.
        summary: What the run as a whole came to; ``None`` where it did not say.
        quality: Its cases of the quality suite.
    """
    findings: dict[str, list[Finding]] = {}
    for saved in document["benchmarks"]:
        extra = saved.get("extra_info")
        record = extra.get(RUN_KEY) if isinstance(extra, dict) else None
        verdict = record.get("verdict") if isinstance(record, dict) else None
        listed = verdict.get("findings") if isinstance(verdict, dict) else None
        said = [
            parse_finding(one.get("outcome"), one.get("gate"), one.get("reason"))
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict)
        ]
        if said:
            findings[saved["fullname"]] = said
    for one in quality:
        if one.findings:
            findings[one.case] = [
                parse_finding(each.outcome, "image", each.reason) for each in one.findings
            ]
    for name, outcome in ({} if summary is None else summary.outcomes).items():
        findings.setdefault(name, [parse_finding(outcome, RUN_GATE, "the run itself said so")])
    return findings


def parse_finding(outcome: object, gate: object, reason: object) -> Finding:
    """Read one saved finding; an outcome of another version is INCONCLUSIVE."""
    try:
        return Finding(Outcome(outcome), str(gate), str(reason))
    except ValueError:
        unknown = f"{outcome!r} is no outcome that this version knows: {reason}"
        return Finding(Outcome.INCONCLUSIVE, str(gate), unknown)
