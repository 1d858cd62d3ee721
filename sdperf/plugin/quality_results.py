"""What the quality suite leaves in a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdperf.observation import Observation
from sdperf.verdict import Finding
from sdperf.workload import Precision

if TYPE_CHECKING:
    from sdperf.run.quality import QualityBench


@dataclass(frozen=True)
class QualityResult:
    """What one case of the quality suite leaves behind.

    Attributes:
        observation: What was seen.
        precision: Of the pipeline under test.
        findings: What the judges said.
    """

    observation: Observation
    precision: Precision
    findings: tuple[Finding, ...]


@dataclass
class QualityShelf:
    """The quality suite's share of a session.

    Attributes:
        results: By test id.
        benches: What asks the workers, by engine; made when the first case needs it.
        pngs: Every image that they made, by content hash.
    """

    results: dict[str, QualityResult] = field(default_factory=dict)
    benches: dict[str, QualityBench] = field(default_factory=dict)
    pngs: dict[str, bytes] = field(default_factory=dict)
