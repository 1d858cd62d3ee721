"""Error control over a family of tests: 60 cases at 5 % each is a red suite most of the time."""

from __future__ import annotations

from collections.abc import Sequence


def adjust_bonferroni(p_values: Sequence[float]) -> tuple[float, ...]:
    """Multiply each p-value by the size of the family, at most 1.

    Raises:
        ValueError: A p-value outside [0, 1].
    """
    _require_probabilities(p_values)
    return tuple(min(1.0, p * len(p_values)) for p in p_values)


def adjust_holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values so that rejecting those <= alpha keeps the family-wise error <= alpha.

    Needs no assumption on how the tests depend on each other, and never rejects less than
    `adjust_bonferroni`.

    >>> adjust_holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)

    Raises:
        ValueError: A p-value outside [0, 1].

    Source: Holm (1979), step-down.
    """
    _require_probabilities(p_values)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return tuple(adjusted)


def _require_probabilities(p_values: Sequence[float]) -> None:
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("p-values lie in [0, 1]")
