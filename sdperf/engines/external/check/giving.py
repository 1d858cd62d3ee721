"""Pictures, masks and strengths that a program is tried with."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageOps

from sdperf.engines.external.protocol import GivenPicture
from sdperf.images.input_files import default_mask, default_picture, fit_picture

STRENGTH: Final = 0.3
OTHER_STRENGTH: Final = 0.9

_FEW_STEPS: Final = 4
_STRENGTH_OF_FEW_STEPS: Final = 0.5


@dataclass(frozen=True)
class NamedStart:
    """Something to start from, and its names for messages.

    Attributes:
        start: Name of the picture.
        mask: Name of the mask; empty is none.
        given: What the program is sent.
    """

    start: str
    mask: str
    given: GivenPicture


def list_given(
    accepts: Sequence[str], size: tuple[int, int] | None, strength: float = STRENGTH
) -> list[NamedStart]:
    """List what a program is to draw from: another picture, another strength, another mask.

    Each thing that it accepts is what alone tells two of them apart. The masks are compared at the
    high strength, where what is drawn again differs most from what is kept.

    Args:
        accepts: What the program can be told; ``picture`` is among it.
        size: Width and height of the pictures; ``None`` is that of the picture that ships.
        strength: Of the first, where the program takes one.
    """
    house, middle = default_picture().decode(), default_mask().decode()
    told = strength if "strength" in accepts else None
    has_mask = "mask" in accepts
    first = NamedStart(
        "a house",
        "its middle" if has_mask else "",
        GivenPicture(_fit(house, size), _fit(middle, size) if has_mask else None, told),
    )
    inverted = _fit(ImageOps.mirror(ImageOps.invert(house)), size)
    found = [
        first,
        NamedStart(
            "its mirrored negative", first.mask, GivenPicture(inverted, first.given.mask, told)
        ),
    ]
    last = GivenPicture(first.given.picture, first.given.mask, told)
    if told is not None:
        last = dataclasses.replace(last, strength=OTHER_STRENGTH)
        found.append(NamedStart(first.start, first.mask, last))
    if has_mask:
        given = dataclasses.replace(last, mask=_fit(ImageOps.invert(middle), size))
        found.append(NamedStart(first.start, "all but its middle", given))
    return found


def choose_strength(steps: int) -> float:
    """Return a low strength that leaves at least one of so many steps, as programs count."""
    return STRENGTH if steps >= _FEW_STEPS else _STRENGTH_OF_FEW_STEPS


def _fit(image: Image.Image, size: tuple[int, int] | None) -> bytes:
    fitted = fit_picture(image, *(size or image.size))
    buffer = io.BytesIO()
    fitted.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
