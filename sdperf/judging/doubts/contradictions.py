"""Names figures of one run that contradict each other: both cannot be true. Pure.

This needs no baseline. A contradiction does not fail a case: it says which figure not to trust.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.settling import UNKNOWN, Typed, suggest_alone
from sdperf.record.measurement import Measurement
from sdperf.record.stages import SEPARATE_STAGES
from sdperf.record.workload import Variant
from sdperf.shell import join_step
from sdperf.units import format_seconds

FEWEST_CORES_KEPT: Final = 0.8
"""Share of the first case's cores that a later case of its precision has to keep busy."""

STAGE_TOLERANCE: Final = 0.10
"""A stage alone may be this much longer than the image that contains it, as a fraction."""

SUM_RANGE: Final = (0.80, 1.20)
"""Tolerated ratio of the sum of all stages, each measured alone, to the whole image."""

BATCH_TOLERANCE: Final = 0.10
"""A batch may take this much longer per image than single images, as a fraction."""

_BUSY_STAGES: Final = (None, "denoise")
"""Cases in which the denoiser does the work: other stages keep fewer cores busy by nature."""


@dataclass(frozen=True)
class Contradiction:
    """One case whose figure contradicts another figure.

    Attributes:
        case: The case that is named.
        sentence: Both figures, and how they contradict each other.
        hint: What to look at, or the command to type next.
    """

    case: str
    sentence: str
    hint: str


def find_contradictions(
    cases: Mapping[str, Measurement],
    ids: Mapping[str, str] | None = None,
    typed: Typed = UNKNOWN,
) -> list[Contradiction]:
    """Find all contradictions of a run.

    Args:
        cases: Measurements by the case's name, in the order in which they were measured.
        ids: The test ids of the cases, by name; a name without one is its own.
        typed: How the session was started.
    """
    return [
        *_find_lost_cores(cases, ids or {}, typed),
        *_find_long_stages(cases),
        *_find_wrong_sums(cases),
        *_find_slow_batches(cases),
    ]


def _find_lost_cores(
    cases: Mapping[str, Measurement], ids: Mapping[str, str], typed: Typed
) -> Iterator[Contradiction]:
    """Name cases on one worker that keep fewer cores busy than the first case of their precision.

    A second team of OpenMP threads has this effect, and so does any other work on the processor.
    """
    firsts: dict[tuple[object, ...], tuple[str, float]] = {}
    for name, one in cases.items():
        busy, variant = one.cores_busy, one.variant
        is_alike = variant.workers == 1 and one.stage in _BUSY_STAGES and one.gain is None
        if busy is None or not is_alike or one.environment.device_kind != "cpu":
            continue
        key = (variant.precision, variant.engine, variant.optimisations, one.worker_threads)
        first, most = firsts.setdefault(key, (name, busy))
        if busy < FEWEST_CORES_KEPT * most:
            yield Contradiction(
                name,
                f"kept {busy:.2f} cores busy, {first} of the same precision kept {most:.2f}: "
                "a case in between left something behind, or something else took the processor",
                join_step(
                    suggest_alone(ids.get(name, name), one, typed),
                    " measures it without the others",
                ),
            )


def _find_long_stages(cases: Mapping[str, Measurement]) -> Iterator[Contradiction]:
    for name, stage, image_name, image in _pair_stages(cases):
        alone_s, whole_s = stage.seconds_per_image, image.seconds_per_image
        if alone_s > whole_s * (1 + STAGE_TOLERANCE):
            yield Contradiction(
                name,
                f"{stage.stage} alone takes {format_seconds(alone_s)}, the whole image of "
                f"{image_name} that contains it {format_seconds(whole_s)}",
                "one of the two was disturbed: compare the cores that they kept busy",
            )


def _find_wrong_sums(cases: Mapping[str, Measurement]) -> Iterator[Contradiction]:
    stages: dict[str, dict[str, float]] = {}
    images = {}
    for _, stage, image_name, image in _pair_stages(cases):
        stages.setdefault(image_name, {})[str(stage.stage)] = stage.seconds_per_image
        images[image_name] = image
    for image_name, alone in stages.items():
        if set(alone) != set(SEPARATE_STAGES):
            continue
        sum_s, whole_s = sum(alone.values()), images[image_name].seconds_per_image
        low, high = SUM_RANGE
        if not low <= sum_s / whole_s <= high:
            yield Contradiction(
                image_name,
                f"its stages alone add up to {format_seconds(sum_s)}, the image takes "
                f"{format_seconds(whole_s)}",
                "stages and image were not measured in the same state, or a stage is missing",
            )


def _find_slow_batches(cases: Mapping[str, Measurement]) -> Iterator[Contradiction]:
    singles = {one.variant: (name, one) for name, one in cases.items() if one.kind == "latency"}
    for name, one in cases.items():
        single_name, single = singles.get(one.variant, ("", None))
        if one.kind != "throughput" or single is None or _has_reason(one):
            continue
        batch_s, single_s = one.seconds_per_image, single.seconds_per_image
        if batch_s > single_s * (1 + BATCH_TOLERANCE):
            yield Contradiction(
                name,
                f"takes {format_seconds(batch_s)} an image, {single_name} "
                f"{format_seconds(single_s)}: a batch of the same images is no more work",
                "look at the guards of both, and measure the two alone",
            )


def _has_reason(one: Measurement) -> bool:
    """Tell whether a guard says why a case became slower while it was measured."""
    guards = () if one.guards is None else (*one.guards.during, *one.guards.after)
    return any(guard.state in ("warn", "fail") and guard.name != "order" for guard in guards)


def _pair_stages(
    cases: Mapping[str, Measurement],
) -> Iterator[tuple[str, Measurement, str, Measurement]]:
    """Pair each stage case with the plain image of one worker that contains it."""
    images = {one.variant: (name, one) for name, one in cases.items() if one.kind == "latency"}
    for name, one in cases.items():
        plain: Variant = dataclasses.replace(one.variant, mode="sync", workers=1)
        if one.kind == "stage" and plain in images:
            image_name, image = images[plain]
            if image.worker_threads == one.worker_threads:
                yield name, one, image_name, image


def compute_cores_busy(cpu_s: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Return the median of processor seconds per second over rounds; ``None`` without rounds."""
    pairs = list(zip(cpu_s, seconds, strict=False))
    return statistics.median(cpu / wall for cpu, wall in pairs) if pairs else None
