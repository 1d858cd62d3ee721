"""The scores of one picture compared with another, as stored in the record. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdperf.images import compare_images
from sdperf.record.measurement import ImageScores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def compute_scores(
    against: str, sha256: str, baseline: NDArray[np.uint8], current: NDArray[np.uint8]
) -> ImageScores:
    """Score an image against another of the same shape, as stored in the record.

    Args:
        against: Name of the other image.
        sha256: The other image's content hash.
        baseline: (H, W, 3) uint8.
        current: The same shape.
    """
    compared = compare_images(baseline, current)
    return ImageScores(
        against=against,
        against_sha256=sha256,
        ssim=compared.ssim,
        psnr_db=compared.psnr_db,
        worst_tile_ssim=compared.worst_tile.ssim,
        worst_tile_box=compared.worst_tile.box,
        identical=compared.identical,
        worst_tile_psnr_db=compared.worst_tile.psnr_db,
        ciede2000=compared.ciede2000,
        worst_tile_ciede2000=compared.worst_tile_ciede2000,
    )
