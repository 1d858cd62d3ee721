"""Computes the entropy of the grey levels, which shows flat frames and lost detail only."""

from __future__ import annotations

import numpy as np

from sdperf.images.image_array import Image, compute_grey_levels, require_image


def compute_entropy_bits(image: Image) -> float:
    """Compute the Shannon entropy of an image's grey-level histogram.

    It shows flat frames and losses of detail. It does not depend on the places of pixels: shuffled
    pixels score the same, and noise scores higher than the picture that it destroyed.

    Args:
        image: ``(H, W, 3) uint8``.

    Returns:
        Bits per pixel in [0, 8]; 0 is a flat frame.

    Raises:
        ImageError: Not a ``(H, W, 3) uint8`` array.

    Source: Shannon (1948), H = -sum p log2 p; as ``skimage.measure.shannon_entropy``,
        which sorts the pixels to count them.
    """
    require_image(image)
    counts = np.bincount(compute_grey_levels(image).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, float(-np.sum(shares * np.log2(shares))))
