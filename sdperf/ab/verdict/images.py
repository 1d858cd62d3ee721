"""Compares the images of two sides with each other, where they should be similar. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from sdperf.ab.verdict.comparison import CompareOptions, ImagePair
from sdperf.judging.floors import SAME_PATH_FLOORS, choose_gain_floors
from sdperf.record.floors import Floors
from sdperf.record.workload import ImageRequest, Precision, Variant, Workload, name_engine
from sdperf.run.messages import DeliveredImage
from sdperf.run.pictures.scoring import Other, PictureScores

AGAINST: Final = "other side"
"""Name of the score that compares B's image with A's."""

Drawn = Sequence[tuple[ImageRequest, DeliveredImage]]

_NO_DROP_LIMIT_BITS: Final = 8.0


def pair_images(a: Drawn, b: Drawn, *, of_one_size: bool = False) -> tuple[ImagePair, ...]:
    """Examine both sides' images and score B's against A's, prompt by prompt.

    Images of different sizes are not scored. Where one side has more prompts, the rest of them
    have no partner and are left out.

    Args:
        a: The reference's images.
        b: What is judged.
        of_one_size: Whether both sides were asked for the same size of the same model, so that
            another size is a fault of B's image.
    """
    drawn = list(zip(a, b, strict=False))
    pictures: list[tuple[bytes, Sequence[Other]]] = [(image_a.png, ()) for (_, image_a), _ in drawn]
    pictures += [
        (image_b.png, (Other.of_png(AGAINST, image_a.png),)) for (_, image_a), (_, image_b) in drawn
    ]
    examined = PictureScores().examine(pictures)
    sides = zip(drawn, examined[: len(drawn)], examined[len(drawn) :], strict=True)
    return tuple(
        ImagePair(
            seen_a.make_record(request_a, image_a),
            seen_b.make_record(request_b, image_b, of_one_size=of_one_size),
        )
        for ((request_a, image_a), (request_b, image_b)), seen_a, seen_b in sides
    )


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Everything that decides a side's images.

    Attributes:
        workload: The workload.
        model_hash: Hash of the weights.
        variant: The variant.
    """

    workload: Workload
    model_hash: str
    variant: Variant


ANOTHER_PROGRAM: Final = (
    "another program: prompt, seed, steps, size and guidance are equal as asked; noise, scheduler, "
    "text encoder precision and weights cannot be"
)
"""The reason why pictures of two programs are not compared with floors."""


def choose_floors(
    a: Drawing,
    b: Drawing,
    options: CompareOptions,
    find_floors: Callable[[Precision], Floors | None],
) -> tuple[Floors | None, str | None]:
    """Choose the floors of B's images beside A's.

    - Floors given by the user always hold.
    - Different weights, prompts, seeds, sizes, steps, guidance or scheduler draw different
      pictures on purpose: nothing is compared with the other.
    - Another external program: there are no floors; the same program in two environments: the
      floors of one path.
    - Other optimisations or another engine: their floors beside the plain pipeline.
    - One precision on both sides: the floors of one path (`SAME_PATH_FLOORS`).
    - fp32 against 16 bits: the floors that were measured for the model in that precision.

    Args:
        a: The reference.
        b: The side that is judged.
        options: The options, which may have the user's floors.
        find_floors: Returns the measured floors of a precision.

    Returns:
        The floors, or ``None`` with the reason.
    """
    if options.min_ssim is not None or options.min_tile_ssim is not None:
        return _given_floors(options), None
    is_external = a.variant.is_external or b.variant.is_external
    if is_external and name_engine(a.variant.engine) != name_engine(b.variant.engine):
        return None, ANOTHER_PROGRAM
    changed = list_differences(a, b)
    if changed:
        return None, f"other {', '.join(changed)}"
    if is_external:
        if a.variant.precision == b.variant.precision:
            return SAME_PATH_FLOORS, None
        return None, "no floors were measured for a program of yours; --min-ssim sets one"
    if (a.variant.optimisations, a.variant.engine) != (b.variant.optimisations, b.variant.engine):
        pairs = ((b.variant, a.variant), (a.variant, b.variant))
        return min((choose_gain_floors(*pair) for pair in pairs), key=lambda one: one.ssim), None
    precisions = {a.variant.precision, b.variant.precision}
    if len(precisions) == 1:
        return SAME_PATH_FLOORS, None
    reduced = sorted(precisions - {"fp32"})
    if len(reduced) > 1:
        return None, f"no floors between {' and '.join(reduced)}; --min-ssim sets one"
    floors = find_floors(reduced[0])
    if floors is None:
        return None, f"no floors were measured for this model in {reduced[0]}"
    return dataclasses.replace(floors, components={}, trajectory_rms=None, pairs=()), None


def list_differences(a: Drawing, b: Drawing) -> list[str]:
    """Name the settings by which two sides draw different pictures on purpose."""
    changed = ["weights"] if a.model_hash != b.model_hash else []
    for item in dataclasses.fields(Workload):
        if item.name == "model":
            continue
        if getattr(a.workload, item.name) != getattr(b.workload, item.name):
            changed.append(item.name.replace("num_inference_", "").replace("_", " "))
    return changed


def _given_floors(options: CompareOptions) -> Floors:
    return Floors(
        ssim=-1.0 if options.min_ssim is None else options.min_ssim,
        worst_tile_ssim=-1.0 if options.min_tile_ssim is None else options.min_tile_ssim,
        entropy_drop_bits=_NO_DROP_LIMIT_BITS,
        evidence="given on the command line",
    )
