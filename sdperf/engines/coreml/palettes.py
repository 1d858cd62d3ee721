"""Palettes: weights that are stored as indices into a short table of values.

coremltools' k-means takes every single weight for a point and searches, for minutes a network. A
weight in float16 has at most 63,488 distinct values, and in one dimension clusters are intervals:
over distinct values and their counts the best table is computed, without a search.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

FEWEST_ELEMENTS: Final = 2048
"""Most elements of a weight that stays as it is."""

CHANNELS_IN_A_GROUP: Final = 16
"""Output channels that share a table of 4 bits; 6 bits have one table a weight."""

_GROUPED_BELOW_BITS: Final = 6
_CODES: Final = 2**16

Floats = npt.NDArray[np.floating[Any]]
_Doubles = npt.NDArray[np.float64]
_Places = npt.NDArray[np.intp]


def is_grouped(bits: int) -> bool:
    """Tell whether groups of output channels have separate tables."""
    return bits < _GROUPED_BELOW_BITS


def fit_palette(weight: Floats, size: int) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Choose the table that a weight's elements are rounded to with the least squared error.

    Args:
        weight: Finite values of any shape; they are clustered in float16.
        size: Number of values of the table, at most 256.

    Returns:
        The table, (size,) ascending, in the weight's dtype; its last value is repeated where there
        are fewer distinct ones. And each element's place in it, (elements,).
    """
    codes = np.ascontiguousarray(weight, dtype=np.float16).ravel().view(np.uint16)
    counts = np.bincount(codes, minlength=_CODES)
    present = np.flatnonzero(counts)
    values = present.astype(np.uint16).view(np.float16).astype(np.float64)
    order = np.argsort(values, kind="stable")
    present, values = present[order], values[order]
    weights = counts[present].astype(np.float64)
    starts = find_clusters(values, weights, min(size, len(values)))
    lengths = np.diff(starts, append=len(values))
    means = np.add.reduceat(values * weights, starts) / np.add.reduceat(weights, starts)
    table = np.append(means, np.full(size - len(means), means[-1]))
    place_of = np.zeros(_CODES, dtype=np.uint8)
    place_of[present] = np.repeat(np.arange(len(starts), dtype=np.uint8), lengths)
    return table.astype(weight.dtype), place_of[codes]


def palettise(weight: Floats, bits: int) -> Floats:
    """Round a weight to its palette, as a converted program holds it.

    Args:
        weight: (output channels, ...), in the program's dtype.
        bits: Bits of an index into the table.

    Returns:
        Values of the same shape and dtype; the weight itself where it is small, flat, or its
        channels do not divide into groups.
    """
    if weight.ndim < 2 or weight.size <= FEWEST_ELEMENTS:
        return weight
    groups = 1
    if is_grouped(bits):
        groups, rest = divmod(len(weight), CHANNELS_IN_A_GROUP)
        if rest:
            return weight
    rounded = []
    for group in np.split(weight, groups):
        table, places = fit_palette(group, 2**bits)
        rounded.append(table[places].reshape(group.shape))
    return np.concatenate(rounded)


def find_clusters(values: _Doubles, weights: _Doubles, count: int) -> _Places:
    """Cut sorted values into runs with the least weighted sum of squares within them.

    Args:
        values: (N,) ascending.
        weights: (N,) above 0.
        count: Runs, from 1 to N.

    Returns:
        Where each run starts, (count,); equally good cuts give the first.

    Source: Wang and Song, "Ckmeans.1d.dp", The R Journal 3/2 (2011): dynamic programming over the
        end of the last run. Where that run starts never moves back as its end moves on, which
        halves the search again and again: Grønlund et al., "Fast exact k-means, k-medians and
        Bregman divergence clustering in 1D" (2017), section 2.2.
    """
    costs = _RunCosts(values, weights)
    ends = np.arange(len(values) + 1)
    best = np.full(len(ends), np.inf)
    best[1:] = costs(np.zeros(len(values), dtype=np.intp), ends[1:])
    starts = []
    for runs in range(2, count + 1):
        best, chosen = _add_run(best, costs, runs)
        starts.append(chosen)
    found = []
    end = len(values)
    for chosen in reversed(starts):
        end = int(chosen[end])
        found.append(end)
    return np.array([0, *reversed(found)], dtype=np.intp)


class _RunCosts:
    """Weighted sums of squares around the mean of runs, from cumulative sums."""

    def __init__(self, values: _Doubles, weights: _Doubles) -> None:
        centred = values - np.average(values, weights=weights)
        self._sums = [
            np.concatenate([[0.0], np.cumsum(weights * centred**power)]) for power in (0, 1, 2)
        ]

    def __call__(self, starts: _Places, ends: _Places) -> _Doubles:
        """Return the costs of runs of at least one value, ends excluded."""
        count, total, squares = (sums[ends] - sums[starts] for sums in self._sums)
        cost: _Doubles = np.maximum(squares - total**2 / count, 0.0)
        return cost


def _add_run(best: _Doubles, costs: _RunCosts, runs: int) -> tuple[_Doubles, _Places]:
    """Find the best costs with one run more, and where the last run starts, by its end.

    All ends half-way between known ones are searched at once, each between the starts that its
    neighbours chose.
    """
    last = len(best) - 1
    chosen = np.zeros(last + 2, dtype=np.intp)
    chosen[[runs - 1, last + 1]] = runs - 1, last
    improved = np.full(len(best), np.inf)
    known = np.array([runs - 1, last + 1])
    while len(known) < last + 3 - runs:
        wide = np.diff(known) > 1
        before, after = known[:-1][wide], known[1:][wide]
        ends = (before + after) // 2
        lows, highs = chosen[before], np.minimum(chosen[after], ends - 1)
        lengths = highs - lows + 1
        offsets = np.cumsum(lengths) - lengths
        candidates = np.arange(lengths.sum()) + np.repeat(lows - offsets, lengths)
        totals = best[candidates] + costs(candidates, np.repeat(ends, lengths))
        improved[ends] = np.minimum.reduceat(totals, offsets)
        hits = np.flatnonzero(totals == np.repeat(improved[ends], lengths))
        chosen[ends] = candidates[hits[np.searchsorted(hits, offsets)]]
        known = np.sort(np.concatenate([known, ends]))
    return improved, chosen
