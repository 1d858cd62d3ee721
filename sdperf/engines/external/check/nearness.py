"""How near a program's pictures are to those that they start from. Pure.

Distances are compared with distances, and none with zero: what goes through latents comes back with
losses. Each comparison is of one region of one picture, drawn in two ways, so that a region that is
harder to draw than another one decides nothing.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdperf.engines.external.protocol import GivenPicture

MOST_OF_OTHER: Final = 0.9
"""The distance from the picture that was given, over that from another one, at most."""

MOST_KEPT: Final = 0.9
"""The distance of a region that is to be kept, over that of the same one drawn again, at most."""

MOST_OF_STRONGER: Final = 0.95
"""The distance at a low strength, over that at a high one, at most."""

_WHITE: Final = 128


@dataclass(frozen=True)
class StartedPicture:
    """A picture that came, and what it was drawn from.

    Attributes:
        start: Name of the picture that it started from.
        mask: Name of the mask; empty is none.
        strength: What was asked for; ``None`` where it cannot be told.
        given: What the program was sent.
        pixels: What came, height x width x 3.
    """

    start: str
    mask: str
    strength: float | None
    given: GivenPicture
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Nearness:
    """Two distances of which one should be the smaller one, root mean squares of 8-bit values.

    Attributes:
        words: What was compared, for messages: ends where the two figures follow.
        near: The distance that should be smaller.
        far: The other one.
        most: ``near`` over ``far``, at most.
    """

    words: str
    near: float
    far: float
    most: float

    @property
    def is_kept(self) -> bool:
        """Whether the one is nearer."""
        return self.near <= self.most * self.far and self.far > 0


def compare_nearness(drawn: Sequence[StartedPicture]) -> list[Nearness]:
    """Compare what came with what it was drawn from.

    Args:
        drawn: The pictures, each in the size of what it was drawn from; any two that differ in one
            thing only are compared.

    Returns:
        Two starts: each picture is nearer to its own, where it was drawn again. Two masks: a region
        is nearer to the original where it is kept. Two strengths: the lower one is nearer.
    """
    starts, masks, strengths = [], [], []
    for one, other in itertools.combinations(drawn, 2):
        is_same = (
            one.start == other.start,
            one.mask == other.mask,
            one.strength == other.strength,
        )
        if is_same == (False, True, True):
            starts.append(_compare_starts(one, other))
        elif is_same == (True, False, True):
            masks += _compare_masks(one, other)
        elif is_same == (True, True, False):
            strengths.append(_compare_strengths(one, other))
    return [*starts, *masks, *strengths]


def _compare_starts(one: StartedPicture, other: StartedPicture) -> Nearness:
    region = _read_region(one)
    own = math.hypot(_measure(one, one, region), _measure(other, other, region))
    crossed = math.hypot(_measure(one, other, region), _measure(other, one, region))
    words = f"the pictures from {one.start} and from {other.start} are no nearer to their own"
    return Nearness(f"{words} than to the other one", own, crossed, MOST_OF_OTHER)


def _compare_masks(one: StartedPicture, other: StartedPicture) -> list[Nearness]:
    """Compare each region that one mask keeps and the other one has drawn again."""
    found = []
    for keeping, drawing in ((one, other), (other, one)):
        region = ~_read_region(keeping) & _read_region(drawing)
        if region.any():
            words = f"{keeping.start} outside of {keeping.mask}, which the mask keeps, is no nearer"
            words += " to the original than drawn again"
            kept, again = _measure(keeping, keeping, region), _measure(drawing, drawing, region)
            found.append(Nearness(words, kept, again, MOST_KEPT))
    return found


def _compare_strengths(one: StartedPicture, other: StartedPicture) -> Nearness:
    weak, strong = sorted((one, other), key=lambda drawn: drawn.strength or 0.0)
    region = _read_region(one)
    words = f"{weak.start} at strength {weak.strength:g} is no nearer to the original than at"
    distances = _measure(weak, weak, region), _measure(strong, strong, region)
    return Nearness(f"{words} {strong.strength:g}", *distances, MOST_OF_STRONGER)


def _read_region(drawn: StartedPicture) -> NDArray[np.bool_]:
    """Read where a picture is to be drawn again, height x width."""
    if drawn.given.mask is None:
        return np.ones(drawn.pixels.shape[:2], dtype=bool)
    with Image.open(io.BytesIO(drawn.given.mask)) as mask:
        return np.asarray(mask.convert("L")) >= _WHITE


def _measure(drawn: StartedPicture, start: StartedPicture, region: NDArray[np.bool_]) -> float:
    """Measure how far a picture is from a start in a region."""
    with Image.open(io.BytesIO(start.given.picture)) as image:
        original = np.asarray(image.convert("RGB"), dtype=np.float64)
    away = drawn.pixels[region].astype(np.float64) - original[region]
    return float(np.sqrt(np.mean(away**2)))
