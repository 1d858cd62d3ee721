"""What a comparison says: speed, memory and images of each case, and one line for all. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sdperf.ab.comparison import CaseComparison, Comparison
from sdperf.stats.paired import PairedResult
from sdperf.verdict import Finding, Outcome


@dataclass(frozen=True)
class CaseVerdict:
    """What is said of one case.

    Attributes:
        case: What was measured.
        speed: The decision over its blocks, with bounds; log ratios B over A.
        findings: Of ``latency``, ``memory`` and ``image``; their worst is the outcome.
        outcome: The worst of them; being faster is a PASS, its finding says FASTER.
        line: The verdict in one line: "B is 12.1 % faster (10.8 to 13.4), same memory, ...: PASS".
    """

    case: CaseComparison
    speed: PairedResult
    findings: tuple[Finding, ...]
    outcome: Outcome
    line: str


@dataclass(frozen=True)
class AbVerdict:
    """What a comparison says.

    Attributes:
        cases: In order.
        void: Why nothing that was timed counts; ``None`` where it does.
        outcome: The worst case's, ``INCONCLUSIVE`` where void or nothing was measured.
    """

    cases: tuple[CaseVerdict, ...]
    void: str | None
    outcome: Outcome


def judge_comparison(comparison: Comparison) -> AbVerdict:
    """Judge every case of a comparison, with equal results for equal records."""
    raise NotImplementedError
