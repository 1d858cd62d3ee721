"""Which images a report shows, and how they get into it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from sdperf.errors import ImageError, SdperfError
from sdperf.judging.machine import JudgedMachine
from sdperf.models.references import ReferenceImages, load_references
from sdperf.record.measurement import ImageRecord, ImageScores
from sdperf.record.observation import ImageParity, Soundness
from sdperf.record.workload import SYNC_REFERENCES, Precision, name_sync
from sdperf.store.images import ImageStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AGAINST: Final = ("baseline", "reference", *SYNC_REFERENCES)
"""The kinds of reference that an image is compared with, the strictest first."""

_LARGEST_LOSSLESS_BYTES: Final = 60_000
_QUALITY: Final = 88


@dataclass(frozen=True)
class Embedded:
    """An image as it stands in a page.

    Attributes:
        uri: ``data:image/webp;base64,...``.
        width: Pixels of the original.
        height: Pixels of the original.
        is_exact: Whether every pixel equals the original's.
    """

    uri: str
    width: int
    height: int
    is_exact: bool


@dataclass(frozen=True)
class PicturePair:
    """An image beside what it was compared with.

    Attributes:
        image: The image of this run.
        score: The scores of the comparison.
        precision: Of the pipeline that drew it.
        cases: Short names of the cases whose image of this prompt differs.
    """

    image: ImageRecord
    score: ImageScores
    precision: str
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One prompt on the contact sheet.

    Attributes:
        prompt: The prompt.
        seed: Its seed.
        against: What the reference image is; ``None`` where there is none.
        against_sha256: Content hash of the reference image.
        images: The image of this run in each precision.
    """

    prompt: str
    seed: int
    against: str | None
    against_sha256: str | None
    images: tuple[tuple[str, ImageRecord], ...]


@dataclass(frozen=True)
class PictureSource:
    """Finds images by content.

    Attributes:
        stores: Folders of content-addressed images.
        references: Reference images of models.
    """

    stores: tuple[ImageStore, ...] = ()
    references: tuple[ReferenceImages, ...] = ()

    def find(self, sha256: str) -> NDArray[np.uint8] | None:
        """Return (H, W, 3) uint8; ``None`` where the image is missing or was changed."""
        for store in self.stores:
            with contextlib.suppress(ImageError):
                return store.read(sha256)
        for references in self.references:
            with contextlib.suppress(ImageError):
                pixels = references.read(sha256)
                if pixels is not None:
                    return pixels
        return None


def locate_pictures(runs: Iterable[Path], others: Iterable[Path] = ()) -> PictureSource:
    """Look beside each saved run, in further folders, and among references of models.

    Args:
        runs: Saved runs; their images lie in ``images/`` beside them.
        others: Folders of content-addressed images.
    """
    folders = [*(path.parent / "images" for path in runs), *others]
    shipped = Path(__file__).parents[2] / "models" / "embedded" / "references"
    listed = []
    for folder in (shipped, *Path("benchmarks/references").glob("*/*")):
        with contextlib.suppress(SdperfError):
            references = load_references(folder)
            listed += [] if references is None else [references]
    stores = tuple(ImageStore(folder) for folder in dict.fromkeys(folders) if folder.is_dir())
    return PictureSource(stores, tuple(listed))


def embed(pixels: NDArray[np.uint8], *, largest_px: int | None = None) -> Embedded:
    """Encode an image for a page: without loss where that is small, else with little visible loss.

    Args:
        pixels: (H, W, 3) uint8.
        largest_px: Longer side to shrink it to; ``None`` keeps its size.
    """
    picture = Image.fromarray(pixels)
    width, height = picture.size
    is_exact = largest_px is None or max(picture.size) <= largest_px
    if largest_px is not None and not is_exact:
        picture.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS)
    content = _encode(picture, lossless=True) if is_exact else b""
    if not is_exact or len(content) > _LARGEST_LOSSLESS_BYTES:
        is_exact = False
        content = _encode(picture, lossless=False)
    uri = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    return Embedded(uri, width, height, is_exact)


def _encode(picture: Image.Image, *, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=lossless, quality=_QUALITY, method=4)
    return buffer.getvalue()


def list_images(machine: JudgedMachine) -> list[tuple[str, str, ImageRecord]]:
    """Return all images of a machine's last run as (precision, short case name, image).

    The score of a picture that is itself the reference is left out: it was compared with nothing.
    """
    listed: list[tuple[str, str, ImageRecord]] = []
    for case in machine.cases:
        if case.measurement is None:
            continue
        variant, images = case.measurement.variant, case.measurement.images
        if variant.is_plain and case.measurement.kind != "stage":  # others draw in another way
            images = tuple(_drop_itself(image, variant.precision) for image in images)
        listed += [(variant.precision, case.short, image) for image in images]
    for case in machine.cases:
        if case.seen is not None and isinstance(case.seen.seen, Soundness | ImageParity):
            precision = case.seen.precision
            listed += [
                (precision, case.short, _drop_itself(image, precision))
                for image in case.seen.seen.images
            ]
    return listed


def _drop_itself(image: ImageRecord, precision: Precision) -> ImageRecord:
    """Leave out the score against the plain picture of the same precision, if it is this picture.

    A picture of the same name whose bytes differ is another, and its score stays.
    """
    kept = tuple(
        score
        for score in image.scores
        if score.against != name_sync(precision) or score.against_sha256 != image.sha256
    )
    return dataclasses.replace(image, scores=kept)


def list_pairs(machine: JudgedMachine) -> list[PicturePair]:
    """Return the images that differ from what they were compared with, the worst first.

    Each image is compared with the strictest reference that it has. Of images that differ in their
    case only, the worst one is listed.
    """
    pairs: dict[tuple[str, int, str], PicturePair] = {}
    for precision, case, image in list_images(machine):
        score = _strictest(image)
        if score is None or score.identical or score.against_sha256 == image.sha256:
            continue
        key = (image.prompt, image.seed, precision)
        earlier = pairs.get(key)
        cases = tuple(dict.fromkeys((*(() if earlier is None else earlier.cases), case)))
        pair = PicturePair(image, score, precision, cases)
        if earlier is not None and earlier.score.worst_tile_ssim <= score.worst_tile_ssim:
            pair = dataclasses.replace(earlier, cases=cases)
        pairs[key] = pair
    return sorted(pairs.values(), key=lambda pair: pair.score.worst_tile_ssim)


def count_identical(machine: JudgedMachine) -> int:
    """Count the images that equal what they were compared with, each once."""
    return len(
        {
            image.sha256
            for _, _, image in list_images(machine)
            if (score := _strictest(image)) is not None and score.identical
        }
    )


def list_samples(machine: JudgedMachine) -> list[Sample]:
    """Return every prompt and seed with its reference and this run's image of each precision."""
    samples: dict[tuple[str, int], dict[str, ImageRecord]] = {}
    for precision, _, image in list_images(machine):
        samples.setdefault((image.prompt, image.seed), {}).setdefault(precision, image)
    listed = []
    for (prompt, seed), images in samples.items():
        score = next((_strictest(image) for image in images.values() if image.scores), None)
        listed.append(
            Sample(
                prompt=prompt,
                seed=seed,
                against=None if score is None else score.against,
                against_sha256=None if score is None else score.against_sha256,
                images=tuple(images.items()),
            )
        )
    return sorted(listed, key=lambda sample: sample.seed)


def _strictest(image: ImageRecord) -> ImageScores | None:
    scores: Sequence[ImageScores | None] = [image.score(name) for name in AGAINST]
    return next((score for score in scores if score is not None), None)
