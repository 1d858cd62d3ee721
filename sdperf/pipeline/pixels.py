"""Converts a pipeline's pixels to bytes, and counts values that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def to_uint8(pixels: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Round pixels to bytes exactly as diffusers does for PIL images; safe on any thread.

    Args:
        pixels: (B, H, W, 3) float in [0, 1]. A NaN has no defined byte: `count_nonfinite` finds
            it, this function does not.

    Returns:
        (B, H, W, 3) uint8, C-contiguous.

    Source: `VaeImageProcessor.numpy_to_pil` of diffusers 0.42.1.
    """
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray((pixels * 255).round().astype(np.uint8))


def count_nonfinite(values: Any) -> int:
    """Count NaN and infinite values; waits for the device that holds them.

    A uint8 image cannot show them, so latents (or the float pixels of a whole call) are checked.

    Args:
        values: A float tensor or array of any shape.
    """
    if isinstance(values, np.ndarray):
        return int(values.size - np.isfinite(values).sum())
    return int(values.numel() - values.isfinite().sum().item())
