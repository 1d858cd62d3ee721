"""One case of a saved run as a line of figures, each checked by itself. Pure.

Whole records are parsed in 5 ms a case; an import has a millisecond for a run. A test holds these
figures against those of `sdperf.record.measurement.Measurement`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from sdperf.record.verdict import Outcome
from sdperf.store.session_file import LONGEST_DURATION_S, MOST_ROUNDS, SHORTEST_DURATION_S

LONGEST_TEXT: Final = 500
SCORED_AGAINST: Final = ("reference", "fp32-sync")
"""What image scores are taken from, first to last: what they are against never moves."""

_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)
_UNSAFE: Final = dict.fromkeys(
    (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "?"
)
"""Control characters, and those that reverse the order of text."""
_LARGEST_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True)
class Figures:
    """What a case came to; ``None`` is unknown. The fields are columns of ``results``.

    Attributes:
        outcome: What its run said of it, in the words of `sdperf.record.verdict.Outcome`.
        unusable: Why there are no durations, where there are none.
        disturbance: Why the machine was not fit then; ``None`` where nothing speaks against it.
        rounds: Rounds that count.
        excluded_rounds: Rounds that do not.
        seconds_per_image: Median round over its images; over 1 where images are unknown.
        first_call_s: First generation of the slowest worker.
        load_s: Loading.
        peak_rss_bytes: Peak of main memory.
        peak_device_bytes: Peak of the device's allocator.
        gpu_energy_per_image_j: Joules of the board, or of the GPU part of an Apple chip.
        ssim: Lowest SSIM of its images against the model's references, else this run's fp32.
        worst_tile_ssim: Lowest SSIM of any tile, likewise.
        entropy_bits: Lowest entropy of its images.
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


def extract_figures(
    record: Mapping[str, Any], stats: Mapping[str, Any], outcome: object
) -> Figures:
    """Take the figures of one case.

    Args:
        record: What sdperf recorded; empty where it did not.
        stats: pytest-benchmark's own figures.
        outcome: What the run said of the case, where the record does not say.
    """
    verdict = as_object(record.get("verdict"))
    images = record.get("images_per_round", 1)
    rounds_s, unusable = _read_rounds(record.get("rounds_s", stats.get("data")), stats)
    if not is_count(images):
        unusable = "images_per_round is no number of images"
    memory, resources = as_object(record.get("memory")), as_object(record.get("resources"))
    energies = (
        resources.get("gpu_board_energy_per_image_j"),
        resources.get("gpu_soc_energy_per_image_j"),
    )
    guards = as_object(record.get("guards"))
    pictures = [as_object(one) for one in as_list(record.get("images"))]
    ssim, tile = _read_scores(pictures)
    entropies = [bits for one in pictures if (bits := number(one.get("entropy_bits"))) is not None]
    return Figures(
        outcome=outcome_word(verdict.get("outcome")) or outcome_word(outcome),
        unusable=unusable,
        disturbance=_find_disturbance(guards),
        rounds=None if unusable else len(rounds_s) or _count(stats.get("rounds")),
        excluded_rounds=len(as_list(guards.get("excluded"))) if guards else None,
        seconds_per_image=(
            None
            if unusable
            else (statistics.median(rounds_s) if rounds_s else stats["median"]) / images
        ),
        first_call_s=number(record.get("first_call_s")),
        load_s=number(record.get("load_s")),
        peak_rss_bytes=_count(memory.get("peak_rss_bytes")),
        peak_device_bytes=_count(memory.get("peak_device_bytes")),
        gpu_energy_per_image_j=next((j for j in map(number, energies) if j is not None), None),
        ssim=ssim,
        worst_tile_ssim=tile,
        entropy_bits=min(entropies, default=None),
    )


def _read_rounds(data: object, stats: Mapping[str, Any]) -> tuple[list[float], str | None]:
    """Return the rounds, or none where only their median was saved; and what is wrong."""
    if data is None:
        if _is_duration(stats.get("median")):
            return [], None
        return [], "it holds no durations"
    rounds = as_list(data)
    if not 0 < len(rounds) <= MOST_ROUNDS or not all(map(_is_duration, rounds)):
        return [], "its rounds are no durations"
    return rounds, None


def _read_scores(pictures: list[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    scores = [as_object(score) for one in pictures for score in as_list(one.get("scores"))]
    for against in SCORED_AGAINST:
        found = [score for score in scores if score.get("against") == against]
        if found:
            ssim = [number(score.get("ssim")) for score in found]
            tile = [number(score.get("worst_tile_ssim")) for score in found]
            return _lowest(ssim), _lowest(tile)
    return None, None


def _lowest(values: list[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _find_disturbance(guards: Mapping[str, Any]) -> str | None:
    """Say which guard failed beside the rounds, or that heat changed while they ran.

    Rounds in which something failed were measured again; what a guard only warned of (a share of
    a virtual machine's time, a governor) is the everyday noise of many machines.
    """
    for guard in _guards(guards, "during"):
        if "thermal" in str(guard.get("name")):
            return text(f"{guard.get('name')}: {guard.get('sentence')}")
    for key in ("before", "after"):
        for guard in _guards(guards, key):
            if guard.get("state") == "fail":
                return text(f"{guard.get('name')}: {guard.get('value')}")
    return None


def _guards(guards: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    return (as_object(one) for one in as_list(guards.get(key)))


def _is_duration(value: object) -> bool:
    if type(value) is not float and (not isinstance(value, int) or isinstance(value, bool)):
        return False
    return SHORTEST_DURATION_S <= value <= LONGEST_DURATION_S


def as_object(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return a JSON list, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []


def number(value: object) -> float | None:
    """Return a finite number, or ``None`` in place of anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def is_count(value: object) -> bool:
    """Tell whether it is a whole number from 1 that a database can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_INTEGER


def _count(value: object) -> int | None:
    return value if is_count(value) else None  # type: ignore[return-value]


def text(value: object, longest: int = LONGEST_TEXT) -> str | None:
    """Return text that every database and terminal takes: no controls, no halves of characters."""
    if not isinstance(value, str):
        return None
    return value[:longest].encode("utf-8", "replace").decode().translate(_UNSAFE) or None


def outcome_word(value: object) -> str | None:
    """Return an outcome that sdperf knows, or ``None``."""
    return value if isinstance(value, str) and value in _OUTCOMES else None
