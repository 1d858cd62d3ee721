"""PNG bytes and pixels: what a generation delivers, and how it is named by its content."""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import TYPE_CHECKING, Final

from PIL import Image, UnidentifiedImageError

from sdperf.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_PIXELS: Final = 8192 * 8192


def compute_png_sha256(png: bytes) -> str:
    """Return the content hash an image is stored under, 64 hexadecimal digits."""
    return hashlib.sha256(png).hexdigest()


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode pixels as PNG; equal pixels give equal bytes for one version of Pillow.

    Args:
        image: (H, W, 3) uint8.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_png(png: bytes, name: str = "the image") -> NDArray[np.uint8]:
    """Decode PNG bytes.

    Args:
        png: The file's content.
        name: What to call it in an error.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ImageError: The bytes are no PNG, are damaged, or hold over 8192 x 8192 pixels.
    """
    import numpy as np

    too_large = ImageError(f"{name} is too large", expected="at most 8192 x 8192 pixels")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    raise too_large
                return np.asarray(picture.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(
            f"{name} is not a readable PNG",
            got=str(error),
            hint="delete the file and accept or save the run again",
        ) from error
