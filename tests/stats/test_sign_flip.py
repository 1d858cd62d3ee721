import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sdperf.stats.sign_flip import compute_sign_flip_p_value

drops = st.lists(st.floats(-1, 1), min_size=1, max_size=9)


def test_eight_drops_of_eight_reach_one_in_256():
    assert compute_sign_flip_p_value([0.01 * k for k in range(1, 9)]) == 1 / 256


def test_six_drops_of_six_cannot_reach_one_percent():
    assert compute_sign_flip_p_value([0.5] * 6) == 1 / 64


def test_no_difference_is_no_evidence():
    assert compute_sign_flip_p_value([0.0] * 8) == 1


@given(drops)
@settings(deadline=None)
def test_agrees_with_plain_enumeration(values):
    reached = sum(values) - 1e-9 * len(values) * max(map(abs, values))
    count = sum(
        sum(sign * value for sign, value in zip(signs, values, strict=True)) >= reached
        for signs in itertools.product((1, -1), repeat=len(values))
    )
    assert compute_sign_flip_p_value(values) == count / 2 ** len(values)


def test_agrees_with_scipys_permutation_test():
    values = np.random.default_rng(5).normal(0.3, 1, 10)
    expected = scipy.stats.permutation_test(
        (values,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
    ).pvalue
    assert compute_sign_flip_p_value(values.tolist()) == pytest.approx(expected)


@given(drops, st.floats(0.01, 100))
@settings(deadline=None)
def test_the_scale_of_the_score_does_not_matter(values, scale):
    largest = max(map(abs, values))
    if 0 < largest < 1e-100:
        return
    assert compute_sign_flip_p_value([scale * value for value in values]) == pytest.approx(
        compute_sign_flip_p_value(values)
    )


@given(drops)
@settings(deadline=None)
def test_a_drop_and_its_mirror_are_never_both_significant(values):
    mirrored = [-value for value in values]
    together = compute_sign_flip_p_value(values) + compute_sign_flip_p_value(mirrored)
    assert together >= 1


def test_many_pairs_are_sampled_and_repeatable():
    values = np.random.default_rng(6).normal(0.05, 1, 60).tolist()
    sampled = compute_sign_flip_p_value(values)
    assert sampled == compute_sign_flip_p_value(values)
    normal = scipy.stats.norm.sf(sum(values) / np.linalg.norm(values))
    assert sampled == pytest.approx(normal, abs=0.02)


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf"), 1.0]])
def test_what_cannot_be_tested_is_refused(values):
    with pytest.raises(ValueError):
        compute_sign_flip_p_value(values)
