"""Draws the picture of the difference of two images."""

from __future__ import annotations

from typing import Final

import numpy as np

from sdperf.images.image_array import Image, require_same_shape

DEFAULT_GAIN: Final = 8.0
"""Factor on the difference: with 8, a difference of 32 of 255 levels is fully bright."""


def difference_image(baseline: Image, current: Image, *, gain: float = DEFAULT_GAIN) -> Image:
    """Draw the absolute difference of two images, amplified so that small damage can be seen.

    Args:
        baseline: ``(H, W, 3) uint8``.
        current: The same shape.
        gain: Factor on the difference; results above 255 are cut off.

    Returns:
        ``(H, W, 3) uint8``; black where the images are equal.

    Raises:
        ImageError: The shapes differ or one is not an image.
    """
    require_same_shape(baseline, current)
    difference = np.abs(baseline.astype(np.float64) - current.astype(np.float64))
    return np.rint(difference * gain).clip(0, 255).astype(np.uint8)
