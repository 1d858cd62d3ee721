"""Finds where the level of a series changed, with few false alarms on noise of any shape.

It is a permutation test of the largest contrast that a search can find (Olshen and Venkatraman
2004, circular binary segmentation). The search is part of the statistic, so looking at every place
costs no false alarms, whatever the distribution of the noise. Noise may have memory, which
permuting destroys. So each change also has to be large against errors that are widened by the
autocorrelation of the residuals. ``evidence/trend_power`` measures how often this is wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdperf.stats.distributions import compute_student_t_quantile
from sdperf.stats.intervals import SPREAD_FLOOR

Array = NDArray[np.float64]

STEP_ALPHA: Final = 0.001
"""Chance that independent noise shows a step that stays, per series."""

BUMP_ALPHA: Final = 0.00025
"""Chance that independent noise shows a level that came and went, per series."""

LEAST_CONTRAST: Final = 4.0
"""Least size of a change in standard errors, which are widened for the noise's memory."""

SMALLEST_SEGMENT: Final = 3
"""Fewest runs of a level: one or two deviating runs are spikes."""

FEWEST_RUNS: Final = 14
"""Fewest runs: with fewer no arrangement is rare enough, 2 / C(13, 6) exceeds `STEP_ALPHA`."""

PERMUTATIONS: Final = 3999
CLIP: Final = 5.0
"""Values are cut at this many robust standard deviations, so that spikes have little leverage."""

PLACE_CUT: Final = 7.0
"""A place belongs to the 95 % set up to this rise of the squared error, in variances."""

_BATCHES: Final = (49, 200, 750, 1000, 2000)
_SEED: Final = 20261123


@dataclass(frozen=True)
class ChangePoint:
    """One change of level.

    Attributes:
        index: Position of the first value of the new level.
        earliest: First position of a 95 % set for it.
        latest: Last position of that set.
        effect: New level less old level, in the unit of the values.
        lower: Lower end of a 95 % interval for the effect.
        upper: Upper end of that interval.
    """

    index: int
    earliest: int
    latest: int
    effect: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Segmentation:
    """A series as levels with changes between them.

    Attributes:
        changes: The changes of level, in order.
        levels: Level of each segment, one more than changes.
        spread: Robust standard deviation of a value around its level.
        autocorrelation: Autocorrelation of neighbouring residuals, corrected for bias, in [0, 0.8].
    """

    changes: tuple[ChangePoint, ...]
    levels: tuple[float, ...]
    spread: float
    autocorrelation: float

    def slice(self, segment: int, count: int) -> slice:
        """Return the positions of a segment in a series of ``count`` values."""
        borders = [0, *(change.index for change in self.changes), count]
        return slice(borders[segment], borders[segment + 1])


def segment_series(
    values: Sequence[float],
    *,
    spread_floor: float = SPREAD_FLOOR,
    smallest_effect: float = 0.0,
) -> Segmentation:
    """Find the changes of level in a series.

    Args:
        values: Values in order of time; log seconds, or any other unit.
        spread_floor: Smallest plausible standard deviation, in the unit of the values.
        smallest_effect: Changes smaller than this are not reported.

    Returns:
        The changes; no change in a series of fewer than `FEWEST_RUNS` values. A change does not
        prove that the code changed: machines and their surroundings change level too.

    Raises:
        ValueError: There are no values, one is not finite, or the floor is not positive.

    Source: Olshen, Venkatraman, Lucito and Wigler (2004), circular binary segmentation;
        permutation p-value with its +1 from Phipson and Smyth (2010), stopped early when it can
        no longer be small (Besag and Clifford 1991).
    """
    series = np.asarray(values, dtype=np.float64)
    if series.size == 0 or not np.isfinite(series).all() or not spread_floor > 0:
        raise ValueError("a series needs finite values and a positive floor of its spread")
    places = _find_places(series, 0, spread_floor)
    places = _settle(series, places, spread_floor)
    while True:
        found = _describe(series, places, spread_floor)
        weakest = _find_weakest(found, series.size, smallest_effect)
        if weakest is None:
            return found
        places.remove(weakest.index)
        places = _settle(series, places, spread_floor)


