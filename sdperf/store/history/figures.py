"""One case of a saved run as a line of figures. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from sdperf.record.guard import explain_disturbance
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Outcome
from sdperf.record.workload import SYNC_REFERENCES
from sdperf.store.runs import MOST_ROUNDS, SavedCase, is_duration

LONGEST_TEXT: Final = 500
SCORED_AGAINST: Final = ("reference", *SYNC_REFERENCES)
"""The references whose scores are kept, the first choice first; these references never change."""

_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)
_UNSAFE: Final = dict.fromkeys(
    (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "?"
)
"""Matches control characters, and characters that reverse the order of text."""
_LARGEST_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True)
class Figures:
    """The figures of a case; ``None`` is unknown. The fields are columns of ``results``.

    Attributes:
        outcome: The outcome that its run gave it, a value of `sdperf.record.verdict.Outcome`.
        unusable: Why it has no durations; ``None`` where it has some.
        disturbance: Why the machine was not fit; ``None`` where no guard failed.
        rounds: How many rounds count.
        excluded_rounds: How many rounds do not count.
        seconds_per_image: Median round over its images; over 1 where images are unknown.
        first_call_s: Seconds of the first generation of the slowest worker.
        load_s: Seconds of loading.
        peak_rss_bytes: Peak of main memory.
        peak_device_bytes: Peak of the device's allocator.
        gpu_energy_per_image_j: Joules per image of the board, or of an Apple chip's GPU part.
        ssim: Lowest SSIM of its images against the model's references, else this run's fp32.
        worst_tile_ssim: Lowest SSIM of any tile, against the same references.
        entropy_bits: Lowest entropy of its images, bits.
    """

    outcome: str | None = None
    unusable: str | None = None
    disturbance: str | None = None
    rounds: int | None = None
    excluded_rounds: int | None = None
    seconds_per_image: float | None = None
    first_call_s: float | None = None
    load_s: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    gpu_energy_per_image_j: float | None = None
    ssim: float | None = None
    worst_tile_ssim: float | None = None
    entropy_bits: float | None = None


FIGURES: Final = tuple(field.name for field in fields(Figures))


def extract_figures(case: SavedCase, stats: Mapping[str, Any], outcome: object) -> Figures:
    """Take the figures of one case.

    Args:
        case: The case as read; there are no figures where sdperf's record of it cannot be used.
        stats: pytest-benchmark's own figures, for cases that sdperf did not record.
        outcome: The run's outcome for the case, where the record does not have it.
    """
    said = outcome_word(case.outcome) or outcome_word(outcome)
    measured = case.measurement
    if case.is_ours and (measured is None or case.unusable is not None):
        return Figures(outcome=said, unusable=text(case.unusable))
    if measured is None:
        return _extract_foreign(case, stats, said)
    unusable = _find_fault(measured)
    guards, resources = measured.guards, measured.resources
    ssim, tile = _read_scores(measured)
    energies = (
        ()
        if resources is None
        else (resources.gpu_board_energy_per_image_j, resources.gpu_soc_energy_per_image_j)
    )
    return Figures(
        outcome=said,
        unusable=unusable,
        disturbance=None
        if guards is None
        else text(explain_disturbance(guards.before, guards.during, guards.after)),
        rounds=None if unusable else len(measured.rounds_s),
        excluded_rounds=None if guards is None else len(guards.excluded),
        seconds_per_image=None if unusable else measured.seconds_per_image,
        first_call_s=measured.first_call_s,
        load_s=measured.load_s,
        peak_rss_bytes=_count(measured.memory.peak_rss_bytes),
        peak_device_bytes=_count(measured.memory.peak_device_bytes),
        gpu_energy_per_image_j=next((joules for joules in energies if joules is not None), None),
        ssim=ssim,
        worst_tile_ssim=tile,
        entropy_bits=measured.entropy_bits,
    )


def _extract_foreign(case: SavedCase, stats: Mapping[str, Any], outcome: str | None) -> Figures:
    """Take the figures of a case that only pytest-benchmark recorded, with one image per round."""
    rounds: int | None = len(case.rounds_s)
    if case.rounds_s:
        middle_s = statistics.median(case.rounds_s)
    elif stats.get("data") is not None:
        return Figures(outcome=outcome, unusable="its rounds are no durations")
    elif is_duration(stats.get("median")):
        middle_s, rounds = float(stats["median"]), _count(stats.get("rounds"))
    else:
        return Figures(outcome=outcome, unusable="it holds no durations")
    return Figures(outcome=outcome, rounds=rounds, seconds_per_image=middle_s)


def _find_fault(measured: Measurement) -> str | None:
    if len(measured.rounds_s) > MOST_ROUNDS or not all(map(is_duration, measured.rounds_s)):
        return "its rounds are no durations"
    if not is_count(measured.images_per_round):
        return "images_per_round is no number of images"
    return None


def _read_scores(measured: Measurement) -> tuple[float | None, float | None]:
    for against in SCORED_AGAINST:
        found = [score for one in measured.images if (score := one.score(against)) is not None]
        if found:
            return min(one.ssim for one in found), min(one.worst_tile_ssim for one in found)
    return None, None


def as_object(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number from 1 that a database can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_INTEGER


def _count(value: object) -> int | None:
    return value if is_count(value) else None  # type: ignore[return-value]


def text(value: object, longest: int = LONGEST_TEXT) -> str | None:
    """Return text that every database and terminal accepts: no controls, no lone surrogates."""
    if not isinstance(value, str):
        return None
    return value[:longest].encode("utf-8", "replace").decode().translate(_UNSAFE) or None


def outcome_word(value: object) -> str | None:
    """Return an outcome that sdperf knows, or ``None``."""
    return value if isinstance(value, str) and value in _OUTCOMES else None
