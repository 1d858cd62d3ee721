import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdperf.errors import ImageError
from sdperf.images import compute_trajectory_distance

latents = arrays(np.float32, (1, 4, 2, 2), elements=st.floats(-1e3, 1e3, width=32))


def test_worked_example():
    baseline = [np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.array([1.0, 0.0])]
    current = [np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([-1.0, 0.0])]
    distance = compute_trajectory_distance(baseline, current)
    assert distance.cosine_distances == pytest.approx((0, 1, 2))
    assert distance.relative_rms == pytest.approx((0, math.sqrt(2), 2))
    assert distance.first_step_above(0.1) == 1
    assert distance.first_step_above(2) is None
    assert distance.first_non_finite_step is None


def test_close_latents_keep_their_digits():
    before = np.random.default_rng(0).normal(size=(1, 4, 8, 8))
    after = before + 1e-9 * np.random.default_rng(1).normal(size=before.shape)
    (cosine,) = compute_trajectory_distance([before], [after]).cosine_distances
    assert cosine is not None
    assert 1e-20 < cosine < 1e-17


def test_non_finite_latents_end_the_distances_and_count_as_parted():
    good, bad = np.ones((1, 4, 2, 2)), np.full((1, 4, 2, 2), np.nan)
    distance = compute_trajectory_distance([good] * 3, [good, bad, good])
    assert distance.first_non_finite_step == 1
    assert distance.relative_rms == (0, None, None)
    assert distance.first_step_above(10) == 1


def test_zero_latents_have_a_distance():
    zero, one = np.zeros(4), np.ones(4)
    distance = compute_trajectory_distance([zero, zero], [zero, one])
    assert distance.cosine_distances == (0, 1)
    assert distance.relative_rms == pytest.approx((0, math.sqrt(2)))


@given(latents, latents)
def test_distances_are_symmetric_finite_and_bounded(before, after):
    one = compute_trajectory_distance([before], [after])
    other = compute_trajectory_distance([after], [before])
    assert one.relative_rms == pytest.approx(other.relative_rms)
    assert one.cosine_distances == pytest.approx(other.cosine_distances)
    assert 0 <= one.relative_rms[0] <= 2 + 1e-9
    assert 0 <= one.cosine_distances[0] <= 2 + 1e-9


@given(latents)
def test_a_trajectory_equals_itself(steps):
    assert compute_trajectory_distance([steps], [steps]).relative_rms == (0,)


def test_different_lengths_and_shapes_are_refused():
    step = np.zeros((1, 4, 2, 2))
    with pytest.raises(ImageError, match="number of steps"):
        compute_trajectory_distance([step], [step, step])
    with pytest.raises(ImageError, match="step 0 differ in shape"):
        compute_trajectory_distance([step], [step[0]])
