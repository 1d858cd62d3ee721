"""Compares a session's images with their references; each is examined and scored once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdperf.images import require_same_shape
from sdperf.images.png import decode_png
from sdperf.record.measurement import ImageRecord
from sdperf.record.workload import ImageRequest, name_sync
from sdperf.run.messages import DeliveredImage
from sdperf.run.pictures.references import fetch_plain
from sdperf.run.pictures.scoring import Other

if TYPE_CHECKING:
    from sdperf.run.suite import Suite


def record_images(
    suite: Suite,
    made: Sequence[tuple[ImageRequest, DeliveredImage]],
    *,
    is_external: bool = False,
) -> list[ImageRecord]:
    """Examine delivered images for hard faults, entropy and scores, on all cores.

    Each is compared with this run's image of the plain reference and with the shipped reference.

    Args:
        suite: The suite that drew the pictures.
        made: Each request with its delivered image.
        is_external: Whether an external program drew them. It has another model and other noise, so
            its pictures are compared with its own earlier ones only.
    """
    wanted = [(one.png, [] if is_external else _list_others(suite, image)) for image, one in made]
    with suite.pool.ledger.spend("comparing"):
        examined = suite.images.scores.examine(wanted)
    return [
        seen.make_record(image, delivered)
        for (image, delivered), seen in zip(made, examined, strict=True)
    ]


def _list_others(suite: Suite, image: ImageRequest) -> list[Other]:
    """List the images that an image is compared with."""
    plain, others = fetch_plain(suite, image), []
    if plain is not None:
        others.append(Other.of_png(name_sync(suite.reference_precision), plain))
    known = suite.pictures_of_the_model
    reference = None if known is None else known.find(image, suite.workload)
    if reference is not None:
        others.append(Other("reference", reference.sha256, reference.read))
    return others


def add_scores(
    suite: Suite,
    records: Sequence[ImageRecord],
    others: Sequence[bytes],
    pngs: Sequence[bytes],
    *,
    against: str,
) -> list[ImageRecord]:
    """Compare images with other images of the same session; see `record_images`.

    Args:
        suite: The suite that drew the pictures.
        records: The records of the images; a score is added to each.
        others: PNG bytes of the other images, in order.
        pngs: PNG bytes of the images, in order.
        against: Name of the other images.

    Raises:
        ImageError: Two images differ in size.
    """
    pairs = [(png, [Other.of_png(against, other)]) for png, other in zip(pngs, others, strict=True)]
    with suite.pool.ledger.spend("comparing"):
        examined = suite.images.scores.examine(pairs)
    for seen, other, png in zip(examined, others, pngs, strict=True):
        if not seen.scores:
            require_same_shape(decode_png(other), decode_png(png))
    return [
        dataclasses.replace(one, scores=(*one.scores, *seen.scores))
        for one, seen in zip(records, examined, strict=True)
    ]
