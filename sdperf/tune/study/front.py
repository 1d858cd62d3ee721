"""Seconds and likeness: domination, the Pareto front, and its hypervolume. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """The seconds and the likeness of a setting.

    Attributes:
        seconds: Seconds per image; less is better.
        ssim: Likeness to the reference; more is better.
    """

    seconds: float
    ssim: float

    def dominates(self, other: Point) -> bool:
        """Tell whether this point is as good in both and better in one."""
        as_good = self.seconds <= other.seconds and self.ssim >= other.ssim
        return as_good and (self.seconds < other.seconds or self.ssim > other.ssim)


def find_front(points: Sequence[Point]) -> list[int]:
    """Return the positions of the points that no other point dominates, the fastest first.

    Of equal points only the first one is returned.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at].seconds, -points[at].ssim, at))
    front: list[int] = []
    for at in order:
        if not front or points[at].ssim > points[front[-1]].ssim:
            front.append(at)
    return front


def compute_hypervolume(points: Iterable[Point], reference: Point) -> float:
    """Compute the area between points and a reference point that is worse than all of them.

    Args:
        points: Points in any order, dominated ones included.
        reference: The worst seconds and likeness; points beyond it add nothing.

    Returns:
        Seconds times SSIM; 0 where no point is better than the reference in both.

    Source: Zitzler and Thiele (1998), in two dimensions a sum of rectangles.
    """
    inside = [
        point
        for point in points
        if point.seconds < reference.seconds and point.ssim > reference.ssim
    ]
    area, ssim = 0.0, reference.ssim
    for at in find_front(inside):
        area += (reference.seconds - inside[at].seconds) * (inside[at].ssim - ssim)
        ssim = inside[at].ssim
    return area


def find_rival_s(points: Iterable[Point], ssim: float) -> float | None:
    """Return the fewest seconds of points with at least this likeness; ``None`` without one."""
    return min((point.seconds for point in points if point.ssim >= ssim), default=None)
