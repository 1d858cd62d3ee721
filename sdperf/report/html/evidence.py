"""The pictures of a report: pairs to look at with a slider, and the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sdperf.errors import ImageError
from sdperf.images import difference_image
from sdperf.images.difference import DEFAULT_GAIN
from sdperf.judging.machine import JudgedMachine
from sdperf.report.pictures.pictures import (
    Embedded,
    PicturePair,
    PictureSource,
    Sample,
    count_identical,
    embed,
    list_pairs,
    list_samples,
)
from sdperf.units import format_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PAIRS: Final = 12
LARGEST_PAIRS_CHARACTERS: Final = 2_500_000
"""The most characters that all pairs together may take in the page."""

LARGEST_SHEET_CHARACTERS: Final = 900_000
_THUMBNAIL_PX: Final = 256
_SMALL_THUMBNAIL_PX: Final = 128


@dataclass(frozen=True)
class Exhibited:
    """A pair with its pictures.

    Attributes:
        title: The prompt and seed of the image.
        precision: Of the pipeline that drew it.
        against: What it was compared with.
        caption: Its scores in words.
        cases: Cases whose image of this prompt differs, in words.
        baseline: What it was compared with.
        current: This run's image.
        difference: Where they differ, brightened.
        gain: By what factor the difference is brightened.
        box: The worst tile as left, top, width and height, percent of the image.
        tile: The worst tile in pixels, in words.
        is_degraded: Whether a case that delivered the image is DEGRADED.
    """

    title: str
    precision: str
    against: str
    caption: str
    cases: str
    baseline: Embedded
    current: Embedded
    difference: Embedded
    gain: float
    box: tuple[float, float, float, float]
    tile: str
    is_degraded: bool


@dataclass(frozen=True)
class SheetCell:
    """One image on the contact sheet; ``image`` is ``None`` where the picture was not kept."""

    label: str
    image: Embedded | None
    words: str


@dataclass(frozen=True)
class SheetRow:
    """One prompt with its images."""

    prompt: str
    seed: int
    cells: tuple[SheetCell, ...]


@dataclass(frozen=True)
class Evidence:
    """All pictures of one machine.

    Attributes:
        pairs: Pairs to look at with the slider, the worst first.
        left_out: How many differing images are not among the pairs.
        missing: How many differing images have lost their pictures.
        identical: How many images equal what they were compared with.
        sheet: The contact sheet: every prompt with its images.
    """

    pairs: tuple[Exhibited, ...]
    left_out: int
    missing: int
    identical: int
    sheet: tuple[SheetRow, ...]


def gather_evidence(machine: JudgedMachine, source: PictureSource) -> Evidence:
    """Find, pair and encode a machine's pictures, within the size limit of a page."""
    pairs: list[Exhibited] = []
    left_out, missing, room = 0, 0, LARGEST_PAIRS_CHARACTERS
    worse = {
        case.short
        for case in machine.cases
        for finding in case.verdict.findings
        if finding.gate == "image" and finding.outcome.is_failure
    }
    for pair in list_pairs(machine):
        before, after = source.find(pair.score.against_sha256), source.find(pair.image.sha256)
        if before is None or after is None:
            missing += 1
            continue
        if len(pairs) >= MOST_PAIRS or room <= 0:
            left_out += 1
            continue
        try:
            exhibited = _exhibit(pair, before, after, is_degraded=bool(worse & {*pair.cases}))
        except ImageError:
            missing += 1
            continue
        pairs.append(exhibited)
        for one in (exhibited.baseline, exhibited.current, exhibited.difference):
            room -= len(one.uri)
    return Evidence(
        pairs=tuple(pairs),
        left_out=left_out,
        missing=missing,
        identical=count_identical(machine),
        sheet=tuple(_lay_sheet(list_samples(machine), source)),
    )


def _exhibit(
    pair: PicturePair, before: NDArray[np.uint8], after: NDArray[np.uint8], *, is_degraded: bool
) -> Exhibited:
    image, score = pair.image, pair.score
    left, top, right, bottom = score.worst_tile_box
    height, width = after.shape[:2]
    difference = difference_image(before, after)
    psnr = "" if score.psnr_db is None else f", PSNR {score.psnr_db:.1f} dB"
    return Exhibited(
        title=f"{image.prompt} (seed {image.seed})",
        precision=pair.precision,
        against=score.against,
        caption=(
            f"SSIM {format_score(score.ssim)}{psnr}; worst tile SSIM "
            f"{format_score(score.worst_tile_ssim)}"
        ),
        cases=", ".join(pair.cases[:3])
        + (f" and {len(pair.cases) - 3} more" if len(pair.cases) > 3 else ""),
        baseline=embed(before),
        current=embed(after),
        difference=embed(difference),
        gain=DEFAULT_GAIN,
        box=(
            100 * left / width,
            100 * top / height,
            100 * (right - left) / width,
            100 * (bottom - top) / height,
        ),
        tile=f"{left}, {top} to {right}, {bottom} px",
        is_degraded=is_degraded,
    )


def _lay_sheet(samples: Sequence[Sample], source: PictureSource) -> list[SheetRow]:
    """Lay out every prompt; pictures shrink where there are many, until the page is full."""
    count = sum(len(sample.images) + 1 for sample in samples)
    largest_px = _THUMBNAIL_PX if count <= 64 else _SMALL_THUMBNAIL_PX
    known: dict[str, Embedded | None] = {}
    room = LARGEST_SHEET_CHARACTERS

    def find(sha256: str) -> Embedded | None:
        nonlocal room
        if sha256 not in known:
            pixels = source.find(sha256) if room > 0 else None
            known[sha256] = None if pixels is None else embed(pixels, largest_px=largest_px)
            found = known[sha256]
            room -= 0 if found is None else len(found.uri)
        return known[sha256]

    rows = []
    for sample in samples:
        cells = []
        if sample.against is not None and sample.against_sha256 is not None:
            cells.append(SheetCell(sample.against, find(sample.against_sha256), "compared with"))
        for precision, image in sample.images:
            score = image.score(sample.against or "")
            words = f"{image.entropy_bits:.2f} bit"
            if score is not None:
                words = "identical" if score.identical else f"SSIM {format_score(score.ssim)}"
            cells.append(SheetCell(precision, find(image.sha256), words))
        rows.append(SheetRow(sample.prompt, sample.seed, tuple(cells)))
    return rows
