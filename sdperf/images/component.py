"""Computes how far a component's output is from another precision's or device's (L2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdperf.errors import ImageError


@dataclass(frozen=True)
class ComponentDistance:
    """Distance between two outputs of one component.

    Attributes:
        component: ``text encoder``, ``picture encoder``, ``denoiser`` or ``vae``, whose floor
            applies.
        output: The name of the output, such as ``prompt_embeds`` or ``step 10 of 20``.
        psnr_db: Peak signal-to-noise ratio; ``None`` when identical or not finite.
        cosine: Cosine of the angle between the two, in [-1, 1]; ``None`` when not finite.
        nonfinite: Number of NaN or infinite values in the current output.
        identical: Whether all values are equal.
        rounding_db: PSNR in dB between the current output and one with a time step that is one
            rounding of the number format away; ``None`` where that was not tried.
    """

    component: str
    output: str
    psnr_db: float | None
    cosine: float | None
    nonfinite: int
    identical: bool
    rounding_db: float | None = None


def compute_component_distance(
    component: str,
    output: str,
    baseline: NDArray[Any],
    current: NDArray[Any],
    *,
    peak: float | None = None,
) -> ComponentDistance:
    """Compute how far two outputs of one component are apart.

    Args:
        component: The component, whose floor applies.
        output: The name of the output.
        baseline: Float array of any shape, finite.
        current: The same shape.
        peak: Largest possible value; ``None`` takes the largest magnitude in the baseline, as
            for outputs without a scale. Such a PSNR is not comparable with that of images.

    Raises:
        ImageError: The shapes differ or the baseline is not finite.

    Source: PSNR 20 log10(peak / RMSE); with the data's own peak as in Apple's
        ml-stable-diffusion tests. Cosine through |u - v|^2 / 2 of the unit vectors.
    """
    if baseline.shape != current.shape:
        raise ImageError(
            f"the {component}'s {output} differs in shape",
            got=current.shape,
            expected=f"{baseline.shape}, as in fp32",
        )
    before = baseline.astype(np.float64).ravel()
    after = current.astype(np.float64).ravel()
    if not np.isfinite(before).all():
        raise ImageError(
            f"the {component}'s {output} in fp32 holds NaN or infinity",
            hint="the reference itself is broken: look at the fp32 cases first",
        )
    nonfinite = int(np.count_nonzero(~np.isfinite(after)))
    if nonfinite:
        return ComponentDistance(component, output, None, None, nonfinite, identical=False)
    if np.array_equal(before, after):
        return ComponentDistance(component, output, None, 1.0, 0, identical=True)
    # Scaling first keeps the squares of large finite numbers finite.
    scale = max(float(np.abs(before).max()), float(np.abs(after).max()))
    top = float(np.abs(before).max()) if peak is None else peak
    rmse = scale * math.sqrt(float(np.mean((before / scale - after / scale) ** 2)))
    psnr_db = 20 * math.log10(top / rmse) if top > 0 and rmse > 0 else 0.0
    return ComponentDistance(
        component, output, psnr_db, _compute_cosine(before / scale, after / scale), 0, False
    )


def _compute_cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if norm_a == 0 or norm_b == 0:
        return 0.0
    return 1 - float(np.sum((a / norm_a - b / norm_b) ** 2)) / 2
