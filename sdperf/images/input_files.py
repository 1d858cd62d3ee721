"""Reads the pictures that a generation starts from, checks them, and fits their size.

A file is decoded once, in the process that the user started; other processes receive plain pixels.
Only PNG and JPEG are tried, the size is checked before decoding, and metadata is dropped.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from sdperf.errors import ConfigurationError
from sdperf.units import format_bytes

KINDS: Final = ("PNG", "JPEG")
MOST_FILE_BYTES: Final = 64 * 2**20
MOST_PIXELS: Final = 50_000_000
"""The most pixels of a file; the 48 megapixels of a camera fit."""

FEWEST_EDGE_PX: Final = 8
_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr")
"""Modes of 8 bits per channel or fewer; PIL would silently clip the values of others."""

_PNG_START: Final = b"\x89PNG"
_STARTS: Final = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG whose header is damaged",
    b"\xff\xd8\xff": "a JPEG whose header is damaged",
}
"""First bytes of other kinds of files, and of damaged PNG and JPEG files."""

_PNG_DEPTH_AT: Final = 24
"""Position of the depth in a PNG: after signature, length, name, width and height."""

_DEFAULT: Final = Path(__file__).parent / "input" / "picture.png"
"""The shipped picture. Its folder has no modules, and goes with the package where it is copied."""
_MASK_EDGE_PX: Final = 512

Mode = Literal["RGB", "L"]


@dataclass(frozen=True)
class InputFile:
    """Decoded pixels in the form in which they are sent to a worker.

    Attributes:
        sha256: Hash of the pixels, see `compute_pixels_sha256`; equal hashes are equal pictures.
        png: A PNG of the pixels without metadata.
        name: Name of the file that they were read from, without its folder; empty for shipped ones.
    """

    sha256: str
    png: bytes = field(repr=False, compare=False)
    name: str = field(default="", repr=False, compare=False)

    def decode(self) -> Image.Image:
        """Return the pixels, RGB or, of a mask, L."""
        image = Image.open(io.BytesIO(self.png), formats=("PNG",))
        image.load()
        return image


def compute_pixels_sha256(image: Image.Image) -> str:
    """Hash the visible content: mode, size and pixels; 64 hexadecimal digits."""
    head = f"{image.mode} {image.width}x{image.height} ".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def read_picture(path: Path, asked_by: str) -> InputFile:
    """Read the picture that a generation starts from: turned upright, on white, RGB.

    Args:
        path: A PNG or JPEG.
        asked_by: The option that named it, for messages.

    Raises:
        ConfigurationError: The file cannot be read, or is not a picture of an accepted size and
            kind.
    """
    return _pack(_on_ground(_decode(path, asked_by), "RGB", "white"), path.name)


def read_mask(path: Path, asked_by: str) -> InputFile:
    """Read a mask: white is drawn again, black is kept; transparent is black.

    Args:
        path: A PNG or JPEG.
        asked_by: The option that named it, for messages.

    Raises:
        ConfigurationError: For the reasons of `read_picture`, or no part of it is white.
    """
    mask = _on_ground(_decode(path, asked_by), "L", "black")
    brightest = mask.getextrema()[1]
    if not isinstance(brightest, int) or brightest < 128:
        raise ConfigurationError(
            f"nothing of the mask {path} is white, so that nothing would be drawn",
            got=f"a brightest pixel of {brightest}",
            expected="white (255) where the picture is drawn again",
            hint=f"give {asked_by} a mask with a white part",
        )
    return _pack(mask, path.name)


@cache
def default_picture() -> InputFile:
    """Return the picture that ships: a house in a meadow, 512 x 512 pixels."""
    with Image.open(_DEFAULT, formats=("PNG",)) as image:
        return _pack(image.convert("RGB"))


@cache
def default_mask() -> InputFile:
    """Return the mask that goes with any picture: the middle half of each edge is white."""
    mask = Image.new("L", (_MASK_EDGE_PX, _MASK_EDGE_PX), 0)
    quarter = _MASK_EDGE_PX // 4
    ImageDraw.Draw(mask).rectangle((quarter, quarter, 3 * quarter - 1, 3 * quarter - 1), fill=255)
    return _pack(mask)


def find_pixels(sha256: str, files: Sequence[InputFile], asked_by: str) -> InputFile:
    """Find pixels by their hash: those that ship, or those that were handed over.

    Args:
        sha256: Of the pixels, see `compute_pixels_sha256`.
        files: Pixels beside those that ship.
        asked_by: The option that names a file, for messages.

    Raises:
        ConfigurationError: They are not here.
    """
    for one in (default_picture(), default_mask(), *files):
        if one.sha256 == sha256:
            return one
    raise ConfigurationError(
        "the pixels of the input picture are not here",
        got=f"{sha256[:16]}...",
        expected="the picture that ships, or one that was handed over with the model",
        hint=f"give the file again: {asked_by} FILE",
    )


def fit_picture(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return a picture in the size of a request: scaled, and cut at the edges where it is wider.

    A mask (mode L) keeps its values: no grey is made between black and white.

    Args:
        image: RGB, or L.
        width: Pixels.
        height: Pixels.
    """
    method = Image.Resampling.NEAREST if image.mode == "L" else Image.Resampling.LANCZOS
    return ImageOps.fit(image, (width, height), method)


