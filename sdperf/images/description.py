"""L0, the hard checks on one image alone: shape, dtype, finite values, black and flat frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sdperf.images.entropy import compute_entropy_bits

FLAT_RANGE_LEVELS: Final = 8
"""A frame is flat when no channel spans more than this many of its 255 levels."""

BLACK_LEVEL: Final = 8
"""A flat frame is called black when no value exceeds this level."""


@dataclass(frozen=True)
class ImageDescription:
    """The facts of one image alone, without another image to compare with.

    Attributes:
        shape: Shape of the array as it was given.
        dtype: Its dtype.
        entropy_bits: Entropy of the grey levels, bits per pixel; ``None`` where the array is not an
            image.
        faults: The hard faults in words; empty without a fault.
    """

    shape: tuple[int, ...]
    dtype: str
    entropy_bits: float | None
    faults: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no hard check failed. It does not mean that the picture is good."""
        return not self.faults


def describe_image(
    image: NDArray[Any], *, expected_size_px: tuple[int, int] | None = None
) -> ImageDescription:
    """Run the hard checks on one decoded image, before or after its conversion to bytes.

    Non-finite values are looked for in float arrays, because the cast to uint8 turns NaN into
    ordinary black pixels.

    Args:
        image: ``(H, W, 3)``, uint8 or float of any range.
        expected_size_px: (height, width) that was asked for, if it matters.

    Returns:
        The image's description; its faults decide whether it is broken.
    """
    faults = []
    is_image_shaped = image.ndim == 3 and image.shape[2] == 3 and image.size > 0
    if not is_image_shaped:
        faults.append(f"wrong shape: {image.shape} instead of (height, width, 3)")
    elif expected_size_px is not None and image.shape[:2] != expected_size_px:
        height, width = expected_size_px
        faults.append(
            f"wrong size: {image.shape[1]} x {image.shape[0]} px instead of {width} x {height} px"
        )
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        faults.append(f"wrong dtype: {image.dtype} instead of uint8")
    elif image.dtype.kind == "f" and not np.isfinite(image).all():
        count = int(np.count_nonzero(~np.isfinite(image)))
        faults.append(f"non-finite values: {count} of {image.size} are NaN or infinite")
    is_bytes = is_image_shaped and image.dtype == np.uint8
    if is_bytes:
        faults.extend(_describe_flatness(image))
    return ImageDescription(
        shape=tuple(image.shape),
        dtype=str(image.dtype),
        entropy_bits=compute_entropy_bits(image) if is_bytes else None,
        faults=tuple(faults),
    )


def _describe_flatness(image: NDArray[np.uint8]) -> list[str]:
    highest, lowest = _reduce_to_channels(image, np.max), _reduce_to_channels(image, np.min)
    span = max(int(high) - int(low) for high, low in zip(highest, lowest, strict=True))
    if span > FLAT_RANGE_LEVELS:
        return []
    brightest = int(highest.max())
    if brightest <= BLACK_LEVEL:
        return [f"black frame: no value above {brightest} of 255"]
    return [f"flat frame: no channel spans more than {span} of 255 levels"]


def _reduce_to_channels(
    image: NDArray[np.uint8], reduce: Callable[..., NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the extreme of each channel, ``(3,) uint8``.

    Rows are reduced before columns: numpy then works along whole rows, about a hundred times as
    fast as along pixels of three values each.
    """
    rows = reduce(image.reshape(image.shape[0], -1), axis=0)
    return reduce(rows.reshape(-1, 3), axis=0)
