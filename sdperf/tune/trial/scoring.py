"""Scores the images of a setting against the reference. Pure."""

from __future__ import annotations

import base64
import io
import statistics
from collections.abc import Sequence
from typing import Final

from PIL import Image

from sdperf.images import compare_images, compute_entropy_bits, describe_image, map_on_all_cores
from sdperf.images.png import decode_png
from sdperf.run.messages import DeliveredImage
from sdperf.tune.question.question import Fidelity

THUMBNAIL_PX: Final = 128
_QUALITY: Final = 80


def find_faults(images: Sequence[DeliveredImage]) -> list[str]:
    """Return the hard faults of images, each once.

    These are NaN or infinity, black or flat frames, and other work than was requested.
    """
    faults = []
    for image in images:
        if image.nonfinite:
            faults.append("NaN or infinity among the pixel values")
        faults += image.faults
        faults += describe_image(decode_png(image.png)).faults
    return list(dict.fromkeys(faults))


def score_images(references: Sequence[bytes], images: Sequence[DeliveredImage]) -> Fidelity:
    """Compare images with their references, in order.

    The scores of some images bound those of all: more images can only lower the worst score.

    Args:
        references: PNG bytes, one or more.
        images: The same number of images, of the same shapes.

    Raises:
        ImageError: The shapes differ, or a file is not an image.
    """
    pairs = [
        (decode_png(reference), decode_png(image.png))
        for reference, image in zip(references, images, strict=True)
    ]
    largest = max(reference.shape[0] * reference.shape[1] for reference, _ in pairs)
    compared = map_on_all_cores(lambda pair: compare_images(*pair), pairs, pixels=largest)
    psnrs = [one.psnr_db for one in compared if one.psnr_db is not None]
    return Fidelity(
        ssim=min(one.ssim for one in compared),
        mean_ssim=statistics.fmean(one.ssim for one in compared),
        worst_tile_ssim=min(one.worst_tile.ssim for one in compared),
        psnr_db=min(psnrs, default=None),
        entropy_drop_bits=max(
            compute_entropy_bits(reference) - compute_entropy_bits(image)
            for reference, image in pairs
        ),
    )


def make_thumbnail(png: bytes) -> str:
    """Return an image as base64 of a small WebP, which a study keeps."""
    picture = Image.fromarray(decode_png(png))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=_QUALITY, method=4)
    return base64.b64encode(buffer.getvalue()).decode()
