import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from skimage.measure import shannon_entropy

from sdperf.errors import ImageError
from sdperf.images import compute_entropy_bits
from sdperf.images.image_array import compute_grey_levels
from tests.support.pictures import make_scene, shuffle_pixels


def test_flat_frame_has_no_entropy():
    assert compute_entropy_bits(np.full((8, 8, 3), 77, np.uint8)) == 0


def test_two_equal_halves_are_one_bit():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 255
    assert compute_entropy_bits(image) == pytest.approx(1)


def test_all_levels_equally_often_are_eight_bits():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert compute_entropy_bits(np.stack([ramp] * 3, axis=-1)) == pytest.approx(8)


def test_entropy_is_blind_to_where_pixels_are():
    scene = make_scene()
    assert compute_entropy_bits(shuffle_pixels(scene)) == pytest.approx(compute_entropy_bits(scene))


@given(arrays(np.uint8, (8, 8, 3)))
@settings(deadline=None)
def test_entropy_agrees_with_scikit_image(image):
    expected_bits = shannon_entropy(compute_grey_levels(image), base=2)
    assert compute_entropy_bits(image) == pytest.approx(expected_bits, abs=1e-12)
    assert 0 <= compute_entropy_bits(image) <= 8


def test_pure_colours_have_the_grey_of_the_standard():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert compute_grey_levels(colours).tolist() == [[76, 150, 29, 255]]


def test_floats_are_refused():
    with pytest.raises(ImageError, match="cannot be scored"):
        compute_entropy_bits(np.zeros((8, 8, 3)))
