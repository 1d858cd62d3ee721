"""Converts between PNG bytes and pixels, and names images by their content."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
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
        image: (H, W, 3) uint8; (H, W, 4) with transparency.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def encode_stored_png(image: NDArray[np.uint8]) -> bytes:
    """Encode pixels as a PNG that stores them: no filter is tried and nothing is compressed.

    Args:
        image: (H, W, 3) uint8; (H, W, 4) with transparency.

    Source: PNG specification, third edition, 5.2 to 5.6, 9.2 and 10.1.
    """
    import numpy as np

    height, width, channels = image.shape
    # each row begins with filter type 0
    rows = np.zeros((height, 1 + channels * width), dtype=np.uint8)
    rows[:, 1:] = image.reshape(height, -1)
    return _make_png(width, height, channels, zlib.compress(rows.tobytes(), 0))


def encode_fast_png(image: NDArray[np.uint8]) -> bytes:
    """Encode pixels as a PNG whose rows are compressed in strips, on several threads.

    Each row holds its differences to the row above. The bytes do not depend on the number of
    threads.

    Args:
        image: (H, W, 3) uint8; (H, W, 4) with transparency.

    Source: PNG specification, third edition, 9.2 (filter type 2, Up); RFC 1950 and RFC 1951, whose
        blocks of different compressors may follow each other after a flush.
    """
    import numpy as np

    height, width, channels = image.shape
    rows = np.empty((height, 1 + channels * width), dtype=np.uint8)
    rows[:, 0] = _UP
    flat = image.reshape(height, -1)
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    lines = max(1, -(-height // _STRIPS))
    starts = range(0, height, lines)
    *before, last = (rows[start : start + lines].tobytes() for start in starts)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="sdperf-png") as threads:
        parts = [
            *threads.map(lambda strip: _deflate(strip, zlib.Z_FULL_FLUSH), before),
            _deflate(last, zlib.Z_FINISH),
        ]
    checksum = zlib.adler32(rows.tobytes())
    pixels = b"\x78\x01" + b"".join(parts) + struct.pack(">I", checksum)
    return _make_png(width, height, channels, pixels)


_COLOUR_TYPES: Final = {3: 2, 4: 6}
"""Colour type in a PNG's header, by number of channels; Qwen-Image 2.1 draws transparency too."""

_UP: Final = 2
_STRIPS: Final = 16
_THREADS: Final = 8
_FAST_LEVEL: Final = 1


def _deflate(strip: bytes, end: int) -> bytes:
    compressor = zlib.compressobj(_FAST_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(strip) + compressor.flush(end)


def _make_png(width: int, height: int, channels: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_make_chunk(*part) for part in parts)


def _make_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def read_png_frame(png: bytes) -> tuple[int, int, int] | None:
    """Read the beginning and the end of a PNG, without decoding it.

    Args:
        png: The file's content.

    Returns:
        Width and height, pixels, and how many bytes follow the end; ``None`` where it has no
        header or no end.

    Source: PNG specification, third edition, 5.2, 5.3 and 11.2.1.
    """
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR" or len(png) < 24:
        return None
    width, height = struct.unpack(">II", png[16:24])
    start = 8
    while start + 12 <= len(png):
        name = png[start + 4 : start + 8]
        start += 12 + int.from_bytes(png[start : start + 4], "big")
        if name == b"IEND":
            return width, height, max(0, len(png) - start)
    return None


def decode_png(png: bytes, name: str = "the image") -> NDArray[np.uint8]:
    """Decode PNG bytes.

    Args:
        png: The file's content.
        name: The name of the image, for messages.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ImageError: The bytes are not a PNG, are damaged, or hold over 8192 x 8192 pixels.
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
