"""Pictures that were scaled up are told from those that were drawn in their size."""

import numpy as np
import pytest
from PIL import Image

from sdperf.images.enlargement import FILTERS, find_enlargement


def draw(size, seed=0, blur=0):
    """Draw clouds with a little grain, as a decoder leaves it."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(40, 215, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=float)
    grain = generator.normal(0, 2.0, (size, size, 3))
    return np.clip(smooth + grain, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_in_its_size_is_left_alone(seed):
    assert find_enlargement(draw(96, seed)) is None


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_picture_that_was_scaled_up_is_found(name, factor):
    small = Image.fromarray(draw(96 // factor))
    large = np.asarray(small.resize((96, 96), FILTERS[name]))
    assert find_enlargement(large) is not None
    assert f"{96 // factor} x {96 // factor} px" in find_enlargement(large)


def test_what_is_too_flat_or_too_small_is_not_accused():
    assert find_enlargement(np.full((64, 64, 3), 90, np.uint8)) is None
    assert find_enlargement(draw(7)) is None
