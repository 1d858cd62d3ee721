"""L2 and L3: compares components and latents of pictures with the reference's. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sdperf.images import ComponentDistance
from sdperf.judging.floors import choose_component_floor, choose_trajectory_rms
from sdperf.judging.images import name_picture
from sdperf.record.floors import Floors
from sdperf.record.observation import (
    ComponentParity,
    PictureComponents,
    PictureTrajectory,
    TrajectoryParity,
)
from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import SIZE, STEPS
from sdperf.units import format_names, format_quantity, format_score

_BISECT: Final = (
    "before that step they are within the tolerance: look at the scheduler and the denoiser there"
)
_CALIBRATE: Final = (
    "measure this model's floors (sdperf quality calibrate), or compare with accepted pictures"
)
_TWICE_DB: Final = 6.0
"""Twice the error, in dB: the time step is rounded twice, once itself and once times 1000."""

_OTHER_WORK: Final = (
    f"ask for what is meant (pytest {STEPS}, {SIZE}), so that the reference draws it too"
)


def judge_components(seen: ComponentParity, precision: str, floors: Floors | None) -> Finding:
    """L2: each component beside the reference, on equal inputs; the worst picture decides.

    Returns:
        BROKEN (values that are not finite, other shapes), DEGRADED, INCONCLUSIVE or PASS.
    """
    judged = [_judge_components(one, seen.against, precision, floors) for one in seen.pictures]
    return _choose_worst(judged, f"{describe_components(seen)} against {seen.against}")


def _judge_components(
    picture: PictureComponents, against: str, precision: str, floors: Floors | None
) -> Finding | None:
    name = name_picture(picture.image)
    if picture.mismatch is not None:
        return Finding(Outcome.BROKEN, "image", f"{name}: {picture.mismatch}", _OTHER_WORK)
    if not picture.distances:
        return Finding(
            Outcome.INCONCLUSIVE, "image", "the pipeline cannot be run by components: nothing seen"
        )
    broken = next((one for one in picture.distances if one.nonfinite), None)
    if broken is not None:
        return Finding(
            Outcome.BROKEN,
            "image",
            f"{broken.component} ({broken.output}): {broken.nonfinite} values are NaN or infinite "
            f"where {against} is finite, {name}",
            "this component overflows on its own inputs: keep it in fp32",
        )
    failures, open_words = [], []
    for one in picture.distances:
        floor = choose_component_floor(precision, one.component, floors)
        psnr_db = floor.psnr_db if one.psnr_db is None else one.psnr_db
        cosine = 1.0 if one.cosine is None else one.cosine
        if psnr_db < floor.psnr_db or cosine < floor.cosine:
            words = (
                f"{one.component} ({one.output}): PSNR {psnr_db:.1f} dB (floor "
                f"{floor.psnr_db:.1f}), cosine {format_score(cosine, 6)} (floor "
                f"{format_score(floor.cosine, 6)}) against {against}, {name}"
            )
            is_anchored = floors is None or one.component not in floors.components
            if is_anchored and _is_as_far_as_rounding(one):
                open_words.append(
                    f"{words}; rounding the time step to {precision} moves it by as much by itself "
                    f"({one.rounding_db:.1f} dB), and no floor was measured for this model"
                )
                continue
            margin = min(psnr_db - floor.psnr_db, 10 * (cosine - floor.cosine))
            failures.append((margin, words, one.component))
    if not failures and open_words:
        return Finding(Outcome.INCONCLUSIVE, "image", open_words[0], _CALIBRATE)
    if not failures:
        return None
    _, words, component = min(failures)
    others = sorted({other for *_, other in failures} - {component})
    also = f"; also below: {', '.join(others)}" if others else ""
    return Finding(
        Outcome.DEGRADED,
        "image",
        words + also,
        f"on equal inputs only the {component} differs: look at its kernels and weights",
    )


def _is_as_far_as_rounding(one: ComponentDistance) -> bool:
    """Tell whether a distance is no more than twice what one rounding of the time step makes."""
    if one.rounding_db is None or one.psnr_db is None:
        return False
    return one.psnr_db >= one.rounding_db - _TWICE_DB


def describe_components(seen: ComponentParity) -> str:
    """Say each component's worst PSNR in a few words."""
    worst: dict[str, ComponentDistance] = {}
    for one in (one for picture in seen.pictures for one in picture.distances):
        before = worst.setdefault(one.component, one)
        if one.psnr_db is not None and (before.psnr_db is None or one.psnr_db < before.psnr_db):
            worst[one.component] = one
    if worst and all(one.identical for one in worst.values()):
        return f"{format_names(list(worst))} identical"
    return ", ".join(
        f"{name} {'identical' if one.identical else f'{one.psnr_db or 0:.0f} dB'}"
        for name, one in worst.items()
    )


