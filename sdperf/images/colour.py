"""Computes how far two images are apart in visible colour: CIEDE2000, whole and worst tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sdperf.images.image_array import Image, require_same_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute_ciede2000_map(baseline: Image, current: Image) -> NDArray[np.float64]:
    """Compute the colour difference of each pixel; 0 where the pixels are equal.

    About 1 is the smallest difference that an eye can see between two patches side by side. SSIM
    hardly shows a shift of all colours, and this hardly shows lost detail: both are needed.

    Args:
        baseline: ``(H, W, 3) uint8``, sRGB.
        current: The same shape.

    Returns:
        ``(H, W) float64``, 0 or more.

    Raises:
        ImageError: The shapes differ or one is not an image.

    Source: CIE 142-2001 (CIEDE2000, all weights 1) of D65 L*a*b*, through
        ``skimage.color.deltaE_ciede2000``; only pixels that differ are computed.
    """
    require_same_shape(baseline, current)
    differences = np.zeros(baseline.shape[:2], dtype=np.float64)
    differ = (baseline != current).any(axis=2)
    if differ.any():
        from skimage.color import deltaE_ciede2000, rgb2lab

        before, after = (rgb2lab(image[differ]) for image in (baseline, current))
        differences[differ] = deltaE_ciede2000(before, after)  # type: ignore[no-untyped-call]
    return differences
