"""Are the pictures still bit for bit the same as before? Pure.

Equal bytes are the strongest claim about an image. Only a machine on which equal code draws equal
bytes can make it: there, any difference is a change of what the code computes, however small. It
is reported as CHANGED and does not fail a run by itself; floors say whether it is a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.images import exhibit_image, name_picture
from sdperf.record.measurement import ImageRecord, Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import TORCH, Variant
from sdperf.settings import EXACT
from sdperf.units import UNKNOWN, format_quantity

ARITHMETIC_PACKAGES: Final = ("torch",)
"""Packages that may round differently in another version: then nothing is claimed."""

GATE: Final = "exactness"


@dataclass(frozen=True)
class Exactness:
    """How long an image has been the same.

    Attributes:
        sessions: Sessions in a row, the latest of them last, that drew the same bytes.
        sha256: Content hash of what they drew.
    """

    sessions: int
    sha256: str


def explain_inexact(saved: Measurement, current: Measurement) -> str | None:
    """Say why equal bytes cannot be expected of two sessions; ``None`` where they can.

    The code under test may differ, and so may diffusers and the weights: the claim is about them.
    What decides on rounding may not differ: torch, its threads, and the variables that steer it.
    """
    if saved.repeatable is not True or current.repeatable is not True:
        return "equal requests were not made twice, or gave other bytes"
    before, now = saved.environment, current.environment
    for name in ARITHMETIC_PACKAGES:
        if before.packages.get(name) != now.packages.get(name):
            return f"{name} {before.packages.get(name)} against {now.packages.get(name)} now"
    if before.driver != now.driver:
        return f"driver {before.driver} against {now.driver} now"
    if before.variables != now.variables:
        return "other environment variables"
    if saved.worker_threads != current.worker_threads:
        own, theirs = (
            UNKNOWN if one.worker_threads is None else format_quantity(one.worker_threads, "thread")
            for one in (saved, current)
        )
        return f"{own} against {theirs} now"
    return None


def find_exactness(
    image: ImageRecord, history: Sequence[Measurement | None], current: Measurement
) -> Exactness | None:
    """Tell for how long an image has been the same; ``None`` where that is unknown.

    One session is enough if its rounds drew equal bytes. Of several, the last two have to agree:
    where the last two differ, the machine is not exact, or somebody accepted a change just now.

    Args:
        image: The current image.
        history: The compared sessions of its case, oldest first.
        current: The current measurement.
    """
    hashes = [
        earlier.sha256
        for saved in history
        if saved is not None and explain_inexact(saved, current) is None
        for earlier in saved.images
        if (earlier.prompt, earlier.seed) == (image.prompt, image.seed)
    ]
    if not hashes:
        return None
    equal = next(
        (back for back, one in enumerate(reversed(hashes)) if one != hashes[-1]), len(hashes)
    )
    return Exactness(equal, hashes[-1]) if equal > 1 or len(hashes) == 1 else None


def is_plain_fp32(variant: Variant) -> bool:
    """Tell whether a variant does the plain arithmetic, which an exact machine repeats closely."""
    return (variant.engine, variant.optimisations, variant.precision) == (TORCH, (), "fp32")


def judge_exactness(
    current: Measurement, history: Sequence[Measurement | None]
) -> tuple[Finding | None, bool]:
    """Judge whether the images of a case are still the same.

    Bytes that any earlier session drew are not a change: a machine that chooses between two kernels
    from day to day draws either.

    Args:
        current: The current measurement, scored against the latest session's images.
        history: The compared sessions, oldest first.

    Returns:
        CHANGED, or ``None`` where all images are the same or nothing can be claimed; and whether
        this machine has been exact until now.
    """
    seen_before = {image.sha256 for saved in history if saved is not None for image in saved.images}
    exact = [(image, find_exactness(image, history, current)) for image in current.images]
    is_exact = bool(exact) and all(since is not None for _, since in exact)
    changed = [
        (image, since)
        for image, since in exact
        if since is not None and image.sha256 not in seen_before and not _is_identical(image)
    ]
    if not changed:
        return None, is_exact
    image, since = changed[0]
    sessions = format_quantity(since.sessions, "session")
    count = "" if len(changed) == 1 else f"; {len(changed)} of {len(current.images)} images differ"
    exhibits = tuple(
        exhibit_image(image, score, f"identical until now, differs since{_describe(image)}")
        for image, _ in changed
        if (score := image.score("baseline")) is not None
    )
    return (
        Finding(
            Outcome.CHANGED,
            GATE,
            f"{name_picture(image)}: identical until now (the last {sessions}), "
            f"differs since{_describe(image)}{count}",
            "if it is meant: sdperf baseline accept --reason TEXT; "
            f"pytest {EXACT} makes it a failure",
            exhibits,
        ),
        is_exact,
    )


def judge_exact_pairs(
    pairs: Sequence[tuple[ImageRecord, ImageRecord]], against: str, *, is_exact: bool
) -> Finding | None:
    """Judge whether two sides that were measured in one sitting draw the same bytes.

    Args:
        pairs: The reference's image, and the one under judgement with its score against it.
        against: Name of the score.
        is_exact: Whether all of the reference's rounds drew the bytes of its picture.

    Returns:
        CHANGED; ``None`` where all images are the same, or where nothing can be claimed.
    """
    differ = [
        other
        for one, other in pairs
        if one.sha256 != other.sha256 and not _is_identical(other, against)
    ]
    if not is_exact or not differ:
        return None
    image = differ[0]
    return Finding(
        Outcome.CHANGED,
        GATE,
        f"{name_picture(image)}: A draws the same bytes in every round, B draws "
        f"others{_describe(image, against)}; {len(differ)} of {len(pairs)} images differ",
    )


def _is_identical(image: ImageRecord, against: str = "baseline") -> bool:
    score = image.score(against)
    return score is not None and score.identical


def _describe(image: ImageRecord, against: str = "baseline") -> str:
    score = image.score(against)
    if score is None or score.psnr_db is None:
        return ""
    colour = "" if score.ciede2000 is None else f", colour difference {score.ciede2000:.2g}"
    return f" (PSNR {score.psnr_db:.1f} dB{colour})"
