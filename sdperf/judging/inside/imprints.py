"""L2 and L3 against the compared sessions: where does a picture begin to differ? Pure.

Imprints tell in every comparing session which component is the first to give another output, with
equal inputs until there, and how far the latents are apart in the end. A small difference on a
machine that has been exact is reported as CHANGED. Latents farther apart than the tolerance of the
precision are a loss. Other steps and other sizes are other work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sdperf.judging.doubts.execution import OTHER_WORK_IS_MEANT
from sdperf.judging.exactness import explain_inexact, is_plain_fp32
from sdperf.judging.floors import STRICTEST_TRAJECTORY_RMS, choose_trajectory_rms
from sdperf.judging.images import name_picture
from sdperf.record.imprint import Parting, PictureImprint, find_parting
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import EXACT, SIZE, STEPS
from sdperf.units import format_quantity

GATE: Final = "imprint"

_WHERE: Final = {
    "text encoder": "the text encoder's output",
    "denoiser": "the denoiser's output",
    "scheduler": "what guidance and scheduler make of equal outputs of the denoiser",
    "vae": "what the VAE makes of equal latents",
}


def judge_imprints(current: Measurement, history: Sequence[Measurement | None]) -> Finding | None:
    """Judge where the pictures of a case begin to differ from those of the compared sessions.

    A picture is compared with the latest session that imprinted it. What any compared session gave
    is not a change: a machine that chooses between two kernels from day to day gives either.

    Args:
        current: What was just measured.
        history: The compared sessions of its case, oldest first.

    Returns:
        BROKEN (other steps or sizes, or latents that are not finite now), DEGRADED, CHANGED, or
        ``None`` where all common imprints are equal, or where another kernel could explain the
        difference.
    """
    found = [*_find_partings(current, history)]
    if not found:
        return None
    findings = [
        _judge(
            parting,
            image,
            is_exact=is_exact,
            precision=current.variant.precision,
            limit=_choose_limit(current, is_exact=is_exact),
        )
        for image, parting, is_exact in found
    ]
    told = [one for one in findings if one is not None]
    if not told:
        return None
    worst = max(told, key=lambda one: (one.outcome is Outcome.BROKEN, one.outcome.is_failure))
    count = len(current.imprints)
    also = f"; {len(found)} of {format_quantity(count, 'picture')} part" if count > 1 else ""
    return Finding(worst.outcome, worst.gate, worst.reason + also, worst.next_step)


def _find_partings(
    current: Measurement, history: Sequence[Measurement | None]
) -> Iterator[tuple[PictureImprint, Parting, bool]]:
    for image in current.imprints:
        earlier = [
            (one, explain_inexact(saved, current) is None)
            for saved in history
            if saved is not None
            for one in saved.imprints
            if (one.prompt, one.seed) == (image.prompt, image.seed)
        ]
        partings = [find_parting(one, image) for one, _ in earlier]
        if not earlier or None in partings:
            continue
        latest = partings[-1]
        assert latest is not None
        exact = [one for one, is_exact in earlier if is_exact]
        agree = len(exact) == 1 or (len(exact) > 1 and find_parting(exact[-2], exact[-1]) is None)
        yield image, latest, agree


def _choose_limit(current: Measurement, *, is_exact: bool) -> float:
    """Choose how far latents may be apart, as relative RMS; a saved run gets the same limit."""
    if is_exact and is_plain_fp32(current.variant):
        return STRICTEST_TRAJECTORY_RMS
    return choose_trajectory_rms(current.variant.precision, None)


def _judge(
    parting: Parting, image: PictureImprint, *, is_exact: bool, precision: str, limit: float
) -> Finding | None:
    name = name_picture(image)
    steps = len(image.latents) or len(image.denoiser)
    if parting.mismatch is not None:
        return Finding(
            Outcome.BROKEN,
            GATE,
            f"{name}: other work than the baseline's: {parting.mismatch}",
            f"ask for it in the workload (pytest {STEPS}, {SIZE}); {OTHER_WORK_IS_MEANT}",
        )
    first = describe_parting(parting, steps)
    if not parting.is_finite:
        return Finding(
            Outcome.BROKEN,
            GATE,
            f"{name}: the latents hold NaN or infinity where the baseline's do not, or the other "
            f"way round; {first}",
        )
    rms = parting.farthest_rms or 0.0
    if rms > limit:
        step = "" if parting.farthest_step is None else f" after step {parting.farthest_step + 1}"
        return Finding(
            Outcome.DEGRADED,
            GATE,
            f"{name}: the latents part from the baseline's: {first}; {rms:.2g} of their size "
            f"apart{step}, tolerance of {precision} here {limit:.2g}",
            f"what comes before is equal: look at {_WHERE[parting.component]} there, or, where "
            "it is meant, sdperf baseline accept --reason TEXT --intended-change",
        )
    if not is_exact:
        return None
    return Finding(
        Outcome.CHANGED,
        GATE,
        f"{name}: identical inside until now, differs since: {first}",
        f"if it is meant: sdperf baseline accept --reason TEXT; pytest {EXACT} makes it a failure",
    )


def describe_parting(parting: Parting, steps: int) -> str:
    """Say where two runs begin to differ, and by how much."""
    where = _WHERE[parting.component]
    step = "" if parting.step is None else f" at step {parting.step + 1} of {steps}"
    rms = parting.relative_rms
    apart = "" if rms is None else f" (about {rms:.2g} of its size)"
    return f"{where}{step} is the first to differ{apart}"
