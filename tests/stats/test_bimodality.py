import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.bimodality import detect_bimodality


def test_two_kernels_are_told_apart():
    modes = detect_bimodality([10.0, 24.8, 10.1, 9.9, 25.0])
    assert modes is not None
    assert modes.fast_s == pytest.approx(10.0)
    assert modes.slow_s == pytest.approx((24.8 * 25.0) ** 0.5)
    assert modes.slow_share == 0.4
    assert modes.ratio == pytest.approx(2.49, abs=0.01)


def test_one_slow_process_of_three_is_reported():
    modes = detect_bimodality([10.0, 10.1, 13.0])
    assert modes is not None
    assert modes.slow_share == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "medians",
    [[], [10.0], [10.0, 10.9], [10.0, 10.1, 10.2, 10.3], [10.0, 11.0, 12.0, 13.0, 14.5]],
)
def test_one_mode_or_a_spread_is_not_reported(medians):
    assert detect_bimodality(medians) is None


def test_noise_alone_is_hardly_ever_bimodal():
    draws = np.exp(np.random.default_rng(4).normal(0, 0.04, (2000, 5)))
    assert np.mean([detect_bimodality(row.tolist()) is not None for row in draws]) < 0.001


@given(st.lists(st.floats(0.1, 10), max_size=8), st.floats(0.1, 10), st.randoms())
def test_neither_order_nor_unit_matters(medians, factor, random):
    shuffled = [factor * median for median in medians]
    random.shuffle(shuffled)
    one, other = detect_bimodality(medians), detect_bimodality(shuffled)
    if one is not None and other is not None:
        assert other.slow_share == one.slow_share
        assert other.ratio == pytest.approx(one.ratio)
        assert one.ratio >= 1.14
        assert 0 < one.slow_share < 1


@pytest.mark.parametrize("median", [0.0, -1.0, float("nan"), float("inf")])
def test_medians_are_positive(median):
    with pytest.raises(ValueError):
        detect_bimodality([1.0, median])
