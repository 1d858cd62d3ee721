"""Computes at which denoising step two runs of the same seed begin to differ (L3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdperf.errors import ImageError
from sdperf.units import format_quantity


@dataclass(frozen=True)
class TrajectoryDistance:
    """Distance between two latent trajectories after each step.

    Attributes:
        cosine_distances: Per step, 1 - cosine of the angle between the latents, in [0, 2];
            ``None`` from the first step with NaN or infinite latents on.
        relative_rms: Per step, the root mean square of the difference over that of the two latents
            together, in [0, 2]; ``None`` where ``cosine_distances`` is.
        first_non_finite_step: First step (0-based) with NaN or infinite latents in either run.
    """

    cosine_distances: tuple[float | None, ...]
    relative_rms: tuple[float | None, ...]
    first_non_finite_step: int | None

    def first_step_above(self, relative_rms: float) -> int | None:
        """Return the first step (0-based) farther apart than the tolerance, a hint for bisecting.

        A step with non-finite latents counts as above every tolerance.
        """
        return next(
            (
                step
                for step, distance in enumerate(self.relative_rms)
                if distance is None or distance > relative_rms
            ),
            None,
        )


def compute_trajectory_distance(
    baseline: Sequence[NDArray[Any]], current: Sequence[NDArray[Any]]
) -> TrajectoryDistance:
    """Compute how far two runs' latents are apart after each denoising step.

    Same seed, same scheduler and same starting noise are assumed. Distances grow along the steps
    even for legal changes (denoising is chaotic), so the first differing step tells more than the
    last distance.

    Args:
        baseline: Per step, latents ``(B, C, H, W) float`` (any shape, the same in both runs).
        current: The same number of steps, of the same shapes.

    Returns:
        Distances per step, symmetric in the two runs.

    Raises:
        ImageError: The numbers of steps or the shapes of a step differ.

    Source: cosine distance |u - v|^2 / 2 of the unit vectors u and v, which keeps its digits for
        close latents; relative RMS |a - b| / sqrt((|a|^2 + |b|^2) / 2).
    """
    if len(baseline) != len(current):
        raise ImageError(
            "the latent trajectories differ in their number of steps",
            got=format_quantity(len(current), "step"),
            expected=f"{format_quantity(len(baseline), 'step')}, as the baseline",
        )
    cosine_distances: list[float | None] = []
    relative_rms: list[float | None] = []
    first_non_finite_step = None
    for step, (before, after) in enumerate(zip(baseline, current, strict=True)):
        if before.shape != after.shape:
            raise ImageError(
                f"the latents of step {step} differ in shape",
                got=after.shape,
                expected=f"{before.shape}, as the baseline",
            )
        if first_non_finite_step is None and not (
            np.isfinite(before).all() and np.isfinite(after).all()
        ):
            first_non_finite_step = step
        if first_non_finite_step is None:
            cosine, rms = _compute_distances(before, after)
            cosine_distances.append(cosine)
            relative_rms.append(rms)
        else:
            cosine_distances.append(None)
            relative_rms.append(None)
    return TrajectoryDistance(tuple(cosine_distances), tuple(relative_rms), first_non_finite_step)


def _compute_distances(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float]:
    a = before.astype(np.float64).ravel()
    b = after.astype(np.float64).ravel()
    largest = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    if largest == 0:
        return 0.0, 0.0
    a, b = a / largest, b / largest
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    rms = float(np.linalg.norm(a - b)) / ((norm_a**2 + norm_b**2) / 2) ** 0.5
    if norm_a == 0 or norm_b == 0:
        return 1.0, rms
    return float(np.sum((a / norm_a - b / norm_b) ** 2)) / 2, rms