def judge_trajectory(seen: TrajectoryParity, precision: str, floors: Floors | None) -> Finding:
    """L3: at which step the latents leave those of the reference; the worst picture decides.

    Returns:
        BROKEN (NaN, other number of steps, other size), DEGRADED, INCONCLUSIVE or PASS.
    """
    tolerance = choose_trajectory_rms(precision, floors)
    judged = [_judge_trajectory(one, seen.against, tolerance) for one in seen.pictures]
    return _choose_worst(judged, f"{describe_trajectory(seen)}, tolerance {tolerance:.2g}")


def _judge_trajectory(picture: PictureTrajectory, against: str, tolerance: float) -> Finding | None:
    distance, name = picture.distance, name_picture(picture.image)
    steps = len(distance.relative_rms)
    if picture.mismatch is not None:
        words = f"{name}: {picture.mismatch} ({against})"
        return Finding(Outcome.BROKEN, "image", words, _OTHER_WORK)
    if not steps:
        return Finding(
            Outcome.INCONCLUSIVE, "image", "the pipeline does not show its latents: nothing seen"
        )
    if distance.first_non_finite_step is not None:
        return Finding(
            Outcome.BROKEN,
            "image",
            f"{name}: the latents hold NaN or infinity from step "
            f"{distance.first_non_finite_step + 1} of {steps} on",
            _BISECT,
        )
    first = distance.first_step_above(tolerance)
    if first is None:
        return None
    return Finding(
        Outcome.DEGRADED,
        "image",
        f"{name}: the latents part at step {first + 1} of {steps}: relative RMS "
        f"{distance.relative_rms[first]:.2g} against {against}, tolerance {tolerance:.2g}",
        _BISECT,
    )


def describe_trajectory(seen: TrajectoryParity) -> str:
    """Say in a few words at which step the latents are farthest apart."""
    known = [
        (value, step, len(one.distance.relative_rms))
        for one in seen.pictures
        for step, value in enumerate(one.distance.relative_rms, start=1)
        if value is not None
    ]
    if not known:
        return seen.mismatch or "latents unseen"
    rms, step, steps = max(known, key=lambda one: one[0])
    if rms == 0:
        return "latents identical at " + ("the only step" if steps == 1 else f"all {steps} steps")
    return f"relative RMS {rms:.2g} at most, at step {step} of {steps}"


def _choose_worst(judged: Iterable[Finding | None], sound: str) -> Finding:
    """Return the worst picture's finding, with the number of those that failed beside it."""
    pictures = list(judged)
    found = [one for one in pictures if one is not None]
    count = format_quantity(len(pictures), "picture")
    if not found:
        return Finding(Outcome.PASS, "image", f"{sound}; {count}")
    ranks = {outcome: rank for rank, outcome in enumerate(Outcome)}
    worst = min(found, key=lambda one: ranks[one.outcome])
    if len(pictures) == 1 or not worst.outcome.is_failure:
        return worst
    failing = sum(one.outcome.is_failure for one in found)
    words = f"{worst.reason}; {failing} of {count} fail"
    return Finding(worst.outcome, worst.gate, words, worst.next_step)
