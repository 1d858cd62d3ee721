"""What a case of the quality suite found, in a few words for a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sdperf.judging.inside.parity import describe_components, describe_trajectory
from sdperf.record.measurement import ImageRecord
from sdperf.record.observation import (
    ComponentParity,
    Observation,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.units import format_quantity, format_score


def describe_seen(seen: Observation) -> str:
    """Say in at most 54 characters what a case found."""
    if isinstance(seen, Soundness):
        bits = min(image.entropy_bits for image in seen.images)
        images = format_quantity(len(seen.images), "image")
        steps = format_quantity(seen.steps, "step")
        return f"{images}, {steps}, entropy {bits:.2f} bits or more"
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
        return f"nothing to compare the images with ({against})"
    if all(score.identical for score in scores):
        return f"{format_quantity(len(scores), 'image')} identical to the {against}"
    psnr_db = min(score.psnr_db for score in scores if score.psnr_db is not None)
    return (
        f"SSIM {format_score(min(score.ssim for score in scores))}, tile "
        f"{format_score(min(score.worst_tile_ssim for score in scores))}, PSNR {psnr_db:.1f} dB"
    )
