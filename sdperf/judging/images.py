"""Judges pictures: whether they are sound, and whether they keep the floors. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sdperf.record.floors import Floors
from sdperf.record.measurement import ImageRecord, ImageScores
from sdperf.record.verdict import EVIDENCE_PATH, Exhibit, Finding, Outcome, describe_other
from sdperf.units import format_score


class Picture(Protocol):
    """What identifies a picture within a workload."""

    @property
    def prompt(self) -> str:
        """Its prompt."""

    @property
    def seed(self) -> int:
        """Seed of its starting noise."""


def name_picture(picture: Picture) -> str:
    """Name a picture in a finding."""
    return f"{picture.prompt!r} (seed {picture.seed})"


def judge_soundness(images: Sequence[ImageRecord], *, repeatable: bool | None) -> list[Finding]:
    """Judge images by themselves: hard faults, and equal bytes for equal seeds.

    Args:
        images: The delivered images.
        repeatable: Whether equal requests gave equal bytes; ``None`` when none was made twice.

    Returns:
        A finding for each gate that failed; no finding when all images are sound.
    """
    findings = [
        Finding(
            Outcome.BROKEN,
            "image",
            f"{name_picture(image)}: {'; '.join(image.faults)}",
            _open_image(image),
            tuple(
                exhibit_image(image, score, "; ".join(image.faults)) for score in image.scores[-1:]
            ),
        )
        for image in images
        if image.faults
    ]
    if repeatable is False:
        findings.append(
            Finding(
                Outcome.DEGRADED,
                "image",
                "the same prompt and seed gave different images in different rounds",
                "look for uninitialised memory or a random generator that is not seeded",
            )
        )
    return findings


def judge_images(
    images: Sequence[ImageRecord],
    against: str,
    floors: Floors,
    reference_entropies: Mapping[str, float],
) -> Finding:
    """Compare every image of a case with its reference; the worst image decides.

    Args:
        images: The delivered images with their scores.
        against: Which comparison to read (`ImageScores.against`).
        floors: The floors for this precision.
        reference_entropies: Entropy in bits of each reference, by its content hash.

    Returns:
        DEGRADED below a floor, NO BASELINE where an image lacks this comparison, else PASS.
    """
    scored = [(image, score) for image in images if (score := image.score(against)) is not None]
    failures: list[tuple[tuple[float, ...], Exhibit]] = []
    for image, score in scored:
        reference_bits = reference_entropies.get(score.against_sha256)
        faults = _compare_with_floors(image, score, floors, reference_bits)
        if faults:
            seen = _describe_faults(faults)
            failures.append((_rank(faults, score), exhibit_image(image, score, seen)))
    if failures:
        exhibits = [exhibit for _, exhibit in sorted(failures, key=lambda failure: failure[0])]
        return degraded_by(exhibits, len(scored))
    if len(scored) < len(images) or not scored:
        missing = len(images) - len(scored)
        return Finding(
            Outcome.NO_BASELINE,
            "image",
            f"{missing} of {len(images)} images have no {against} image to be compared with"
            if len(images) != 1
            else f"the only image has no {against} image to be compared with",
        )
    worst_image, worst = min(scored, key=lambda pair: pair[1].ssim)
    where = "" if worst.identical else f" ({worst_image.prompt!r})"
    return Finding(
        Outcome.PASS,
        "image",
        f"SSIM {format_score(worst.ssim)} or better{where} against {describe_other(against)}, "
        f"worst tile {format_score(min(score.worst_tile_ssim for _, score in scored))}",
    )


def exhibit_image(image: ImageRecord, score: ImageScores, caption: str) -> Exhibit:
    """Make the evidence of one image that fell below a floor."""
    return Exhibit(
        prompt=image.prompt,
        seed=image.seed,
        against=score.against,
        against_sha256=score.against_sha256,
        current_sha256=image.sha256,
        tile_box=score.worst_tile_box,
        caption=caption,
    )


def degraded_by(exhibits: Sequence[Exhibit], judged: int) -> Finding:
    """Say which image fell below its floor, the worst one, and where to look at it.

    Args:
        exhibits: At least one, the worst first.
        judged: How many images were judged.
    """
    worst = exhibits[0]
    rest = f"; {len(exhibits)} of {judged} images fell below a floor" if len(exhibits) > 1 else ""
    return Finding(
        Outcome.DEGRADED,
        "image",
        f"{name_picture(worst)}: {worst.caption}{rest}",
        f"open {EVIDENCE_PATH}/{worst.file_name}",
        tuple(exhibits),
    )


@dataclass(frozen=True)
class _Fault:
    """A floor that an image fell below.

    Attributes:
        margin: By how much the image fell, relative to the floor so that scores are comparable: 0
            at the floor, -1 where nothing is left.
        words: The score, what it is against, and the floor.
        is_ssim: Whether the floor is one of SSIM, of the frame or of a tile.
    """

    margin: float
    words: str
    is_ssim: bool = False


def _rank(faults: Sequence[_Fault], score: ImageScores) -> tuple[float, ...]:
    """Return what sorts failed images, the worst first.

    Colour differences have no lower end, so that many images share the least margin; of those the
    one whose SSIM fell furthest is the worst.
    """
    ssim = min((fault.margin for fault in faults if fault.is_ssim), default=0.0)
    return min(fault.margin for fault in faults), ssim, score.worst_tile_ssim, score.ssim


def _describe_faults(faults: Sequence[_Fault]) -> str:
    """Sort SSIM first where it fell, since readers know it; then the score that fell furthest."""
    furthest = min(faults, key=lambda fault: fault.margin)
    ssim = min((one for one in faults if one.is_ssim), key=lambda one: one.margin, default=None)
    if ssim is None or ssim is furthest:
        return furthest.words
    return f"{ssim.words}; {furthest.words}"


def _compare_with_floors(
    image: ImageRecord, score: ImageScores, floors: Floors, reference_bits: float | None
) -> list[_Fault]:
    """List each floor that an image fell below."""
    faults, other = [], describe_other(score.against)
    tile = f"worst tile {score.worst_tile_box}"
    for name, value, floor, unit in (
        ("SSIM", score.ssim, floors.ssim, ""),
        (f"{tile} SSIM", score.worst_tile_ssim, floors.worst_tile_ssim, ""),
        ("PSNR", score.psnr_db, floors.psnr_db, " dB"),
        (f"{tile} PSNR", score.worst_tile_psnr_db, floors.worst_tile_psnr_db, " dB"),
    ):
        if value is None or floor is None or value >= floor:
            continue
        shown, least = (
            (f"{value:.1f}{unit}", f"{floor:.1f}{unit}")
            if unit
            else (format_score(value), format_score(floor))
        )
        words = f"{name} {shown} against {other}, floor {least}"
        margin = (value - floor) / max(floor, 1e-9)
        faults.append(_Fault(margin, words, is_ssim=name.endswith("SSIM")))
    for name, value, ceiling in (
        ("colour difference", score.ciede2000, floors.ciede2000),
        ("worst tile's colour difference", score.worst_tile_ciede2000, floors.worst_tile_ciede2000),
    ):
        if value is None or ceiling is None or value <= ceiling:
            continue
        words = f"{name} {value:.3g} (CIEDE2000) against {other}, limit {ceiling:.3g}"
        faults.append(_Fault(max(-1.0, (ceiling - value) / max(ceiling, 1e-9)), words))
    drop_bits = 0.0 if reference_bits is None else reference_bits - image.entropy_bits
    if reference_bits is not None and drop_bits > floors.entropy_drop_bits:
        faults.append(
            _Fault(
                (floors.entropy_drop_bits - drop_bits) / max(reference_bits, 1e-9),
                f"entropy {image.entropy_bits:.2f} bits, {drop_bits:.2f} below "
                f"{other}, limit {floors.entropy_drop_bits:.2f}",
            )
        )
    return faults


def _open_image(image: ImageRecord) -> str:
    return f"open .sdperf/images/{image.sha256[:12]}*.png"
