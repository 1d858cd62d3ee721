"""Images by content: ``<folder>/<sha256>.png``. Equal pictures are stored once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.errors import ImageError
from sdperf.images.png import compute_png_sha256, decode_png
from sdperf.store.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ImageStore:
    """A folder of content-addressed images.

    Attributes:
        folder: The folder, which is made by the first write.
    """

    folder: Path

    def write(self, png: bytes) -> str:
        """Store an image and return its hash; an existing image is left as it is."""
        sha256 = compute_png_sha256(png)
        path = self.path(sha256)
        if not path.exists():
            write_atomically(path, png)
        return sha256

    def read(self, sha256: str) -> NDArray[np.uint8]:
        """Read an image, and check it by its name.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ImageError: The image is missing, differs from its hash, or cannot be decoded.
        """
        return decode_png(self.read_png(sha256), str(self.path(sha256)))

    def read_png(self, sha256: str) -> bytes:
        """Read an image's file, and check it by its name.

        Raises:
            ImageError: The image is missing, or differs from its hash.
        """
        path = self.path(sha256)
        try:
            png = path.read_bytes()
        except OSError as error:
            raise ImageError(
                f"the image {path} cannot be read",
                got=error.strerror,
                hint="keep the images folder beside the saved runs, or save the run again",
            ) from error
        found = compute_png_sha256(png)
        if found != sha256:
            raise ImageError(f"the image {path} was changed", got=found, expected=sha256)
        return png

    def path(self, sha256: str) -> Path:
        """Return the path of an image.

        Raises:
            ImageError: The hash is not 64 hexadecimal digits (it may come from a hostile file).
        """
        if not _SHA256.fullmatch(sha256):
            raise ImageError(
                "an image's hash is malformed", got=sha256[:80], expected="64 hexadecimal digits"
            )
        return self.folder / f"{sha256}.png"
