"""The images that a session has made so far, with their scores."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdperf.errors import SdperfError
from sdperf.images.png import compute_png_sha256
from sdperf.record.workload import TORCH, ImageRequest, Precision
from sdperf.run.messages import DeliveredImage
from sdperf.run.pictures.scoring import PictureScores
from sdperf.run.pictures.sources import Source
from sdperf.run.quality.recorded import Recording

_Made = dict[tuple[Precision, str, ImageRequest], DeliveredImage]
"""Images by precision, engine and request."""


@dataclass
class SessionImages:
    """The images of one workload, drawn by one code on one device.

    Attributes:
        plain: Images of the plain reference in sync mode; ``None`` where it could not draw one.
        plain_precision: Precision of the reference; ``None`` before it was chosen.
        recordings: Recorded generations by their source, or the reason why there is none.
        recording_s: Seconds that the recordings of each source took.
        scores: Faults and scores of pictures by their content, for all pipelines.
    """

    plain: dict[ImageRequest, bytes | None] = field(default_factory=dict)
    plain_precision: Precision | None = None
    recordings: dict[tuple[Source, ImageRequest], Recording | SdperfError] = field(
        default_factory=dict
    )
    recording_s: dict[Source, float] = field(default_factory=dict)
    scores: PictureScores = field(default_factory=PictureScores)
    _made: _Made = field(default_factory=dict)
    _first: _Made = field(default_factory=dict)

    def keep_plain(self, image: ImageRequest, png: bytes) -> None:
        """Remember an image that the plain reference delivered in sync mode."""
        self.plain.setdefault(image, png)

    def keep_made(
        self, precision: Precision, engine: str, image: ImageRequest, delivered: DeliveredImage
    ) -> None:
        """Remember an image that one worker delivered in sync mode without optimisations."""
        self._made.setdefault((precision, engine, image), delivered)
        if (precision, engine) == (self.plain_precision or "fp32", TORCH):
            self.keep_plain(image, delivered.png)

    def find_made(
        self, precision: Precision, engine: str, image: ImageRequest
    ) -> DeliveredImage | None:
        """Return an image that `keep_made` was given; ``None`` where no case made it."""
        return self._made.get((precision, engine, image))

    def keep_first(
        self, precision: Precision, engine: str, image: ImageRequest, delivered: DeliveredImage
    ) -> None:
        """Remember the first image of a fresh process, drawn alone without optimisations."""
        self._first.setdefault((precision, engine, image), delivered)

    def find_first(
        self, precision: Precision, engine: str, image: ImageRequest
    ) -> DeliveredImage | None:
        """Return an image that `keep_first` was given; ``None`` where no process made it."""
        return self._first.get((precision, engine, image))

    def find_plain(self, sha256: str) -> bytes | None:
        """Return an image of the plain reference by its content hash, if it was made."""
        for png in self.plain.values():
            if png is not None and compute_png_sha256(png) == sha256:
                return png
        return None
