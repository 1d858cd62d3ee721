"""Defines what an image is, with the one message for arrays that are not images."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sdperf.errors import ImageError

Image: TypeAlias = NDArray[np.uint8]
"""``(H, W, 3) uint8``, range 0 to 255, RGB."""


def require_image(image: NDArray[Any], name: str = "the image") -> None:
    """Refuse anything but a non-empty ``(H, W, 3) uint8`` array.

    Raises:
        ImageError: Another shape or dtype, or no pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            f"{name} cannot be scored",
            got=f"{image.dtype} array of shape {image.shape}",
            expected="uint8 array of shape (height, width, 3)",
        )


def require_same_shape(baseline: NDArray[Any], current: NDArray[Any]) -> None:
    """Refuse two images that cannot be compared with each other.

    Raises:
        ImageError: One is not an image, or the shapes differ.
    """
    require_image(baseline, "the baseline image")
    require_image(current, "the current image")
    if baseline.shape != current.shape:
        raise ImageError(
            "the images differ in size and cannot be compared",
            got=f"{current.shape[1]} x {current.shape[0]} px",
            expected=f"{baseline.shape[1]} x {baseline.shape[0]} px, as the other image",
            hint="generate both with the same width and height",
        )


def compute_grey_levels(image: Image) -> Image:
    """Reduce an image to its luma, rounded to whole levels.

    Args:
        image: ``(H, W, 3) uint8``.

    Returns:
        ``(H, W) uint8``.

    Source: ITU-R BT.601 luma, 0.299 R + 0.587 G + 0.114 B, as Pillow's ``convert("L")``.
    """
    luma: NDArray[np.float64] = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return np.rint(luma).clip(0, 255).astype(np.uint8)
