import numpy as np
import pytest

from sdperf.errors import ImageError
from sdperf.images import compare_images
from sdperf.images.colour import compute_ciede2000_map


def test_equal_images_are_no_colour_apart():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert not compute_ciede2000_map(image, image.copy()).any()


def test_two_greys_are_as_far_apart_as_the_formula_says():
    """Worked by hand: L* of sRGB grey 120 and 130 are 50.4 and 54.3; S_L is 1.0008 between them."""
    one, other = (np.full((16, 16, 3), level, np.uint8) for level in (120, 130))
    assert compute_ciede2000_map(one, other) == pytest.approx(3.87, abs=0.05)


def test_only_pixels_that_differ_count():
    image = np.full((32, 32, 3), 100, np.uint8)
    dot = image.copy()
    dot[3, 5, 0] += 20
    differences = compute_ciede2000_map(image, dot)
    assert np.argwhere(differences).tolist() == [[3, 5]]


def test_a_shift_of_one_channel_is_seen_where_ssim_is_blind():
    image = np.random.default_rng(1).integers(40, 200, (64, 64, 3), dtype=np.uint8)
    shifted = image.copy()
    shifted[..., 0] += 2
    compared = compare_images(image, shifted)
    assert compared.ssim > 0.999
    assert compared.ciede2000 > 0.2


def test_the_worst_tile_of_colour_need_not_be_that_of_structure():
    image = np.full((64, 64, 3), 128, np.uint8)
    image[::2, :32] += 40
    damaged = image.copy()
    damaged[:16, :16] = 148  # structure gone
    damaged[48:, 48:, 2] = 255  # only the colour, of a flat tile
    compared = compare_images(image, damaged)
    assert compared.worst_tile_ciede2000 > 10


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ImageError):
        compute_ciede2000_map(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8))
