"""A component's output in a few bytes: they tell whether, and how far, another run differs.

Arrays of every step of every picture would be megabytes per session. A hash tells whether two runs
gave the same values. A sketch (a count sketch: each value is added to one of a few sums, with a
sign) tells roughly how far apart they are, without the arrays.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.errors import RecordError
from sdperf.units import format_quantity, format_shape

SUMS: Final = 16
"""How many sums a sketch has: a distance read from two sketches has a standard error of 18 %."""

HASH_DIGITS: Final = 16
"""How many hexadecimal digits of SHA-256 are kept: equal by chance once in 1.8e19."""

_SKETCH: Final = struct.Struct(f"<{SUMS}f")


def pack_sketch(sums: Sequence[float]) -> str:
    """Pack `SUMS` finite sums in their stored form."""
    return base64.b64encode(_SKETCH.pack(*sums)).decode()


@dataclass(frozen=True)
class OutputImprint:
    """The imprint of one output of a component.

    Attributes:
        hash: First digits of the SHA-256 of its values as float32.
        shape: Its shape, batch first.
        sketch: 16 sums of its values as little-endian float32 in Base64; ``None`` where it holds
            NaN or infinity.
    """

    hash: str
    shape: tuple[int, ...]
    sketch: str | None

    def __post_init__(self) -> None:
        if self.sketch is not None:
            _read_sketch(self.sketch)


@dataclass(frozen=True)
class PictureImprint:
    """Imprints of the values between the components of one picture, drawn in a separate round.

    Attributes:
        prompt: Its prompt.
        seed: Seed of its starting noise.
        text: Outputs of text encoding, by their place in the result of ``encode_prompt``.
        denoiser: Output of each call of the denoiser, in order.
        latents: The latents after each step; empty where the pipeline does not show them.
        pixels: The picture before it is rounded to 8 bits.
    """

    prompt: str
    seed: int
    text: Mapping[str, OutputImprint]
    denoiser: tuple[OutputImprint, ...]
    latents: tuple[OutputImprint, ...]
    pixels: OutputImprint


@dataclass(frozen=True)
class Parting:
    """Where two runs of one picture give different values for the first time.

    Everything before is equal, so the named component had equal inputs in both runs.

    Attributes:
        component: ``text encoder``, ``denoiser``, ``scheduler`` or ``vae``.
        step: Step, 0 first; ``None`` for a component that is not called in steps.
        relative_rms: Estimated distance of the two there; ``None`` where that is unknown.
        farthest_rms: The largest distance of the latents after any step; ``None`` where unknown and
            where latents hold NaN or infinity in one run.
        farthest_step: That step, 0 first.
        is_finite: Whether neither run's latents hold NaN or infinity.
        mismatch: The different numbers of steps or shapes, in words; ``None`` where they agree.
    """

    component: str
    step: int | None
    relative_rms: float | None
    farthest_rms: float | None = None
    farthest_step: int | None = None
    is_finite: bool = True
    mismatch: str | None = None


def estimate_relative_rms(before: OutputImprint, after: OutputImprint) -> float | None:
    """Estimate how far two outputs are apart, from their sketches.

    Returns:
        Root mean square of the difference over that of the two together, in [0, 2]; ``None`` where
        the shapes differ or one output is not finite. Equal hashes give exactly 0.

    Source: Charikar, Chen and Farach-Colton (2002), Finding frequent items in data streams; the
        variance of the squared distance is 2/`SUMS` of its square at most.
    """
    if before.hash == after.hash and before.shape == after.shape:
        return 0.0
    if before.shape != after.shape or before.sketch is None or after.sketch is None:
        return None
    a, b = _read_sketch(before.sketch), _read_sketch(after.sketch)
    together = math.sqrt((math.hypot(*a) ** 2 + math.hypot(*b) ** 2) / 2)
    return min(2.0, math.dist(a, b) / together) if together else None


def find_parting(before: PictureImprint, after: PictureImprint) -> Parting | None:
    """Find where two runs of one picture begin to differ; ``None`` where common outputs are equal.

    Args:
        before: Imprints of the baseline.
        after: Imprints of the current run, of the same prompt and seed.
    """
    mismatch = _explain_mismatch(before, after)
    for component, step, one, other in _list_in_order(before, after):
        if one != other:
            farthest, rms, is_finite = _find_farthest(before, after)
            apart = estimate_relative_rms(one, other)
            return Parting(component, step, apart, rms, farthest, is_finite, mismatch)
    return None if mismatch is None else Parting("scheduler", None, None, mismatch=mismatch)


def _list_in_order(
    before: PictureImprint, after: PictureImprint
) -> list[tuple[str, int | None, OutputImprint, OutputImprint]]:
    """List the outputs that both runs show, in the order in which they were made."""
    listed: list[tuple[str, int | None, OutputImprint, OutputImprint]] = [
        ("text encoder", None, one, after.text[name])
        for name, one in before.text.items()
        if name in after.text
    ]
    steps = min(len(before.latents), len(after.latents)) or min(
        len(before.denoiser), len(after.denoiser)
    )
    calls = min(_count_calls(before), _count_calls(after))
    for step in range(steps):
        of_step = slice(step * calls, (step + 1) * calls)
        pairs = zip(before.denoiser[of_step], after.denoiser[of_step], strict=False)
        listed += [("denoiser", step, one, other) for one, other in pairs]
        pairs = zip(before.latents[step : step + 1], after.latents[step : step + 1], strict=False)
        listed += [("scheduler", step, one, other) for one, other in pairs]
    return [*listed, ("vae", None, before.pixels, after.pixels)]


def _count_calls(one: PictureImprint) -> int:
    """Count the calls of the denoiser in a step; some pipelines guide by calling twice."""
    return max(1, round(len(one.denoiser) / len(one.latents))) if one.latents else 1


def _find_farthest(
    before: PictureImprint, after: PictureImprint
) -> tuple[int | None, float | None, bool]:
    farthest: tuple[int | None, float | None] = (None, None)
    for step, (one, other) in enumerate(zip(before.latents, after.latents, strict=False)):
        if one.shape != other.shape:
            continue
        rms = estimate_relative_rms(one, other)
        if rms is None:
            return step, None, False
        if farthest[1] is None or rms > farthest[1]:
            farthest = (step, rms)
    return *farthest, True


def _explain_mismatch(before: PictureImprint, after: PictureImprint) -> str | None:
    steps = (len(before.latents), len(after.latents))
    if all(steps) and steps[0] != steps[1]:
        return f"{format_quantity(steps[0], 'step')} in the baseline, {steps[1]} now"
    for what, one, other in (
        ("latents", before.latents[:1], after.latents[:1]),
        ("pixels", (before.pixels,), (after.pixels,)),
    ):
        if one and other and one[0].shape != other[0].shape:
            then, now = format_shape(one[0].shape), format_shape(other[0].shape)
            return f"{what} of {then} in the baseline, of {now} now"
    return None


def _read_sketch(text: str) -> tuple[float, ...]:
    """Read a sketch.

    Raises:
        RecordError: The text is not a sketch.
    """
    try:
        sums = _SKETCH.unpack(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, struct.error) as error:
        raise RecordError("a sketch cannot be read", got=str(error)) from error
    if not all(map(math.isfinite, sums)):
        raise RecordError("a sketch cannot be read", expected=f"{SUMS} finite numbers")
    return sums
