"""Reference images that ship with a model, and the floors measured on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.codec import parse_record
from sdperf.errors import ImageError, RecordError
from sdperf.png import compute_png_sha256, decode_png
from sdperf.workload import ImageRequest, Workload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE_NAME: Final = "references.json"


@dataclass(frozen=True)
class PairNoise:
    """What legal noise cost one (prompt, seed) pair: the A/A floor of the paired test.

    Attributes:
        key: `Workload.image_key` of the request.
        ssim: Lowest mean SSIM against the reference over all legal changes.
        worst_tile_ssim: Lowest SSIM of any tile over all legal changes.
        ciede2000: Largest mean colour difference over all legal changes; ``None`` where unknown.
        worst_tile_ciede2000: Largest mean colour difference of any tile; ``None`` likewise.
    """

    key: str
    ssim: float
    worst_tile_ssim: float
    ciede2000: float | None = None
    worst_tile_ciede2000: float | None = None


@dataclass(frozen=True)
class ComponentFloor:
    """The lowest agreement of one component's outputs with fp32, on equal inputs.

    Attributes:
        psnr_db: Lowest PSNR; see `sdperf.quality.compute_component_distance`.
        cosine: Lowest cosine.
    """

    psnr_db: float
    cosine: float


@dataclass(frozen=True)
class Floors:
    """The lowest scores that one precision may have; what is ``None`` or missing is not judged.

    Attributes:
        ssim: Lowest mean SSIM against the reference.
        worst_tile_ssim: Lowest SSIM of the worst tile.
        entropy_drop_bits: Largest loss of entropy, bits.
        evidence: What was measured, and how the floor follows from it.
        psnr_db: Lowest PSNR of the whole frame.
        worst_tile_psnr_db: Lowest PSNR of the worst tile.
        ciede2000: Largest mean colour difference (CIEDE2000).
        worst_tile_ciede2000: Largest mean colour difference of any tile.
        components: By ``text encoder``, ``denoiser`` and ``vae``.
        trajectory_rms: Largest relative RMS between the latents and fp32's after any step.
        pairs: What legal noise cost each pair, for the paired test.
    """

    ssim: float
    worst_tile_ssim: float
    entropy_drop_bits: float
    evidence: str
    psnr_db: float | None = None
    worst_tile_psnr_db: float | None = None
    ciede2000: float | None = None
    worst_tile_ciede2000: float | None = None
    components: Mapping[str, ComponentFloor] = field(default_factory=dict)
    trajectory_rms: float | None = None
    pairs: tuple[PairNoise, ...] = ()


@dataclass(frozen=True)
class ReferenceEntry:
    """One reference image as listed in ``references.json``.

    Attributes:
        key: `Workload.image_key` of the request that made it.
        prompt: Its prompt.
        seed: Its seed.
        file: Name of the PNG beside the list.
        sha256: Content hash of the PNG.
        entropy_bits: Its entropy.
    """

    key: str
    prompt: str
    seed: int
    file: str
    sha256: str
    entropy_bits: float


@dataclass(frozen=True)
class ReferenceList:
    """The content of ``references.json``.

    Attributes:
        model_hash: Hash of the model that drew the images.
        made_with: Versions and the command that made them.
        images: The entries.
        floors: By precision.
    """

    model_hash: str
    images: tuple[ReferenceEntry, ...]
    made_with: Mapping[str, str] = field(default_factory=dict)
    floors: Mapping[str, Floors] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """One reference image on disk."""

    path: Path
    sha256: str
    entropy_bits: float

    def read(self) -> NDArray[np.uint8]:
        """Read the pixels, checked against the listed hash.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ImageError: The file is missing, was changed, or is no PNG.
        """
        try:
            png = self.path.read_bytes()
        except OSError as error:
            raise ImageError(
                f"the reference image {self.path} cannot be read",
                got=error.strerror,
                hint="reinstall sdperf",
            ) from error
        if compute_png_sha256(png) != self.sha256:
            raise ImageError(
                f"the reference image {self.path} was changed",
                got=compute_png_sha256(png),
                expected=self.sha256,
                hint="reinstall sdperf, or make the references again if the model was retrained",
            )
        return decode_png(png, str(self.path))


@dataclass(frozen=True)
class ReferenceImages:
    """The reference images of one model.

    Attributes:
        folder: Where the images lie.
        listed: Their list.
    """

    folder: Path
    listed: ReferenceList

    def find(self, image: ImageRequest, workload: Workload) -> Reference | None:
        """Return the reference of a request; ``None`` when none was made with these settings."""
        key = workload.image_key(image)
        for entry in self.listed.images:
            if entry.key == key:
                return Reference(self.folder / entry.file, entry.sha256, entry.entropy_bits)
        return None

    def read(self, sha256: str) -> NDArray[np.uint8] | None:
        """Read a reference by its content hash; ``None`` when it is none of these.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ImageError: The file is missing, was changed, or is no PNG.
        """
        for entry in self.listed.images:
            if entry.sha256 == sha256:
                return Reference(self.folder / entry.file, sha256, entry.entropy_bits).read()
        return None

    def entropies(self) -> dict[str, float]:
        """Entropy in bits of each reference, by content hash."""
        return {entry.sha256: entry.entropy_bits for entry in self.listed.images}


def load_references(folder: Path) -> ReferenceImages | None:
    """Load the list of reference images in a folder; ``None`` where there is none.

    Raises:
        RecordError: The list is damaged.
    """
    path = folder / FILE_NAME
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} cannot be read", got=str(error)) from error
    try:
        return ReferenceImages(folder, parse_record(ReferenceList, document))
    except RecordError as error:
        raise RecordError(f"{path} cannot be used", got=str(error)) from error
