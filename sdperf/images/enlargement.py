"""Tells whether a picture is a smaller picture that was scaled up. Pure.

Scaling up by a linear filter puts every picture into a space with as many dimensions as the smaller
picture has pixels. The part of a picture outside that space cannot have come from the filter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FACTORS: Final = (4, 3, 2)
"""Factors of scaling, the smallest space first: a picture is least likely in it by chance."""

FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

MOST_OUTSIDE: Final = 0.6
"""Largest root mean square outside the space that rounding alone explains, in levels of 255;
rounding leaves 0.29."""

LEAST_DETAIL: Final = 4.0
"""Smallest root mean square around the mean, in levels: flatter pictures tell nothing."""


def find_enlargement(pixels: NDArray[np.uint8]) -> str | None:
    """Tell from which smaller size a picture was scaled up.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        Words such as ``32 x 32 px by bilinear``; ``None`` where no factor of `FACTORS` and filter
        of `FILTERS` explains it, or where it is too flat to tell.
    """
    picture = pixels[..., 1].astype(np.float64)
    picture -= picture.mean()
    if np.sqrt(np.mean(picture**2)) < LEAST_DETAIL:
        return None
    height, width = picture.shape
    for factor in FACTORS:
        if height % factor or width % factor or min(height, width) < 4 * factor:
            continue
        for name in FILTERS:
            rows, columns = _make_basis(height, factor, name), _make_basis(width, factor, name)
            inside = rows @ (rows.T @ picture @ columns) @ columns.T
            if np.sqrt(np.mean((picture - inside) ** 2)) <= MOST_OUTSIDE:
                return f"{width // factor} x {height // factor} px by {name}"
    return None


@lru_cache(maxsize=64)
def _make_basis(length: int, factor: int, name: str) -> NDArray[np.float64]:
    """Return a basis of what a filter can make of a line: (length, length / factor)."""
    small = length // factor
    each = Image.fromarray(np.eye(small, dtype=np.float32))
    made = np.asarray(each.resize((small, length), FILTERS[name]), dtype=np.float64)
    return np.linalg.qr(made)[0]
