"""How far one image is from another: SSIM, PSNR and colour, whole frame and worst tile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdperf.errors import ImageError
from sdperf.images.colour import compute_ciede2000_map
from sdperf.images.image_array import Image, require_same_shape

SSIM_SIGMA_PX: Final = 1.5
SSIM_WINDOW_PX: Final = 11
"""Window of the Gaussian weights: 3.5 sigma to each side, as in Wang et al. (2004)."""

SMALLEST_TILE_PX: Final = 16
LARGEST_TILE_PX: Final = 64


@dataclass(frozen=True)
class WorstTile:
    """The tile of lowest SSIM; among equal tiles, that of lowest PSNR, then the first.

    Attributes:
        row: Row of the tile, 0 at the top.
        column: Column of the tile, 0 at the left.
        box: (left, top, right, bottom) in pixels; right and bottom are exclusive.
        ssim: Mean of the SSIM map over the tile, in [-1, 1].
        psnr_db: PSNR of the tile; ``None`` when its pixels are identical.
    """

    row: int
    column: int
    box: tuple[int, int, int, int]
    ssim: float
    psnr_db: float | None


@dataclass(frozen=True)
class ImageComparison:
    """How far the current image is from the baseline. Says nothing about which one is better.

    An infinite PSNR does not exist here, nor in JSON: identical pixels are ``psnr_db=None`` with
    ``identical=True``.

    Attributes:
        ssim: Mean structural similarity, in [-1, 1]; 1 for identical images.
        psnr_db: Peak signal-to-noise ratio; ``None`` exactly when the images are identical.
        worst_tile: The most damaged tile.
        tile_edge_px: Edge of the square tiles.
        identical: Whether all pixels are equal.
        ciede2000: Mean colour difference; 0 for identical images.
        worst_tile_ciede2000: The largest mean colour difference of any tile, which need not be
            the tile of lowest SSIM.
    """

    ssim: float
    psnr_db: float | None
    worst_tile: WorstTile
    tile_edge_px: int
    identical: bool
    ciede2000: float
    worst_tile_ciede2000: float


def compare_images(baseline: Image, current: Image) -> ImageComparison:
    """Compare two images as a whole and tile by tile.

    The mean over the whole frame is blind to local damage: in a 512 x 512 px photo one black
    64 x 64 px tile leaves SSIM at 0.986 and PSNR at 28.4 dB, while the worst tile drops to 0.75
    and 13 dB. Hence both are scored.

    Args:
        baseline: ``(H, W, 3) uint8``, at least 11 px on each side.
        current: The same shape.

    Returns:
        Scores, symmetric in the two images.

    Raises:
        ImageError: The shapes differ, one is not an image, or they are too small for SSIM.
    """
    require_same_shape(baseline, current)
    _require_window(baseline)
    edge_px = compute_tile_edge_px(baseline.shape[0], baseline.shape[1])
    if np.array_equal(baseline, current):
        return _describe_identical(baseline.shape[0], baseline.shape[1], edge_px)
    ssim, ssim_map = _compute_ssim_map(baseline, current)
    colours = compute_ciede2000_map(baseline, current)
    squared_error = (baseline.astype(np.float64) - current.astype(np.float64)) ** 2
    return ImageComparison(
        ssim=ssim,
        psnr_db=_psnr_db_or_none(float(squared_error.mean())),
        worst_tile=_find_worst_tile(ssim_map, squared_error, edge_px),
        tile_edge_px=edge_px,
        identical=not squared_error.any(),
        ciede2000=float(colours.mean()),
        worst_tile_ciede2000=max(
            float(colours[window].mean()) for *_, window in _list_tiles(colours.shape, edge_px)
        ),
    )


def compute_ssim(baseline: Image, current: Image) -> float:
    """Compute the mean structural similarity, averaged over the colour channels.

    Args:
        baseline: ``(H, W, 3) uint8``, at least 11 px on each side.
        current: The same shape.

    Returns:
        Score in [-1, 1]; 1 exactly for identical images.

    Raises:
        ImageError: The shapes differ, one is not an image, or they are too small.

    Source: Wang, Bovik, Sheikh, Simoncelli (2004), Gaussian weights of sigma 1.5 px, population
        covariance, data range 255; through ``skimage.metrics.structural_similarity``.
    """
    require_same_shape(baseline, current)
    _require_window(baseline)
    return _compute_ssim_map(baseline, current)[0]


def compute_psnr_db(baseline: Image, current: Image) -> float:
    """Compute the peak signal-to-noise ratio, peak 255.

    Args:
        baseline: ``(H, W, 3) uint8``.
        current: The same shape.

    Returns:
        Decibels, 0 or more; ``inf`` for identical images (stored as ``None``, see
        `ImageComparison`).

    Raises:
        ImageError: The shapes differ or one is not an image.

    Source: 10 log10(255^2 / mean squared error), as ``skimage.metrics.peak_signal_noise_ratio``.
    """
    require_same_shape(baseline, current)
    error = np.mean((baseline.astype(np.float64) - current.astype(np.float64)) ** 2)
    psnr_db = _psnr_db_or_none(float(error))
    return math.inf if psnr_db is None else psnr_db


def compute_tile_edge_px(height: int, width: int) -> int:
    """Choose the edge of the tiles: a quarter of the shorter side, but 16 to 64 px.

    >>> compute_tile_edge_px(512, 768), compute_tile_edge_px(128, 128), compute_tile_edge_px(32, 32)
    (64, 32, 16)
    """
    return min(max(min(height, width) // 4, SMALLEST_TILE_PX), LARGEST_TILE_PX)


def _require_window(image: Image) -> None:
    if min(image.shape[:2]) < SSIM_WINDOW_PX:
        raise ImageError(
            "the images are too small for SSIM",
            got=f"{image.shape[1]} x {image.shape[0]} px",
            expected=f"at least {SSIM_WINDOW_PX} px on each side",
        )


def _describe_identical(height: int, width: int, edge_px: int) -> ImageComparison:
    """Return the scores of equal pixels without computing them: every tile scores 1."""
    box = (0, 0, min(edge_px, width), min(edge_px, height))
    first = WorstTile(row=0, column=0, box=box, ssim=1.0, psnr_db=None)
    return ImageComparison(
        1.0, None, first, edge_px, identical=True, ciede2000=0.0, worst_tile_ciede2000=0.0
    )


def _compute_ssim_map(baseline: Image, current: Image) -> tuple[float, NDArray[np.float64]]:
    """Return the mean SSIM and its map, ``(H, W, 3) float64``."""
    from skimage.metrics import structural_similarity

    ssim, ssim_map = structural_similarity(  # type: ignore[no-untyped-call]
        baseline,
        current,
        gaussian_weights=True,
        sigma=SSIM_SIGMA_PX,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    return float(ssim), ssim_map


def _find_worst_tile(
    ssim_map: NDArray[np.float64], squared_error: NDArray[np.float64], edge_px: int
) -> WorstTile:
    tiles = []
    for row, column, window in _list_tiles(ssim_map.shape, edge_px):
        rows, columns = window
        tiles.append(
            WorstTile(
                row=row,
                column=column,
                box=(columns.start, rows.start, columns.stop, rows.stop),
                ssim=float(ssim_map[window].mean()),
                psnr_db=_psnr_db_or_none(float(squared_error[window].mean())),
            )
        )
    return min(
        tiles, key=lambda tile: (tile.ssim, math.inf if tile.psnr_db is None else tile.psnr_db)
    )


def _list_tiles(
    shape: tuple[int, ...], edge_px: int
) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """List row, column and window of every tile, row by row."""
    for row, top in enumerate(_tile_starts(shape[0], edge_px)):
        for column, left in enumerate(_tile_starts(shape[1], edge_px)):
            bottom, right = min(top + edge_px, shape[0]), min(left + edge_px, shape[1])
            yield row, column, (slice(top, bottom), slice(left, right))


def _tile_starts(length_px: int, edge_px: int) -> list[int]:
    """Cut a side into whole tiles; the last one is moved back inside rather than cut short."""
    last = max(length_px - edge_px, 0)
    return [min(start, last) for start in range(0, last + edge_px, edge_px)] if last else [0]


def _psnr_db_or_none(mean_squared_error: float) -> float | None:
    return None if mean_squared_error == 0 else 10 * math.log10(255**2 / mean_squared_error)
