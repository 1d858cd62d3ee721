"""Computes the cost of a session's tests in images, and which of them fit into a time. Pure.

Images are the unit of time: an image of a worker, a picture of the quality suite and a reference
count as one each, in any mode and precision. All workers draw on one device, so two images of two
workers take as long as two images of one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sdperf.plugin.live.ahead import SOAKED, ExpectedWork, Plan
from sdperf.record.workload import TORCH, Variant
from sdperf.units import format_quantity

FEWEST_ROUNDS: Final = 3
"""Fewest rounds of a latency case under a budget: the median of fewer rounds is too noisy."""

FEWEST_KEPT: Final = 20
"""A budget leaves this many rounds or more as they are: gates of tails and growth need them."""

_WATCHED: Final = 2
"""Images per worker that are watched for resources or fresh, beside the timed images."""

_PROFILED: Final = 3
"""Images per pipeline that are profiled, counted and drawn once more for their imprints."""

_RECORDED: Final = 8
"""How many pictures have their components recorded and run again."""

_ORDER: Final = 2
"""How many rounds of a pipeline's first case are measured again after its last one."""

MOST_RECORDING_S: Final = 60.0
"""Seconds in which a pipeline's further recordings are made, beside the first one."""

_STAGE_SHARE: Final = 0.5
"""Mean cost of a round of one of the four stages, as a share of an image: denoising is nearly a
whole image, and the other three are nearly nothing. The input of a stage is drawn once."""


@dataclass(frozen=True)
class Amounts:
    """The amounts that are measured for each case.

    Attributes:
        rounds: Number of timed rounds of a latency case.
        batch_rounds: Number of timed rounds of a throughput case, and of a stage.
        images: Number of images of a throughput case.
        quality_images: Number of pictures of the quality suite.
        warmup: Number of untimed images of each worker before them.
        processes: Number of fresh processes of each case.
        is_watched: Whether further rounds are watched and profiled.
    """

    rounds: int
    batch_rounds: int
    images: int
    quality_images: int
    warmup: int
    processes: int = 1
    is_watched: bool = True


@dataclass(frozen=True)
class Cost:
    """The cost of a session while the seconds of an image are unknown.

    Attributes:
        cases: Number of tests that are not skipped.
        loads: Number of pipelines that are loaded, one per worker.
        images: Number of images, including references and recordings, rounded.
    """

    cases: int
    loads: int
    images: int

    def describe(self) -> str:
        """Describe it, such as ``34 cases, 9 model loads, about 310 images``."""
        return (
            f"{format_quantity(self.cases, 'case')}, {format_quantity(self.loads, 'model load')}, "
            f"about {format_quantity(self.images, 'image')}"
        )


def count_images(wanted: ExpectedWork, amounts: Amounts) -> float:
    """Count the images of one test, without those of its reference.

    Args:
        wanted: The needs of the test.
        amounts: The amounts of a case.
    """
    if not wanted.is_timed:
        return _count_quality_images(wanted, amounts)
    if wanted.asks == SOAKED:
        return 0  # the user gave its time
    workers = wanted.variant.workers
    warmup = amounts.warmup * workers
    timed: float
    watched = _WATCHED * workers if amounts.is_watched else 0
    if "throughput" in wanted.asks:
        timed = warmup + amounts.batch_rounds * amounts.images
        watched = min(watched, amounts.images)
    elif wanted.asks == {"stage"}:
        timed, watched = _STAGE_SHARE * (amounts.warmup + amounts.batch_rounds), 1
    else:
        timed = warmup + amounts.rounds * workers
    total = amounts.processes * timed + watched
    return 2 * total if wanted.has_plain_side else total


def _count_quality_images(wanted: ExpectedWork, amounts: Amounts) -> float:
    """Count the images of one question; the suite's pictures are drawn once for all of them."""
    pictures = amounts.quality_images
    each = {
        "soundness": pictures + 1,
        "images": 0,
        "repeatability": 3,
        "components": _RECORDED,
        "trajectory": _RECORDED,
        "batch": 3,
    }
    return sum(each[name] for name in wanted.asks if name in each)


def estimate_cost(
    asked: Sequence[ExpectedWork], amounts: Amounts, *, loads: int, references: int
) -> Cost:
    """Estimate the cost of the tests of a session.

    Args:
        asked: The tests that are not skipped.
        amounts: The amounts of each case.
        loads: Pipelines that are loaded, references included; each draws a first image.
        references: Pictures and recordings of references.
    """
    pipelines = len({one.pipeline for one in asked if one.is_timed})
    shared = (_PROFILED + _ORDER) * pipelines if amounts.is_watched else 0
    images = sum(count_images(one, amounts) for one in asked) + shared + references + loads
    return Cost(len(asked), loads, math.ceil(images))


def count_references(plan: Plan, pictures: int, is_skipped: Callable[[Variant], bool]) -> int:
    """Count the pictures and recordings of reference pipelines.

    Args:
        plan: The tests.
        pictures: Plain fp32 pictures that others are compared with.
        is_skipped: Whether a variant will be skipped.
    """
    return pictures + _RECORDED * len(plan.list_inspected(is_skipped))


