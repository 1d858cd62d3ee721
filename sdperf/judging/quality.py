"""Did the images get worse? One judge a layer, from finite latents (L0) to the images (L4).

`sdperf.judging.images.judge_images` compares every picture with the floors of its precision. The
paired test here finds what no single picture shows: a small loss on most prompts. What each gate
can and cannot see: `docs/image-gates.md`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.floors import SAME_PATH_FLOORS
from sdperf.judging.images import (
    degraded_by,
    exhibit_image,
    judge_images,
    judge_soundness,
    name_picture,
)
from sdperf.judging.inside.parity import judge_components, judge_trajectory
from sdperf.record.floors import Floors
from sdperf.record.measurement import ImageScores
from sdperf.record.observation import (
    ACCEPTED,
    ComponentParity,
    ImageParity,
    Observation,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.record.verdict import Exhibit, Finding, Outcome
from sdperf.stats.sign_flip import compute_sign_flip_p_value
from sdperf.units import format_quantity, format_score

FEWEST_PAIRS: Final = 8
"""Eight pairs can reach p = 1/256; with fewer pairs the test could never fail."""

SIGNIFICANCE: Final = 1 / 64
"""Chance that unchanged pictures are called worse. The four scores of the paired test share it:
each has 1/256, which eight pairs reach only where all of them are worse."""

SMALLEST_DROP: Final = 0.02
NOISE_MULTIPLE: Final = 3.0
SMALLEST_DROP_BELOW_NOISE: Final = 0.002
"""A smaller median drop of SSIM below the A/A floor of the machine class does not matter."""

ACCEPT: Final = "sdperf baseline accept --reason TEXT keeps these images"

CALIBRATE: Final = "sdperf quality calibrate --model MODEL"


@dataclass(frozen=True)
class QualityPair:
    """The same prompt and seed, baseline and current, each compared with the same reference.

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
        ciede2000: The same for the mean colour difference.
        worst_tile_ciede2000: The same for the worst tile's.
    """

    ssim: float = 0.0
    worst_tile_ssim: float = 0.0
    ciede2000: float = 0.0
    worst_tile_ciede2000: float = 0.0


@dataclass(frozen=True)
class _PairedScore:
    """One score of the paired test.

    Attributes:
        name: The field of `ImageScores`.
        words: Its name in a sentence.
        sign: 1 where a loss makes it smaller, -1 where it makes it larger.
        scale: The smallest loss that matters, as a multiple of that of SSIM.
    """

    name: str
    words: str
    sign: int
    scale: float

    def read(self, baseline: ImageScores, current: ImageScores) -> float | None:
        """Return the loss; ``None`` where a side was not scored."""
        before, after = getattr(baseline, self.name), getattr(current, self.name)
        return None if before is None or after is None else self.sign * (before - after)

    def describe_change(self, loss: float) -> str:
        """Say which way the score moved.

        >>> score = _PairedScore("ciede2000", "colour difference", -1, 30.0)
        >>> score.describe_change(0.5), score.describe_change(-0.0104)
        ('colour difference rose by 0.5000', 'colour difference fell by 0.0104')
        >>> score.describe_change(0.0)
        'colour difference is unchanged'
        """
        if f"{abs(loss):.4f}" == "0.0000":
            return f"{self.words} is unchanged"
        moved = "fell" if (loss > 0) == (self.sign > 0) else "rose"
        return f"{self.words} {moved} by {abs(loss):.4f}"


COLOUR_SCALE: Final = 30.0
"""The smallest rise of a colour difference that matters, over the smallest drop of SSIM. The rise
is 0.06 where the drop is 0.002; rounding by one level in every twentieth value makes 0.04."""

_PAIRED: Final = (
    _PairedScore("ssim", "SSIM", 1, 1.0),
    _PairedScore("worst_tile_ssim", "worst tile SSIM", 1, 1.0),
    _PairedScore("ciede2000", "colour difference", -1, COLOUR_SCALE),
    _PairedScore("worst_tile_ciede2000", "worst tile's colour difference", -1, COLOUR_SCALE),
)


def judge_quality(
    pairs: Sequence[QualityPair], noise: QualityNoise, *, smallest_drop: float = SMALLEST_DROP
) -> Finding:
    """Judge whether scores fell over pairs of the same prompt and seed.

    Four scores are tested: SSIM and colour difference, of the whole frame and of the worst tile.
    DEGRADED when a one-sided exact sign-flip test of one of them is significant (`SIGNIFICANCE`,
    shared by the four) *and* the median loss exceeds both the smallest one that matters and three
    times the noise of unchanged code. A score that a side lacks is left out. A gain of speed never
    makes up for a loss.

    Args:
        pairs: At least eight; fewer are INCONCLUSIVE.
        noise: Noise of the scores from an A/A run; zero where generation is bit-exact.
        smallest_drop: Smallest median drop of SSIM that matters; for a colour difference, the
            smallest rise is `COLOUR_SCALE` times as large.

    Returns:
        DEGRADED, INCONCLUSIVE (too few pairs), INCOMPARABLE (another reference), NO BASELINE (no
        pairs) or PASS.

    Source: Fisher's randomisation test (1935), Bonferroni over the four scores.
    """
    if not pairs:
        return Finding(Outcome.NO_BASELINE, "image", "no pair of prompt and seed to compare")
    for pair in pairs:
        if pair.baseline.against_sha256 != pair.current.against_sha256:
            return Finding(
                Outcome.INCOMPARABLE,
                "image",
                f"{name_picture(pair)}: the reference image is another one",
                "sdperf baseline accept --reason TEXT",
            )
    if len(pairs) < FEWEST_PAIRS:
        return Finding(
            Outcome.INCONCLUSIVE,
            "image",
            f"{format_quantity(len(pairs), 'pair')} of prompt and seed, {FEWEST_PAIRS} are "
            "needed for the paired test",
            "add prompts or seeds",
        )
    seen = []
    for kind in _PAIRED:
        losses = [kind.read(pair.baseline, pair.current) for pair in pairs]
        known = [loss for loss in losses if loss is not None]
        if len(known) < len(pairs):
            continue
        p_value = compute_sign_flip_p_value(known)
        median = statistics.median(known)
        limit = max(smallest_drop * kind.scale, NOISE_MULTIPLE * getattr(noise, kind.name))
        count = format_quantity(len(known), "pair")
        seen.append(f"{kind.describe_change(median)} in the median of {count}")
        if p_value <= SIGNIFICANCE / len(_PAIRED) and median > limit:
            loss, worst = max(zip(known, pairs, strict=True), key=lambda item: item[0])
            return Finding(
                Outcome.DEGRADED,
                "image",
                f"{seen[-1]} (p = {p_value:.2g}), limit {limit:.4f}; worst: {worst.prompt!r} "
                f"(seed {worst.seed}) by {loss:.4f}",
                "look at the pictures of the worst prompt side by side",
            )
    return Finding(Outcome.PASS, "image", "; ".join(seen))


def judge_observation(
    seen: Observation,
    precision: str,
    floors: Floors | None,
    entropies: Mapping[str, float],
    calibrate: str = CALIBRATE,
) -> list[Finding]:
    """Judge what one case of the quality suite found.

    Args:
        seen: What the case observed.
        precision: Precision of the pipeline under test.
        floors: The model's measured floors for it; ``None`` without a calibration.
        entropies: Entropy in bits of the shipped references, by content hash.
        calibrate: The command that measures the floors of this session's images.

    Returns:
        At least one finding; the worst is the case's outcome.
    """
    if isinstance(seen, Soundness):
        return judge_sound(seen)
    if isinstance(seen, Repeats):
        return [judge_repeats(seen)]
    if isinstance(seen, ComponentParity):
        return [judge_components(seen, precision, floors)]
    if isinstance(seen, TrajectoryParity):
        return [judge_trajectory(seen, precision, floors)]
    if seen.against == "single-image":
        return [judge_images(seen.images, "single-image", SAME_PATH_FLOORS, {})]
    if seen.against == ACCEPTED:
        judged = judge_images(seen.images, ACCEPTED, SAME_PATH_FLOORS, entropies)
        is_new = judged.outcome is Outcome.NO_BASELINE
        return [dataclasses.replace(judged, next_step=ACCEPT) if is_new else judged]
    return judge_parity(seen, precision, floors, entropies, calibrate)


def judge_sound(seen: Soundness) -> list[Finding]:
    """L0: finite latents, the right shape, not flat. BROKEN, INCONCLUSIVE or PASS."""
    findings = judge_soundness(seen.images, repeatable=None)
    if seen.nonfinite_step is not None:
        findings.append(
            Finding(
                Outcome.BROKEN,
                "image",
                f"{name_picture(seen.image)}: the latents hold NaN or infinity "
                f"from step {seen.nonfinite_step + 1} of {seen.steps} on",
                "try fp32; attention slicing and 16-bit VAEs are known to do this",
            )
        )
    if findings:
        return findings
    watched = (
        "latents finite at " + ("the only step" if seen.steps == 1 else f"all {seen.steps} steps")
        if seen.steps
        else "latents unseen: the pipeline does not show them"
    )
    bits = min(image.entropy_bits for image in seen.images)
    return [
        Finding(
            Outcome.PASS,
            "image",
            f"{format_quantity(len(seen.images), 'image')} sound, entropy {bits:.2f} bits or "
            f"more, {watched}",
        )
    ]


def judge_repeats(seen: Repeats) -> Finding:
    """L1: the same seed is the same image, here and in a fresh process.

    In one process any difference is DEGRADED, since uninitialised memory and unseeded generators
    cause one. A fresh process may choose other kernels: there the same-path floors decide.
    """
    same = seen.image.score("same-process")
    if same is not None and not same.identical:
        exhibit = exhibit_image(seen.image, same, f"repeated: SSIM {format_score(same.ssim)}")
        return Finding(
            Outcome.DEGRADED,
            "image",
            f"{name_picture(seen.image)}: the same process made another image "
            f"of the same seed (SSIM {format_score(same.ssim)}, worst tile "
            f"{format_score(same.worst_tile_ssim)})",
            "look for uninitialised memory or a random generator that is not seeded",
            (exhibit,),
        )
    fresh = seen.image.score("fresh-process")
    if fresh is None:
        refused = seen.fresh_process_refused or "none was tried"
        if same is None:
            return Finding(Outcome.INCONCLUSIVE, "image", f"nothing was repeated: {refused}")
        words = f"same process: the same pixels; fresh process: {refused}"
        return Finding(Outcome.PASS, "image", words)
    if fresh.identical:
        return Finding(
            Outcome.PASS, "image", "the same pixels in the same process and in a fresh one"
        )
    finding = judge_images([seen.image], "fresh-process", SAME_PATH_FLOORS, {})
    if finding.outcome is Outcome.PASS:
        reason = f"a fresh process chose other kernels: SSIM {format_score(fresh.ssim)}"
        return Finding(Outcome.PASS, "image", f"{reason}, within the floor")
    return finding


def judge_parity(
    seen: ImageParity,
    precision: str,
    floors: Floors | None,
    entropies: Mapping[str, float],
    calibrate: str = CALIBRATE,
) -> list[Finding]:
    """L4: every image against its reference and its floors, then all of them by the paired test.

    The paired test asks whether scores are lower than legal noise made them when the floors were
    measured (the A/A floor stored with them). It is left out where no pair has such a floor.
    """
    if floors is None:
        return [
            Finding(
                Outcome.NO_BASELINE,
                "image",
                f"no floors were measured for this model in {precision}",
                calibrate,
            )
        ]
    each = judge_images(seen.images, seen.against, floors, entropies)
    if each.outcome is Outcome.NO_BASELINE:
        each = Finding(each.outcome, each.gate, each.reason, calibrate)
    findings = [each]
    noise = {pair.key: pair for pair in floors.pairs}
    pairs = [
        QualityPair(
            image.prompt,
            image.seed,
            ImageScores(
                against=score.against,
                against_sha256=score.against_sha256,
                ssim=noise[key].ssim,
                psnr_db=None,
                worst_tile_ssim=noise[key].worst_tile_ssim,
                worst_tile_box=score.worst_tile_box,
                identical=False,
                ciede2000=noise[key].ciede2000,
                worst_tile_ciede2000=noise[key].worst_tile_ciede2000,
            ),
            score,
        )
        for image, key in zip(seen.images, seen.keys, strict=True)
        if key in noise and (score := image.score(seen.against)) is not None
    ]
    if len(pairs) >= FEWEST_PAIRS:
        paired = judge_quality(pairs, QualityNoise(), smallest_drop=SMALLEST_DROP_BELOW_NOISE)
        if paired.outcome is Outcome.DEGRADED:
            paired = _with_exhibits(paired, seen)
        findings.append(paired)
    return findings


def _with_exhibits(paired: Finding, seen: ImageParity) -> Finding:
    """Make the evidence of a paired loss: all images, the lowest SSIM first."""
    scored = [
        (image, score) for image in seen.images if (score := image.score(seen.against)) is not None
    ]
    exhibits: list[Exhibit] = [
        exhibit_image(image, score, f"SSIM {format_score(score.ssim)}")
        for image, score in sorted(scored, key=lambda pair: pair[1].ssim)
    ]
    shown = degraded_by(exhibits, len(scored))
    return Finding(paired.outcome, paired.gate, paired.reason, shown.next_step, shown.exhibits)