def compute_level_difference(
    before: Sequence[float],
    after: Sequence[float],
    spread: float,
    autocorrelation: float,
    *,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Compare two levels of one series whose spread is known from all of it.

    Args:
        before: Values of one level.
        after: Values of the other level.
        spread: Standard deviation of a value around its level.
        autocorrelation: Autocorrelation of neighbouring values, in [0, 1).
        confidence: Two-sided confidence, in (0, 1).

    Returns:
        The difference of the levels and both ends of its interval.

    Raises:
        ValueError: A side is empty.
    """
    if not before or not after:
        raise ValueError("a difference needs values on both sides")
    difference = _level(np.asarray(after), spread) - _level(np.asarray(before), spread)
    degrees = max(len(before) + len(after) - 2, 1)
    error = _error_of(len(before), len(after), spread, autocorrelation)
    reach = compute_student_t_quantile((1 + confidence) / 2, degrees) * error
    return difference, difference - reach, difference + reach


def _error_of(before: int, after: int, spread: float, autocorrelation: float) -> float:
    """Compute the standard error of a difference of levels, widened for the noise's memory."""
    inflation = math.sqrt((1 + autocorrelation) / (1 - autocorrelation))
    return spread * inflation * math.sqrt(1 / before + 1 / after)


def _find_weakest(found: Segmentation, count: int, smallest_effect: float) -> ChangePoint | None:
    """Return the least clear change where it is not clear enough; ``None`` where all are."""
    borders = [0, *(change.index for change in found.changes), count]
    contrasts = []
    for number, change in enumerate(found.changes):
        start, middle, stop = borders[number : number + 3]
        error = _error_of(middle - start, stop - middle, found.spread, found.autocorrelation)
        contrast = abs(change.effect) / error
        if contrast < LEAST_CONTRAST or abs(change.effect) < smallest_effect:
            contrasts.append((contrast, change))
    return min(contrasts, key=lambda pair: pair[0])[1] if contrasts else None


def _find_places(series: Array, offset: int, floor: float) -> list[int]:
    """Split a stretch as long as its split is larger than permutations of it can explain."""
    if series.size < FEWEST_RUNS:
        return []
    clipped = _clip(series, floor)
    if np.ptp(clipped) == 0:
        return []
    rng = np.random.default_rng([_SEED, series.size])
    cuts: list[int] = []
    if _is_rarer_than(STEP_ALPHA, clipped, _largest_step, rng):
        cuts = [int(_steps(clipped[None])[0].argmax()) + SMALLEST_SEGMENT]
    elif _is_rarer_than(BUMP_ALPHA, clipped, _largest_bump, rng):
        cuts = list(_widest_bump(clipped))
    if not cuts:
        return []
    places = [offset + cut for cut in cuts]
    borders = [0, *cuts, series.size]
    for start, stop in itertools.pairwise(borders):
        places += _find_places(series[start:stop], offset + start, floor)
    return sorted(places)


def _is_rarer_than(
    alpha: float, values: Array, statistic: Callable[[Array], Array], rng: np.random.Generator
) -> bool:
    """Tell whether the series' statistic is among the largest share alpha of its permutations."""
    reached = float(statistic(values[None])[0]) * (1 - 1e-9)
    allowed = math.floor(alpha * (PERMUTATIONS + 1)) - 1
    exceeded = 0
    for size in _BATCHES:
        permuted = rng.permuted(np.tile(values, (size, 1)), axis=1)
        exceeded += int(np.count_nonzero(statistic(permuted) >= reached))
        if exceeded > allowed:
            return False
    return True


def _clip(series: Array, floor: float) -> Array:
    """Return the series in robust standard deviations from its median, with spikes cut."""
    centred = (series - np.median(series)) / _spread_of(series, floor)
    return np.asarray(np.clip(centred, -CLIP, CLIP))


def _spread_of(series: Array, floor: float) -> float:
    """Estimate the noise from differences of neighbours, which steps and spikes hardly move."""
    if series.size < 3:
        return floor
    differences = np.diff(series)
    mad = float(np.median(np.abs(differences - np.median(differences))))
    return max(1.4826 * mad / math.sqrt(2), floor)


def _steps(rows: Array) -> Array:
    """Contrast before and after each place, ``(B, n)`` to ``(B, places)``, in noise units."""
    count = rows.shape[1]
    sums = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)
    sizes = np.arange(SMALLEST_SEGMENT, count - SMALLEST_SEGMENT + 1)
    weights = 1 / np.sqrt(sizes * (count - sizes) / count)
    contrasts = np.abs(sums[:, SMALLEST_SEGMENT - 1 : count - SMALLEST_SEGMENT]) * weights
    return np.asarray(contrasts)