def rank(wanted: ExpectedWork) -> tuple[int, str]:
    """Return the rank of a test, 0 for the most telling, and the name of its kind.

    The speed and the correctness of one image of the plain pipeline come first, then the speed of a
    batch. Several workers, single stages and other ways to draw come after that.
    """
    variant = wanted.variant
    if wanted.has_plain_side or variant.optimisations:
        return 9, "of optimisations and engines"
    if variant.engine != TORCH and wanted.is_timed:
        return 8, "of other engines"
    if not wanted.is_timed:
        if wanted.asks <= {"soundness", "images"}:
            return 1, "of whether images are right"
        return (2 if "components" in wanted.asks else 5), "of the quality suite"
    if wanted.asks == {"stage"}:
        return 7, "of single stages"
    if variant.workers > 1:
        return 6, "of several workers"
    if variant.mode == "async":
        return 4, "of async"
    return (0 if "latency" in wanted.asks else 3), "of plain speed"


@dataclass(frozen=True)
class Priced:
    """A test with its cost.

    Attributes:
        wanted: The test.
        images_s: Seconds of its images.
        load_s: Seconds to load its pipeline into one worker.
        once_s: Seconds that a pipeline takes once, for the first of its tests.
        pictures: Number of the reference's pictures that it is compared with, from the first one.
        is_plain: Whether its pipeline is the reference itself.
    """

    wanted: ExpectedWork
    images_s: float
    load_s: float
    once_s: float = 0.0
    pictures: int = 0
    is_plain: bool = True


@dataclass(frozen=True)
class ReferencePrice:
    """The cost of the reference's pictures and recordings, and those that exist already.

    Attributes:
        image_s: Seconds of a picture.
        load_s: Seconds of loading the reference beside another pipeline.
        drawn: Number of pictures that were drawn.
        recorded: Precision and engine of pipelines whose references were recorded.
    """

    image_s: float = 0.0
    load_s: float = 0.0
    drawn: int = 0
    recorded: frozenset[tuple[str, str]] = frozenset()

    def add(self, one: Priced) -> tuple[float, ReferencePrice]:
        """Return the seconds of a test's references, and the state after it."""
        variant = one.wanted.variant
        key = variant.precision, variant.engine
        missing_s = max(0, one.pictures - self.drawn) * self.image_s
        recorded = self.recorded
        if one.wanted.wants_recording() and key not in recorded:
            missing_s += min(_RECORDED * self.image_s, self.image_s + MOST_RECORDING_S)
            recorded |= {key}
        load_s = self.load_s if missing_s and not one.is_plain else 0.0
        drawn = max(self.drawn, one.pictures)
        return missing_s + load_s, replace(self, drawn=drawn, recorded=recorded)


def count_once(amounts: Amounts, *, is_known: bool) -> int:
    """Count the images that a pipeline takes once, for any test.

    Args:
        amounts: The amounts of each case.
        is_known: Whether it was profiled before.
    """
    if not amounts.is_watched:
        return 0
    return _ORDER if is_known else _PROFILED + _ORDER


def choose_cases(
    tests: Sequence[Priced],
    left_s: float,
    loaded: Mapping[tuple[object, ...], int],
    reference: ReferencePrice | None = None,
) -> frozenset[str]:
    """Choose the tests that fit into a time, the most telling first.

    A test that does not fit is left out, and less telling tests that fit are taken.

    Args:
        tests: The tests that could be run, in the order in which they would be.
        left_s: The time, seconds.
        loaded: Workers of each pipeline that were loaded before.
        reference: The reference that tests are compared with; ``None`` costs nothing.

    Returns:
        Ids of the tests that fit.
    """
    chosen: set[str] = set()
    workers_of = dict(loaded)
    reference = reference or ReferencePrice()
    begun: set[tuple[object, ...]] = set()
    for one in sorted(tests, key=lambda each: rank(each.wanted)[0]):
        workers, pipeline = one.wanted.variant.workers, one.wanted.pipeline
        missing = max(0, workers - workers_of.get(pipeline, 0))
        references_s, then = reference.add(one)
        once_s = 0.0 if pipeline in begun or not one.wanted.is_timed else one.once_s
        cost_s = one.images_s + missing * one.load_s + once_s + references_s
        if cost_s <= left_s:
            reference = then
            if one.wanted.is_timed:
                begun.add(pipeline)
            left_s -= cost_s
            workers_of[pipeline] = max(workers, workers_of.get(pipeline, 0))
            chosen.add(one.wanted.node_id)
    return frozenset(chosen)


def list_rounds(rounds: int) -> range:
    """List the numbers of rounds that a budget may choose from, the most first."""
    fewest = rounds if rounds >= FEWEST_KEPT else min(rounds, FEWEST_ROUNDS)
    return range(rounds, fewest - 1, -1)


def describe_left_out(left_out: Sequence[ExpectedWork]) -> str:
    """Say what kinds of tests are left out, such as ``4 of single stages, 2 of async``."""
    ranked = sorted((rank(one) for one in left_out), key=lambda each: each[0])
    counts = Counter(words for _, words in ranked)
    return ", ".join(f"{count} {words}" for words, count in counts.items())
