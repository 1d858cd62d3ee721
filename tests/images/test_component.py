import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdperf.errors import ImageError
from sdperf.images import compute_component_distance

outputs = arrays(np.float32, 12, elements=st.floats(-100, 100, width=32))


def distance(baseline, current, **named):
    return compute_component_distance("denoiser", "step 1 of 4", baseline, current, **named)


def test_a_worked_example():
    seen = distance(np.array([3.0, 4.0]), np.array([3.0, 3.0]))
    assert seen.psnr_db == pytest.approx(20 * math.log10(4 / math.sqrt(0.5)))
    assert seen.cosine == pytest.approx((9 + 12) / (5 * math.sqrt(18)))
    assert not seen.identical


def test_a_stated_peak_is_that_of_images():
    zeros = np.zeros(4)
    assert distance(zeros, zeros + 0.1, peak=1.0).psnr_db == pytest.approx(20.0)


@given(outputs)
def test_itself_is_identical(values):
    seen = distance(values, values)
    assert (seen.identical, seen.psnr_db, seen.cosine) == (True, None, 1.0)


@given(outputs, outputs, st.floats(0.001, 1000))
def test_scaling_both_sides_changes_nothing(one, other, scale):
    one, other = one.astype(np.float64), other.astype(np.float64)
    before, after = distance(one, other), distance(one * scale, other * scale)
    if not before.identical:
        assert after.psnr_db == pytest.approx(before.psnr_db, abs=1e-6)
        assert after.cosine == pytest.approx(before.cosine, abs=1e-6)


def test_close_outputs_keep_their_digits():
    values = np.random.default_rng(0).normal(size=1000)
    seen = distance(values, values * (1 + 1e-12))
    assert 1 - seen.cosine < 1e-20 or seen.cosine == 1.0
    assert seen.psnr_db > 200


def test_nan_is_counted_not_averaged():
    seen = distance(np.ones(4), np.array([1.0, np.nan, np.inf, 1.0]))
    assert (seen.nonfinite, seen.psnr_db, seen.cosine) == (2, None, None)


def test_a_broken_reference_and_another_shape_are_refused():
    with pytest.raises(ImageError, match="in fp32 holds NaN"):
        distance(np.array([np.nan]), np.ones(1))
    with pytest.raises(ImageError, match="differs in shape"):
        distance(np.ones(3), np.ones(4))
