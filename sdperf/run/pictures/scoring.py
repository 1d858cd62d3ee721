"""Pictures looked at and compared: each picture and each pair once in a session, on all cores.

Nothing here runs while anything is timed: it is called between cases, and returns when it is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdperf.images import describe_image, map_on_all_cores
from sdperf.images.png import compute_png_sha256, decode_png
from sdperf.record.measurement import ImageRecord, ImageScores
from sdperf.record.scores import compute_scores
from sdperf.record.workload import ImageRequest
from sdperf.run.messages import DeliveredImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Other:
    """What a picture is compared with.

    Attributes:
        against: What it is, such as ``fp32-sync``.
        sha256: Content hash of its PNG.
        read: Returns its pixels, (H, W, 3) uint8.
    """

    against: str
    sha256: str
    read: Callable[[], NDArray[np.uint8]]

    @classmethod
    def of_png(cls, against: str, png: bytes) -> Other:
        """Take PNG bytes."""
        return cls(against, compute_png_sha256(png), lambda: decode_png(png))


@dataclass(frozen=True)
class Look:
    """What is seen in one picture alone.

    Attributes:
        width: Pixels.
        height: Pixels.
        entropy_bits: Entropy of its grey levels, bits per pixel.
        faults: Each hard fault in words.
    """

    width: int
    height: int
    entropy_bits: float
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Examined:
    """A picture, looked at and compared.

    Attributes:
        sha256: Content hash of its PNG.
        look: What is seen in it alone.
        scores: One for each other picture of its shape, in the order that was asked for.
        other_sizes: In words, each other picture that has another size, which no score tells.
    """

    sha256: str
    look: Look
    scores: tuple[ImageScores, ...]
    other_sizes: tuple[str, ...] = ()

    def make_record(
        self, image: ImageRequest, delivered: DeliveredImage, *, of_one_size: bool = True
    ) -> ImageRecord:
        """Make the record of the picture.

        Args:
            image: What was asked for.
            delivered: What came, with what its worker has to say against it.
            of_one_size: Whether another size than those it is compared with is a fault.
        """
        faults = [*delivered.faults, *self.look.faults]
        if delivered.nonfinite:
            faults.insert(0, "NaN or infinity among the pixel values")
        if of_one_size and not any("px, drawn" in fault for fault in faults):
            faults += self.other_sizes[:1]
        return ImageRecord(
            prompt=image.prompt,
            seed=image.seed,
            sha256=self.sha256,
            width=self.look.width,
            height=self.look.height,
            entropy_bits=self.look.entropy_bits,
            faults=tuple(faults),
            scores=self.scores,
        )


@dataclass
class PictureScores:
    """What is known of a session's pictures, by content hash.

    Cases of one pipeline deliver equal bytes in every mode and for every count of workers, so that
    most pictures have been looked at before.
    """

    _looks: dict[str, Look] = field(default_factory=dict)
    _scores: dict[tuple[str, str], ImageScores | None] = field(default_factory=dict)
    _sizes: dict[str, str] = field(default_factory=dict)

    def examine(self, pictures: Sequence[tuple[bytes, Sequence[Other]]]) -> list[Examined]:
        """Look at pictures, and compare each with others; only what is unknown is worked on.

        Args:
            pictures: PNG bytes, and what to compare them with. An other of another shape is left
                out.

        Returns:
            One for each picture.

        Raises:
            ImageError: A picture cannot be read, or is too small to be compared.
        """
        hashes = [compute_png_sha256(png) for png, _ in pictures]
        readers: dict[str, Callable[[], NDArray[np.uint8]]] = {}
        pairs: dict[tuple[str, str], None] = {}  # an ordered set
        for sha256, (png, others) in zip(hashes, pictures, strict=True):
            unknown = [one for one in others if (one.sha256, sha256) not in self._scores]
            if unknown or sha256 not in self._looks:
                readers[sha256] = lambda png=png: decode_png(png)  # type: ignore[misc]
            for other in unknown:
                readers.setdefault(other.sha256, other.read)
                pairs[other.sha256, sha256] = None
        self._work(readers, list(pairs), [one for one in hashes if one not in self._looks])
        return [
            Examined(
                sha256,
                self._looks[sha256],
                tuple(
                    dataclasses.replace(scores, against=other.against)
                    for other in others
                    if (scores := self._scores[other.sha256, sha256]) is not None
                ),
                tuple(
                    f"{self._sizes[sha256]}, but the {other.against} image has "
                    f"{self._sizes[other.sha256]}"
                    for other in others
                    if self._scores[other.sha256, sha256] is None
                ),
            )
            for sha256, (_, others) in zip(hashes, pictures, strict=True)
        ]

    def _work(
        self,
        readers: dict[str, Callable[[], NDArray[np.uint8]]],
        pairs: list[tuple[str, str]],
        unseen: list[str],
    ) -> None:
        """Decode what is needed, then look at what is new, then compare; each step on all cores."""
        read = map_on_all_cores(lambda reader: reader(), list(readers.values()))
        pixels = dict(zip(readers, read, strict=True))
        for sha256, one in pixels.items():
            self._sizes[sha256] = f"{one.shape[1]} x {one.shape[0]} px"
        largest = max((one.shape[0] * one.shape[1] for one in read), default=0)
        unseen = list(dict.fromkeys(unseen))
        looks = map_on_all_cores(lambda sha256: _look_at(pixels[sha256]), unseen, pixels=largest)
        self._looks.update(zip(unseen, looks, strict=True))

        def compare(pair: tuple[str, str]) -> ImageScores | None:
            before, after = (pixels[sha256] for sha256 in pair)
            if before.shape != after.shape:
                return None
            return compute_scores("", pair[0], before, after)

        scores = map_on_all_cores(compare, pairs, pixels=largest)
        self._scores.update(zip(pairs, scores, strict=True))


def _look_at(pixels: NDArray[np.uint8]) -> Look:
    seen = describe_image(pixels)
    height, width = pixels.shape[:2]
    return Look(width, height, seen.entropy_bits or 0.0, seen.faults)
