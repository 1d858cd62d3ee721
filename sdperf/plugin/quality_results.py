"""What the quality suite leaves in a session: results, their words for the table, their JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdperf.codec import format_record
from sdperf.measurement import ImageRecord
from sdperf.observation import (
    ComponentParity,
    Observation,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.units import format_score
from sdperf.verdict import Finding, Verdict
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
        bench: What asks the workers; made when the first case needs it.
    """

    results: dict[str, QualityResult] = field(default_factory=dict)
    bench: QualityBench | None = None


def describe_seen(result: QualityResult) -> str:
    """Say in at most 54 characters what a case saw, for the table."""
    from sdperf.judging.quality import describe_components, describe_trajectory

    seen = result.observation
    if isinstance(seen, Soundness):
        bits = min(image.entropy_bits for image in seen.images)
        return f"{len(seen.images)} images, {seen.steps} steps, entropy {bits:.2f} bits or more"
    if isinstance(seen, Repeats):
        told = [
            f"{name} {'identical' if score.identical else format_score(score.ssim)}"
            for name in ("same-process", "fresh-process")
            if (score := seen.image.score(name)) is not None
        ]
        return ", ".join(told)
    if isinstance(seen, ComponentParity):
        return describe_components(seen)
    if isinstance(seen, TrajectoryParity):
        return describe_trajectory(seen)
    return _describe_images(seen.images, seen.against)


def _describe_images(images: Iterable[ImageRecord], against: str) -> str:
    scores = [score for image in images if (score := image.score(against)) is not None]
    if not scores:
        return f"nothing to hold the images against ({against})"
    if all(score.identical for score in scores):
        return f"{len(scores)} images identical to the {against}"
    psnr_db = min(score.psnr_db for score in scores if score.psnr_db is not None)
    return (
        f"SSIM {format_score(min(score.ssim for score in scores))}, tile "
        f"{format_score(min(score.worst_tile_ssim for score in scores))}, PSNR {psnr_db:.1f} dB"
    )


def format_quality_records(results: Mapping[str, QualityResult]) -> list[dict[str, Any]]:
    """Turn the results into plain JSON values, one object a case."""
    return [
        {
            "case": node_id,
            "precision": result.precision,
            "observation": type(result.observation).__name__,
            "outcome": Verdict(node_id, result.findings).outcome.value,
            "findings": [
                {"outcome": one.outcome.value, "reason": one.reason} for one in result.findings
            ],
            "seen": format_record(result.observation),
        }
        for node_id, result in results.items()
    ]