def _largest_step(rows: Array) -> Array:
    return np.asarray(_steps(rows).max(axis=1))


def _bumps(rows: Array) -> tuple[Array, NDArray[np.intp], NDArray[np.intp]]:
    """Find each row's largest contrast of an inner stretch against the rest, and its place."""
    count, least = rows.shape[1], SMALLEST_SEGMENT
    sums = np.zeros((rows.shape[0], count + 1))
    np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1, out=sums[:, 1:])
    best = np.zeros(rows.shape[0])
    starts = np.full(rows.shape[0], least)
    lengths = np.full(rows.shape[0], least)
    for length in range(least, count - 2 * least + 1):
        inner = (
            sums[:, least + length : count - least + 1]
            - sums[:, least : count - least + 1 - length]
        )
        contrasts = np.abs(inner) / math.sqrt(length * (count - length) / count)
        at = contrasts.argmax(axis=1)
        largest = contrasts[np.arange(rows.shape[0]), at]
        better = largest > best
        best = np.where(better, largest, best)
        starts = np.where(better, at + least, starts)
        lengths = np.where(better, length, lengths)
    return best, starts, lengths


def _largest_bump(rows: Array) -> Array:
    return _bumps(rows)[0]


def _widest_bump(values: Array) -> tuple[int, int]:
    _, starts, lengths = _bumps(values[None])
    return int(starts[0]), int(starts[0] + lengths[0])


def _autocorrelation(residuals: Array) -> Array:
    """Estimate each row's lag-1 autocorrelation; fitting levels lowers it by about 3 / n."""
    products = (residuals[:, 1:] * residuals[:, :-1]).sum(axis=1)
    squares = np.maximum((residuals**2).sum(axis=1), 1e-12)
    return np.asarray(np.clip(products / squares + 3 / residuals.shape[1], 0, 0.8))


def _settle(series: Array, places: list[int], floor: float) -> list[int]:
    """Move each change to where it fits best between its neighbours, until none moves."""
    places = list(places)
    for _ in range(5):
        before = list(places)
        for number in range(len(places)):
            start = places[number - 1] if number else 0
            stop = places[number + 1] if number + 1 < len(places) else series.size
            errors = _errors_by_place(_clip(series[start:stop], floor))
            places[number] = start + SMALLEST_SEGMENT + int(errors.argmin())
        if places == before:
            break
    return places


def _errors_by_place(values: Array) -> Array:
    """Compute the squared error around two levels for each place of a step, in noise variances."""
    total = float(((values - values.mean()) ** 2).sum())
    return np.asarray(total - _steps(values[None])[0] ** 2)


def _describe(series: Array, places: list[int], floor: float) -> Segmentation:
    borders = [0, *places, series.size]
    pieces = [series[a:b] for a, b in itertools.pairwise(borders)]
    residuals = np.concatenate([piece - np.median(piece) for piece in pieces])
    spread = max(_spread_of(series, floor), 1.4826 * float(np.median(np.abs(residuals))))
    memory = float(_autocorrelation(np.clip(residuals / spread, -CLIP, CLIP)[None])[0])
    changes = []
    for number, place in enumerate(places):
        effect, lower, upper = compute_level_difference(
            pieces[number].tolist(), pieces[number + 1].tolist(), spread, memory
        )
        start, stop = borders[number], borders[number + 2]
        errors = _errors_by_place((series[start:stop] - np.median(series[start:stop])) / spread)
        near = np.flatnonzero(errors <= errors[place - start - SMALLEST_SEGMENT] + PLACE_CUT)
        offset = start + SMALLEST_SEGMENT
        changes.append(
            ChangePoint(
                index=place,
                earliest=min(place, offset + int(near[0])),
                latest=max(place, offset + int(near[-1])),
                effect=effect,
                lower=lower,
                upper=upper,
            )
        )
    levels = tuple(_level(piece, spread) for piece in pieces)
    return Segmentation(tuple(changes), levels, spread, memory)


def _level(values: Array, spread: float) -> float:
    """Compute the mean of the values after drawing in those far from their median."""
    middle = float(np.median(values))
    return float(np.clip(values, middle - 3 * spread, middle + 3 * spread).mean())
