"""Does memory grow from picture to picture? A leak shows without a baseline. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import SOAK
from sdperf.stats.slope import Slope, compute_slope
from sdperf.units import format_bytes, format_quantity

GATE: Final = "growth"
DEFAULT_MAX_LEAK_BYTES: Final = 256 * 2**10
"""Tolerated growth in bytes per picture. Of the parts of an image only latents are as small."""

Memory = Literal["resident memory", "device memory"]


@dataclass(frozen=True)
class Growth:
    """How much one kind of memory grows from picture to picture, in one process.

    Attributes:
        memory: The kind of memory.
        per_image_bytes: Bytes per picture; negative where it shrinks.
        lower_bytes: Lower end of the interval, bytes per picture.
        upper_bytes: Upper end of the interval, bytes per picture.
        coverage: Chance that the interval holds the true growth; see `sdperf.stats.slope`.
        images: How many pictures the whole series has.
    """

    memory: Memory
    per_image_bytes: float
    lower_bytes: float
    upper_bytes: float
    coverage: float
    images: int


def compute_growth(measurement: Measurement) -> list[Growth]:
    """Compute the growth of each kind of memory that is known after enough rounds.

    Rounds of several sets of processes cannot be joined: each set starts fresh.

    Args:
        measurement: The measurement of one case.
    """
    if measurement.processes > 1:
        return []
    images = measurement.images_per_round
    series: dict[Memory, Sequence[int]] = {
        "resident memory": measurement.rounds_resident_bytes,
        "device memory": measurement.rounds_device_bytes,
    }
    slopes = {name: compute_slope(values) for name, values in series.items()}
    return [
        Growth(
            name,
            slope.per_value / images,
            slope.lower / images,
            slope.upper / images,
            slope.coverage,
            slope.values * images,
        )
        for name, slope in slopes.items()
        if slope is not None
    ]


def compute_drift(measurement: Measurement) -> Slope | None:
    """Compute how much longer each round takes than the one before, as a share of the median.

    Returns:
        The slope in shares of the median round; ``None`` with too few rounds, or where several sets
        of processes made them.
    """
    if measurement.processes > 1:
        return None
    middle_s = measurement.seconds_per_image * measurement.images_per_round
    return compute_slope([seconds / middle_s for seconds in measurement.rounds_s])


def judge_growth(
    current: Measurement,
    history: Sequence[Measurement | None],
    max_leak_bytes: float = DEFAULT_MAX_LEAK_BYTES,
) -> Finding | None:
    """Judge whether memory grows from picture to picture.

    HEAVIER when the whole interval lies above the limit; INCONCLUSIVE when only the growth does.
    The growth of a compared session is tolerated too: the limit is added to it.

    Args:
        current: The current measurement.
        history: The compared sessions; none are needed.
        max_leak_bytes: Tolerated growth in bytes per picture.

    Returns:
        The worst answer among the kinds of memory; ``None`` where no kind is known after enough
        rounds.
    """
    known = [growth for saved in history if saved is not None for growth in compute_growth(saved)]
    findings = [
        _judge_memory(growth, [one for one in known if one.memory == growth.memory], max_leak_bytes)
        for growth in compute_growth(current)
    ]
    order = (Outcome.HEAVIER, Outcome.INCONCLUSIVE, Outcome.PASS)
    return min(findings, key=lambda one: order.index(one.outcome), default=None)


def _judge_memory(growth: Growth, known: Sequence[Growth], max_leak_bytes: float) -> Finding:
    before_bytes = max([0.0, *(one.per_image_bytes for one in known)])
    limit_bytes = before_bytes + max_leak_bytes
    seen = describe_growth(growth)
    if before_bytes > max_leak_bytes:
        seen += f", and by {format_bytes(before_bytes)} before"
    if growth.per_image_bytes <= limit_bytes:
        return Finding(Outcome.PASS, GATE, seen)
    reason = f"{seen}; limit {format_bytes(limit_bytes)}"
    if growth.lower_bytes <= limit_bytes:
        step = f"measure more rounds: pytest benchmarks {SOAK} 10m"
        return Finding(Outcome.INCONCLUSIVE, GATE, reason, step)
    step = "look for what is kept from picture to picture: lists, caches, hooks, autograd graphs"
    return Finding(Outcome.HEAVIER, GATE, reason, step)


def describe_growth(growth: Growth) -> str:
    """Say how much one kind of memory grows, with its bounds and the number of pictures."""
    return (
        f"{growth.memory} grows by {format_bytes(growth.per_image_bytes)} a picture "
        f"({format_bytes(growth.lower_bytes)} to {format_bytes(growth.upper_bytes)}, "
        f"{format_quantity(growth.images, 'picture')})"
    )
