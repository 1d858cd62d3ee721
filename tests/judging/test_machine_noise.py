import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from sdperf.judging.machine_noise import compute_machine_noise, compute_upper_bound


def make_sessions(spread, count=8, cases=8, seed=0):
    """Sessions of unchanged code; medians of a case differ by ``spread`` (log units)."""
    rng = np.random.default_rng(seed)
    return [
        {
            f"case{case}": (math.exp(0.2 * case + rng.normal(0, spread)),) * 5
            for case in range(cases)
        }
        for _ in range(count)
    ]


def test_a_quiet_machine_supports_the_limit_and_catches_little():
    noise = compute_machine_noise(make_sessions(0.003, cases=4), 0.03)
    assert noise.supports_limit
    assert noise.red_sessions == 0
    assert noise.red_bound == pytest.approx(0.312, abs=0.001)
    assert noise.smallest_suspected is not None
    assert noise.smallest_suspected <= 0.05
    assert noise.smallest_proven is not None
    assert noise.smallest_suspected <= noise.smallest_proven <= 0.10


def test_a_noisy_machine_does_not_support_it():
    noise = compute_machine_noise(make_sessions(0.06, cases=4), 0.03)
    assert not noise.supports_limit
    assert noise.telling_width > 0.06
    assert noise.smallest_proven is None or noise.smallest_proven >= 0.2


@pytest.mark.parametrize(("count", "cases"), [(5, 8), (0, 8), (8, 0)])
def test_too_little_is_refused(count, cases):
    with pytest.raises(ValueError, match="sessions with"):
        compute_machine_noise(make_sessions(0.01, count, cases), 0.03)


@given(st.integers(1, 40), st.data())
def test_the_bound_is_clopper_and_pearsons(trials, data):
    seen = data.draw(st.integers(0, trials - 1))
    expected = beta.ppf(0.95, seen + 1, trials - seen)
    assert compute_upper_bound(seen, trials) == pytest.approx(expected, abs=1e-6)


def test_all_seen_is_bounded_by_one():
    assert compute_upper_bound(3, 3) == 1.0
