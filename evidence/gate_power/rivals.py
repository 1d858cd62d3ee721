"""The rules of other tools, each as it stands in its source, over many cases at once.

Each takes the rounds of one stored baseline run and of the current run, ``(..., R)`` seconds, and
says for which cases it would report a slowdown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import NDArray

Rounds: TypeAlias = NDArray[np.float64]
Rule: TypeAlias = Callable[[Rounds, Rounds], NDArray[np.bool_]]

BOOTSTRAPS = 400
"""Criterion draws 100,000; 400 place its 95 % bounds to within 1 % of coverage."""


def pytest_benchmark(statistic: Callable[..., Rounds]) -> Rule:
    """``--benchmark-compare-fail=STAT:5%``: current / compared * 100 - 100 > 5 (utils.py)."""

    def rule(baseline: Rounds, current: Rounds) -> NDArray[np.bool_]:
        ratio = statistic(current, axis=-1) / statistic(baseline, axis=-1)
        return np.asarray(ratio * 100 - 100 > 5)

    return rule


def asv(factor: float) -> Rule:
    """Medians apart by the factor and Mann-Whitney p < 0.002, two-sided (_stats.py, compare.py)."""

    def rule(baseline: Rounds, current: Rounds) -> NDArray[np.bool_]:
        slower: NDArray[np.bool_] = np.asarray(
            np.median(current, axis=-1) > factor * np.median(baseline, axis=-1)
        )
        p_values = np.ones(slower.shape)
        if slower.any():
            p_values[slower] = scipy.stats.mannwhitneyu(
                current[slower], baseline[slower], axis=-1, method="exact"
            ).pvalue
        return slower & (p_values < 0.002)

    return rule


def pyperf(baseline: Rounds, current: Rounds) -> NDArray[np.bool_]:
    """Student's t with pooled variance, two-sided 5 %, on the values of one run (_utils.py)."""
    count = baseline.shape[-1]
    variance = (baseline.var(axis=-1, ddof=1) + current.var(axis=-1, ddof=1)) / 2
    t = (current.mean(axis=-1) - baseline.mean(axis=-1)) / np.sqrt(variance * 2 / count)
    return np.asarray(t >= scipy.stats.t.ppf(0.975, 2 * count - 2))


def welch(baseline: Rounds, current: Rounds) -> NDArray[np.bool_]:
    """Welch's t test on the logs of rounds, one-sided 1 %."""
    return np.asarray(_welch_lower_bound(baseline, current, 0.01) > 0)


def welch_beyond_5_percent(baseline: Rounds, current: Rounds) -> NDArray[np.bool_]:
    """Lower end of Welch's 90 % interval of the log ratio above 5 % (inference-doctor)."""
    return np.asarray(_welch_lower_bound(baseline, current, 0.05) > np.log(1.05))


def criterion(baseline: Rounds, current: Rounds) -> NDArray[np.bool_]:
    """Bootstrap t test p < 0.05 and the 95 % interval of the change above 1 % (report.rs)."""
    rng = np.random.default_rng(0)
    count = baseline.shape[-1]
    flat_baseline, flat_current = baseline.reshape(-1, count), current.reshape(-1, count)
    regressed = np.zeros(len(flat_baseline), dtype=np.bool_)
    for start in range(0, len(flat_baseline), 2000):
        before, after = flat_baseline[start : start + 2000], flat_current[start : start + 2000]
        changes = _resample(after, rng).mean(axis=-1) / _resample(before, rng).mean(axis=-1) - 1
        both = np.concatenate([before, after], axis=-1)
        mixed = _resample(both, rng)
        null = _welch_t(mixed[..., :count], mixed[..., count:])
        observed = _welch_t(before, after)[:, None]
        tail = np.mean(null < observed, axis=-1)
        p_values = 2 * np.minimum(tail, 1 - tail)
        lower = np.quantile(changes, 0.025, axis=-1)
        regressed[start : start + 2000] = (p_values < 0.05) & (lower > 0.01)
    return regressed.reshape(baseline.shape[:-1])


RIVALS: dict[str, Rule] = {
    "pytest-benchmark mean:5%": pytest_benchmark(np.mean),
    "pytest-benchmark min:5%": pytest_benchmark(np.min),
    "pytest-benchmark median:5%": pytest_benchmark(np.median),
    "asv, factor 1.05": asv(1.05),
    "asv, factor 1.1 (default)": asv(1.1),
    "pyperf": pyperf,
    "Criterion": criterion,
    "Welch on rounds, p<.01": welch,
    "Welch on rounds, CI90>5%": welch_beyond_5_percent,
}


def _welch_t(baseline: Rounds, current: Rounds) -> Rounds:
    count = baseline.shape[-1]
    variance = baseline.var(axis=-1, ddof=1) + current.var(axis=-1, ddof=1)
    difference = current.mean(axis=-1) - baseline.mean(axis=-1)
    return np.asarray(difference / np.sqrt(np.maximum(variance / count, 1e-30)))


def _welch_lower_bound(baseline: Rounds, current: Rounds, alpha: float) -> Rounds:
    before, after = np.log(baseline), np.log(current)
    count = before.shape[-1]
    errors = before.var(axis=-1, ddof=1) / count, after.var(axis=-1, ddof=1) / count
    df = (errors[0] + errors[1]) ** 2 * (count - 1) / (errors[0] ** 2 + errors[1] ** 2)
    difference = after.mean(axis=-1) - before.mean(axis=-1)
    bound: Rounds = difference - scipy.special.stdtrit(df, 1 - alpha) * np.sqrt(sum(errors))
    return bound


def _resample(values: Rounds, rng: np.random.Generator) -> Rounds:
    """``(N, R)`` to ``(N, BOOTSTRAPS, R)``, drawn with replacement within each row."""
    count = values.shape[-1]
    picks = rng.integers(0, count, (BOOTSTRAPS, count))
    return values[:, picks]
