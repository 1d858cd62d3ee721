"""Did images get worse over many prompts? Each picture has floors; all together have a test.

`sdperf.verdict.judge_images` holds every picture against the floors of its precision. The paired
test here finds what no single picture shows: a small loss on most prompts.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.measurement import ImageScores
from sdperf.stats.sign_flip import compute_sign_flip_p_value
from sdperf.verdict import Finding, Outcome

FEWEST_PAIRS: Final = 8
"""Eight pairs can reach p = 1/256; with fewer the test could never speak."""

SIGNIFICANCE: Final = 0.01
SMALLEST_DROP: Final = 0.02
NOISE_MULTIPLE: Final = 3.0


@dataclass(frozen=True)
class QualityPair:
    """The same prompt and seed, baseline and current, each held against the same reference.

    Attributes:
        prompt: The prompt.
        seed: Seed of the starting noise.
        baseline: Scores of the baseline's image.
        current: Scores of the current image.
    """

    prompt: str
    seed: int
    baseline: ImageScores
    current: ImageScores


@dataclass(frozen=True)
class QualityNoise:
    """How far scores of unchanged code differ on this machine, measured by generating twice.

    Attributes:
        ssim: Largest difference of SSIM seen between two runs of the same code.
        worst_tile_ssim: The same for the worst tile.
    """

    ssim: float = 0.0
    worst_tile_ssim: float = 0.0


def judge_quality(pairs: Sequence[QualityPair], noise: QualityNoise) -> Finding:
    """Judge whether scores fell over pairs of the same prompt and seed.

    DEGRADED when, on the whole frame or on the worst tile, a one-sided exact sign-flip test is
    significant at 1 % (shared by the two) *and* the median drop exceeds both 0.02 and three times
    the noise of unchanged code. Faster never outweighs it.

    Args:
        pairs: At least eight; fewer are INCONCLUSIVE.
        noise: From an A/A run; zero where generation is bit-exact.

    Returns:
        DEGRADED, INCONCLUSIVE (too few pairs), INCOMPARABLE (another reference), NO BASELINE (no
        pairs) or PASS.

    Source: Fisher's randomisation test (1935), Bonferroni over the two scores.
    """
    if not pairs:
        return Finding(Outcome.NO_BASELINE, "image", "no pair of prompt and seed to compare")
    for pair in pairs:
        if pair.baseline.against_sha256 != pair.current.against_sha256:
            return Finding(
                Outcome.INCOMPARABLE,
                "image",
                f"{pair.prompt!r} (seed {pair.seed}): the reference image is another one",
                "sdperf baseline accept --reason TEXT",
            )
    if len(pairs) < FEWEST_PAIRS:
        return Finding(
            Outcome.INCONCLUSIVE,
            "image",
            f"{len(pairs)} pairs of prompt and seed, {FEWEST_PAIRS} are needed for the paired test",
            "add prompts or seeds",
        )
    seen = []
    for name, drops, noise_floor in (
        ("SSIM", [p.baseline.ssim - p.current.ssim for p in pairs], noise.ssim),
        (
            "worst tile SSIM",
            [p.baseline.worst_tile_ssim - p.current.worst_tile_ssim for p in pairs],
            noise.worst_tile_ssim,
        ),
    ):
        p_value = compute_sign_flip_p_value(drops)
        median_drop = statistics.median(drops)
        limit = max(SMALLEST_DROP, NOISE_MULTIPLE * noise_floor)
        seen.append(f"{name} fell by {median_drop:.4f} in the median of {len(drops)} pairs")
        if p_value <= SIGNIFICANCE / 2 and median_drop > limit:
            drop, worst = max(zip(drops, pairs, strict=True), key=lambda item: item[0])
            return Finding(
                Outcome.DEGRADED,
                "image",
                f"{seen[-1]} (p = {p_value:.2g}), limit {limit:.4f}; worst: {worst.prompt!r} "
                f"(seed {worst.seed}) by {drop:.4f}",
                "look at the pictures of the worst prompt side by side",
            )
    return Finding(Outcome.PASS, "image", "; ".join(seen))
