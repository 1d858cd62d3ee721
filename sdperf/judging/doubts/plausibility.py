"""Finds figures that no real speed-up can give: answers from memory, more than the peak. Pure."""

from __future__ import annotations

import statistics
from typing import Final

from sdperf.record.measurement import (
    LARGEST_FRESH_GROWTH,
    LARGEST_FRESH_RATIO,
    SMALLEST_FRESH_S,
    FreshRounds,
    Measurement,
)
from sdperf.record.stages import DeviceLimits
from sdperf.record.verdict import Finding, Outcome
from sdperf.units import format_seconds

GATE: Final = "plausibility"

LARGEST_SHARE_OF_PEAK: Final = 3.0
"""Largest plausible ratio of counted operations per second to the measured peak. Fast convolutions
(Winograd) need 2.25 times fewer multiplications than are counted, and a disturbed machine
measures too low a peak."""

LEAST_REPEATED_SHARE: Final = 0.5
"""Smallest plausible ratio of the operations of a repeated request to those of a fresh one."""

_HINT: Final = "look for pictures, embeddings or outputs that are kept from one request to the next"


def judge_fresh(known_s: float, fresh: FreshRounds, who: str = "") -> Finding | None:
    """Judge rounds of fresh requests; BROKEN, or ``None`` where nothing is suspicious.

    Args:
        known_s: Median seconds of the timed rounds.
        fresh: Rounds of the same size whose requests were never made before.
        who: Whose rounds they are, as the start of a sentence; empty for the case itself.
    """
    if fresh.repeated:
        return Finding(
            Outcome.BROKEN,
            GATE,
            f"{who}a prompt and seed that were never asked for gave the bytes of a picture that "
            f"existed before the round",
            _HINT,
        )
    if not fresh.is_remembered(known_s):
        return None
    quickest_s = min(fresh.rounds_s)
    known_s = max(known_s, fresh.known_again_s or 0.0)
    return Finding(
        Outcome.BROKEN,
        GATE,
        f"{who}rounds are answered from memory: {format_seconds(quickest_s)} for a prompt and seed "
        f"that were never asked for, {format_seconds(known_s)} for those asked again and again "
        f"({quickest_s / known_s:.1f} times; limit {LARGEST_FRESH_RATIO:g})",
        _HINT,
    )


def judge_fresh_against(current: Measurement, base: Measurement) -> Finding | None:
    """Judge whether known requests became quicker while fresh ones did not.

    A faster pipeline is faster for both. This is sharper than the ratio within one session, which
    honest caches of tokens and embeddings may raise: a cache of half of an image's work shows here.

    Args:
        current: What was just measured.
        base: The compared session's measurement of the case.

    Returns:
        BROKEN with the seconds of both; ``None`` where nothing is suspicious, or where one session
        drew no fresh requests.
    """
    if current.fresh is None or base.fresh is None or current.fresh.known_again_s is None:
        return None  # one fresh round took no longer than known ones
    (fresh_s, known_s), (fresh_then_s, known_then_s) = map(_compare_fresh, (current, base))
    is_apart = fresh_s / known_s > LARGEST_FRESH_GROWTH * max(1.0, fresh_then_s / known_then_s)
    is_quicker = known_then_s > LARGEST_FRESH_GROWTH * known_s
    # A machine that was busy in one of the two sessions moves both kinds of rounds.
    all_are = fresh_then_s > LARGEST_FRESH_GROWTH * fresh_s
    if not is_apart or not is_quicker or all_are or fresh_s - known_s <= SMALLEST_FRESH_S:
        return None
    return Finding(
        Outcome.BROKEN,
        GATE,
        f"only known requests are quicker than the baseline's: {format_seconds(known_s)} "
        f"({format_seconds(known_then_s)} there), {format_seconds(fresh_s)} for a prompt and seed "
        f"that were never asked for ({format_seconds(fresh_then_s)} there)",
        _HINT,
    )


def _compare_fresh(one: Measurement) -> tuple[float, float]:
    """Return the seconds of the quickest fresh round and of a known one."""
    assert one.fresh is not None
    known_s = statistics.median(one.rounds_s)
    return min(one.fresh.rounds_s), max(known_s, one.fresh.known_again_s or 0.0)


def judge_plausibility(measurement: Measurement) -> list[Finding]:
    """Judge whether a case's figures are possible at all; BROKEN with the reason, or nothing."""
    median_s = statistics.median(measurement.rounds_s)
    findings = []
    if measurement.fresh is not None:
        found = judge_fresh(median_s, measurement.fresh)
        findings += [] if found is None else [found]
    if measurement.limits is not None:
        findings += _judge_memory_of_stages(measurement.limits)
        if measurement.kind != "stage":
            rounds = measurement.images_per_round / measurement.variant.workers
            findings += _judge_rate(measurement.limits, median_s / rounds)
    return findings


def _judge_memory_of_stages(limits: DeviceLimits) -> list[Finding]:
    for cost in limits.stages:
        fresh = cost.fresh_flop
        if fresh and cost.flop < LEAST_REPEATED_SHARE * fresh:
            return [
                Finding(
                    Outcome.BROKEN,
                    GATE,
                    f"{cost.stage} launches next to nothing for a picture asked for before: "
                    f"{cost.flop / 1e9:.3g} GFLOP, {fresh / 1e9:.3g} for one that never was",
                    _HINT,
                )
            ]
    return []


def _judge_rate(limits: DeviceLimits, image_s: float) -> list[Finding]:
    flop = sum(cost.flop for cost in limits.stages)
    if limits.peak is None or not flop:
        return []
    share = flop / image_s / limits.peak.flop_per_s
    if share <= LARGEST_SHARE_OF_PEAK:
        return []
    return [
        Finding(
            Outcome.BROKEN,
            GATE,
            f"{flop / 1e9:.3g} GFLOP in {format_seconds(image_s)} an image is {share:.1f} times "
            f"the peak of this device ({limits.peak.flop_per_s / 1e9:.3g} GFLOP/s in "
            f"{limits.peak.format}; limit {LARGEST_SHARE_OF_PEAK:g} times)",
            _HINT,
        )
    ]