def _decode(path: Path, asked_by: str) -> Image.Image:
    hint = f"give {asked_by} a PNG or JPEG"
    content = _read_bytes(path, hint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=KINDS)
            _check_shape(image, path, hint)
            _check_bits(content, path)
            image.load()
            return ImageOps.exif_transpose(image)
    except ConfigurationError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more than PIL opens", hint) from error
    except UnidentifiedImageError as error:  # PIL's message names an object in memory
        raise ConfigurationError(
            f"{path} is no PNG or JPEG that can be read",
            got=_tell_kind(content),
            expected=" or ".join(KINDS),
            hint=hint,
        ) from error
    except Exception as error:  # a damaged file can raise anything inside a decoder
        raise ConfigurationError(
            f"{path} cannot be decoded",
            got=f"{type(error).__name__}: {str(error)[:120]}",
            expected=" or ".join(KINDS),
            hint=hint,
        ) from error


def _tell_kind(content: bytes) -> str:
    """Tell from its first bytes what a file is that is neither PNG nor JPEG to PIL."""
    if not content:
        return "an empty file"
    for start, kind in _STARTS.items():
        if content.startswith(start):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "a WebP"
    if content[4:12] in (b"ftypheic", b"ftypavif", b"ftypmif1"):
        return "a HEIC or AVIF"
    head = content[:64]
    try:
        text = head.decode("utf-8", "strict" if len(content) <= len(head) else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if all(one.isprintable() or one.isspace() for one in text):
        return f"text that begins with {text[:16]!r}"
    return f"a file that begins with {head[:8]!r}"


def _read_bytes(path: Path, hint: str) -> bytes:
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            raise ConfigurationError(
                f"{path} is no file",
                got="nothing of this name" if not path.exists() else "a folder or a device",
                expected="a picture",
                hint=hint,
            )
        with path.open("rb") as file:
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read", got=error.strerror, hint=hint) from error
    if len(content) > MOST_FILE_BYTES:
        raise ConfigurationError(
            f"{path} is too large",
            got=f"more than {format_bytes(MOST_FILE_BYTES)}",
            expected=f"at most {format_bytes(MOST_FILE_BYTES)}",
            hint=hint,
        )
    return content


def _check_bits(content: bytes, path: Path) -> None:
    """Check the depth of a PNG: PIL reads 16-bit colours as 8 bits and drops the lower ones."""
    if content.startswith(_PNG_START) and content[_PNG_DEPTH_AT] > 8:
        raise ConfigurationError(
            f"{path} has pixels that are not taken",
            got=f"{content[_PNG_DEPTH_AT]} bits a channel",
            expected="8 bits a channel: grey, palette, RGB or RGBA",
            hint="save it as RGB of 8 bits",
        )


def _check_shape(image: Image.Image, path: Path, hint: str) -> None:
    """Check a file's header before its pixels are decoded."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _too_large(path, f"{width} x {height} pixels", hint)
    if min(width, height) < FEWEST_EDGE_PX:
        raise ConfigurationError(
            f"{path} is too small",
            got=f"{width} x {height} pixels",
            expected=f"{FEWEST_EDGE_PX} pixels or more on each edge",
            hint=hint,
        )
    if image.mode not in _MODES:
        raise ConfigurationError(
            f"{path} has pixels that are not taken",
            got=f"mode {image.mode}",
            expected="8 bits a channel: grey, palette, RGB or RGBA",
            hint="save it as RGB of 8 bits",
        )
    if getattr(image, "is_animated", False) and image.format == "PNG":
        raise ConfigurationError(
            f"{path} is an animation", expected="one picture", hint="save one of its frames"
        )


def _too_large(path: Path, got: str, hint: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} has too many pixels", got=got, expected=f"at most {MOST_PIXELS:,}", hint=hint
    )


def _on_ground(image: Image.Image, mode: Mode, ground: str) -> Image.Image:
    """Convert a picture, with its transparent parts on a colour."""
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image)
    return image.convert(mode)


def _pack(image: Image.Image, name: str = "") -> InputFile:
    plain = Image.frombytes(image.mode, image.size, image.tobytes())  # without its metadata
    buffer = io.BytesIO()
    plain.save(buffer, format="PNG", compress_level=1)
    return InputFile(compute_pixels_sha256(plain), buffer.getvalue(), name)
