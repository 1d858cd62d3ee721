"""Reference images that ship with a model, and the floors measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.errors import ImageError, RecordError
from sdperf.images.png import compute_png_sha256, decode_png
from sdperf.record.floors import Floors
from sdperf.record.json import decode_object, parse_record
from sdperf.record.workload import ImageRequest, Workload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE_NAME: Final = "references.json"


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
        floors: Floors by precision.
        reference_precision: Precision of the pipeline that drew the images, and that components
            and latents were compared with.
    """

    model_hash: str
    images: tuple[ReferenceEntry, ...]
    made_with: Mapping[str, str] = field(default_factory=dict)
    floors: Mapping[str, Floors] = field(default_factory=dict)
    reference_precision: str = "fp32"


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
        folder: The folder of the images.
        listed: Their list.
    """

    folder: Path
    listed: ReferenceList

    def find(self, image: ImageRequest, workload: Workload) -> Reference | None:
        """Return the reference of a request; ``None`` without one for these settings."""
        key = workload.image_key(image)
        for entry in self.listed.images:
            if entry.key == key:
                return Reference(self.folder / entry.file, entry.sha256, entry.entropy_bits)
        return None

    def holds_for(self, workload: Workload) -> bool:
        """Tell whether the floors were measured with a workload's settings, for any prompts.

        With fewer steps or other guidance the same rounding has another effect.
        """
        return any(
            entry.key == workload.image_key(ImageRequest(entry.prompt, entry.seed))
            for entry in self.listed.images
        )

    def read(self, sha256: str) -> NDArray[np.uint8] | None:
        """Read a reference by its content hash; ``None`` when it is not among these.

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
        document = decode_object(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=str(error)) from error
    try:
        return ReferenceImages(folder, parse_record(ReferenceList, document))
    except RecordError as error:
        raise RecordError(f"{path} cannot be used", got=str(error)) from error
