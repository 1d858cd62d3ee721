"""The observations of the quality suite, as frozen values; `sdperf.judging.quality` judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sdperf.errors import RecordError
from sdperf.images import ComponentDistance, TrajectoryDistance
from sdperf.record.floors import ComponentFloor, PairNoise
from sdperf.record.measurement import ImageRecord
from sdperf.record.workload import ImageRequest

RungSort = Literal["legal", "change"]


@dataclass(frozen=True)
class Soundness:
    """L0: the images alone, and the latents of the first one.

    Attributes:
        images: All images of the suite.
        image: The image whose latents were watched.
        steps: How many steps were watched; 0 where the pipeline does not show its latents.
        nonfinite_step: First step (0-based) with NaN or infinity in them.
    """

    images: tuple[ImageRecord, ...]
    image: ImageRequest
    steps: int
    nonfinite_step: int | None

    def __post_init__(self) -> None:
        """Refuse an observation without an image.

        Raises:
            RecordError: There is no image.
        """
        if not self.images:
            raise RecordError("soundness is judged of one image or more", got="none")


@dataclass(frozen=True)
class Repeats:
    """L1: one image made again, with its scores against ``same-process`` and ``fresh-process``.

    Attributes:
        image: The image made last.
        fresh_process_refused: Why no fresh process was tried; ``None`` where one was.
    """

    image: ImageRecord
    fresh_process_refused: str | None = None


@dataclass(frozen=True)
class PictureComponents:
    """The components of one picture compared with the reference's.

    Attributes:
        image: The image that the inputs come from.
        distances: One distance per output.
        mismatch: Outputs of another shape than the reference's, in words.
    """

    image: ImageRequest
    distances: tuple[ComponentDistance, ...]
    mismatch: str | None = None


@dataclass(frozen=True)
class ComponentParity:
    """L2: each component on the inputs that it had in the reference.

    Attributes:
        against: The reference in words.
        image: The first image that the inputs come from.
        distances: One distance per output.
        mismatch: Outputs of another shape than the reference's, in words.
        others: The further images, as many as time allowed.
    """

    against: str
    image: ImageRequest
    distances: tuple[ComponentDistance, ...]
    mismatch: str | None = None
    others: tuple[PictureComponents, ...] = ()

    @property
    def pictures(self) -> tuple[PictureComponents, ...]:
        """All images, the first one included."""
        return (PictureComponents(self.image, self.distances, self.mismatch), *self.others)


@dataclass(frozen=True)
class PictureTrajectory:
    """The latents of one picture compared with the reference's.

    Attributes:
        image: The image.
        distance: Distances per step; of no step where they cannot be compared with each other.
        mismatch: Another number of steps or size of the latents, in words.
    """

    image: ImageRequest
    distance: TrajectoryDistance
    mismatch: str | None = None


@dataclass(frozen=True)
class TrajectoryParity:
    """L3: the latents after each step compared with the reference's.

    Attributes:
        against: The reference in words.
        image: The first image.
        distance: Distances per step; of no step where they cannot be compared with each other.
        mismatch: Another number of steps or size of the latents, in words.
        others: The further images, as many as time allowed.
    """

    against: str
    image: ImageRequest
    distance: TrajectoryDistance
    mismatch: str | None = None
    others: tuple[PictureTrajectory, ...] = ()

    @property
    def pictures(self) -> tuple[PictureTrajectory, ...]:
        """All images, the first one included."""
        return (PictureTrajectory(self.image, self.distance, self.mismatch), *self.others)


@dataclass(frozen=True)
class ImageParity:
    """L4, and a batch compared with single images: images with their scores.

    Attributes:
        against: The comparison that is judged (`ImageScores.against`).
        images: The images.
        keys: `Workload.image_key` of each image.
    """

    against: str
    images: tuple[ImageRecord, ...]
    keys: tuple[str, ...]


Observation = Soundness | Repeats | ComponentParity | TrajectoryParity | ImageParity


@dataclass(frozen=True)
class Rung:
    """One change to a generation with its effect: a rung of the quality ladder.

    Attributes:
        name: The change.
        sort: ``legal`` noise that must pass, or a ``change`` that the ladder places.
        precision: Precision whose floors it sets; ``None`` sets no floors.
        images: Number of images.
        ssim_mean: Mean SSIM over the images.
        ssim_min: Lowest SSIM.
        worst_tile_ssim_min: Lowest SSIM of any tile of any image.
        psnr_db_mean: Mean PSNR over images that differ; ``None`` when all are identical.
        psnr_db_min: Lowest PSNR; ``None`` when all are identical.
        worst_tile_psnr_db_min: Lowest PSNR of a worst tile; ``None`` when all are identical.
        entropy_drop_bits_max: Largest loss of entropy; negative when none lost any.
        ciede2000_max: Largest mean colour difference of any image; ``None`` where not measured.
        worst_tile_ciede2000_max: Largest mean colour difference of any tile of any image.
        pairs: Scores of each (prompt, seed) pair.
        components: Lowest agreement of each component with the plain one on equal inputs; a
            component that is identical, or was not measured, is missing.
        trajectory_rms: Largest relative RMS between the latents after any step; ``None`` where
            not measured.
    """

    name: str
    sort: RungSort
    precision: str | None
    images: int
    ssim_mean: float
    ssim_min: float
    worst_tile_ssim_min: float
    psnr_db_mean: float | None
    psnr_db_min: float | None
    worst_tile_psnr_db_min: float | None
    entropy_drop_bits_max: float
    pairs: tuple[PairNoise, ...] = ()
    components: Mapping[str, ComponentFloor] = field(default_factory=dict)
    trajectory_rms: float | None = None
    ciede2000_max: float | None = None
    worst_tile_ciede2000_max: float | None = None
