"""Image quality as numbers: arrays in, frozen values out; scikit-image does the arithmetic.

Images are ``(H, W, 3) uint8`` arrays. Nothing here says which of two images is *better*: every
comparison measures how far two images are apart. Importing this package loads numpy only.
"""

from sdperf.images.comparison import (
    ImageComparison,
    WorstTile,
    compare_images,
    compute_psnr_db,
    compute_ssim,
    compute_tile_edge_px,
)
from sdperf.images.component import ComponentDistance, compute_component_distance
from sdperf.images.cores import map_on_all_cores
from sdperf.images.description import ImageDescription, describe_image
from sdperf.images.difference import difference_image
from sdperf.images.entropy import compute_entropy_bits
from sdperf.images.image_array import require_same_shape
from sdperf.images.trajectory import TrajectoryDistance, compute_trajectory_distance

__all__ = [
    "ComponentDistance",
    "ImageComparison",
    "ImageDescription",
    "TrajectoryDistance",
    "WorstTile",
    "compare_images",
    "compute_component_distance",
    "compute_entropy_bits",
    "compute_psnr_db",
    "compute_ssim",
    "compute_tile_edge_px",
    "compute_trajectory_distance",
    "describe_image",
    "difference_image",
    "map_on_all_cores",
    "require_same_shape",
]
