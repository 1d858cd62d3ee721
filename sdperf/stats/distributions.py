"""The special functions that the other modules need; the only place that imports scipy.

scipy is always there because scikit-image depends on it. Only ``scipy.special`` is loaded, and
only when a quantile is asked for.
"""

from __future__ import annotations

import math
from statistics import NormalDist


def compute_student_t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return x with P(T <= x) = probability for Student's t.

    Args:
        probability: A probability in (0, 1).
        degrees_of_freedom: More than 0; may be fractional, or ``inf`` for the normal distribution.

    Raises:
        ValueError: An argument is out of its range.

    Source: ``scipy.special.stdtrit``.
    """
    from scipy.special import stdtrit

    if not 0 < probability < 1 or not degrees_of_freedom > 0:
        raise ValueError(f"no t quantile for p={probability}, df={degrees_of_freedom}")
    if math.isinf(degrees_of_freedom):
        return NormalDist().inv_cdf(probability)
    return float(stdtrit(degrees_of_freedom, probability))


def compute_student_t_tail(t: float, degrees_of_freedom: float) -> float:
    """Return P(T > t) for Student's t, accurate far out in the tail.

    Args:
        t: Any number; infinite gives 0 or 1.
        degrees_of_freedom: More than 0; may be fractional, or ``inf`` for the normal distribution.

    Raises:
        ValueError: NaN, or degrees of freedom out of range.

    Source: ``scipy.special.stdtr`` and ``ndtr`` of the mirrored argument.
    """
    from scipy.special import ndtr, stdtr

    if math.isnan(t) or not degrees_of_freedom > 0:
        raise ValueError(f"no t tail for t={t}, df={degrees_of_freedom}")
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    return float(ndtr(-t) if math.isinf(degrees_of_freedom) else stdtr(degrees_of_freedom, -t))


def compute_digamma(x: float) -> float:
    """Return the logarithmic derivative of the gamma function at x > 0."""
    from scipy.special import digamma

    return float(digamma(x))


def compute_trigamma(x: float) -> float:
    """Return the derivative of the digamma function at x > 0."""
    from scipy.special import polygamma

    return float(polygamma(1, x))


def invert_trigamma(y: float) -> float:
    """Return x > 0 with trigamma(x) = y.

    Args:
        y: More than 0.

    Raises:
        ValueError: y is not positive and finite.

    Source: Smyth (2004), appendix: Newton's method on 1 / trigamma, which is nearly linear and
        convex, so that it converges from 0.5 + 1/y without overshooting.
    """
    from scipy.special import polygamma

    if not 0 < y < math.inf:
        raise ValueError(f"trigamma takes no value {y}")
    if y > 1e7:
        return 1 / math.sqrt(y)
    if y < 1e-6:
        return 1 / y
    x = 0.5 + 1 / y
    for _ in range(50):
        trigamma = compute_trigamma(x)
        step = trigamma * (1 - trigamma / y) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x
