"""Examines and compares pictures: each picture and each pair once in a session, on all cores.

This never runs while something is timed: it is called between cases, and returns when it is done.
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
    """A picture that another one is compared with.

    Attributes:
        against: Its name, such as ``fp32-sync``.
        sha256: Content hash of its PNG.
        read: Returns its pixels, (H, W, 3) uint8.
    """

    against: str
    sha256: str
    read: Callable[[], NDArray[np.uint8]]

    @classmethod
    def of_png(cls, against: str, png: bytes) -> Other:
        """Make it from PNG bytes."""
        return cls(against, compute_png_sha256(png), lambda: decode_png(png))


@dataclass(frozen=True)
class Look:
    """The facts of one picture alone.

    Attributes:
        width: Pixels.
        height: Pixels.
        entropy_bits: Entropy of its grey levels, bits per pixel.
        faults: The hard faults in words.
    """

    width: int
    height: int
    entropy_bits: float
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Examined:
    """A picture with its facts and its scores.

    Attributes:
        sha256: Content hash of its PNG.
        look: The facts of the picture alone.
        scores: One for each other picture of its shape, in the order of the request.
        other_sizes: Other pictures of another size, in words; they have no score.
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
            image: The request.
            delivered: The delivered image, with the faults that its worker found.
            of_one_size: Whether it is a fault to have another size than the pictures to compare
                with.
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
    """The facts and scores of a session's pictures, by content hash.

    Cases of one pipeline deliver equal bytes in every mode and with any number of workers, so that
    most pictures have been examined before.
    """

    _looks: dict[str, Look] = field(default_factory=dict)
    _scores: dict[tuple[str, str], ImageScores | None] = field(default_factory=dict)
    _sizes: dict[str, str] = field(default_factory=dict)

    def examine(self, pictures: Sequence[tuple[bytes, Sequence[Other]]]) -> list[Examined]:
        """Examine pictures and compare each with others; known results are not computed again.

        Args:
            pictures: PNG bytes, and the pictures to compare them with; one of another shape is left
                out.

        Returns:
            One result for each picture.

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
        """Decode needed pictures, examine new ones, then compare; each step uses all cores."""
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
