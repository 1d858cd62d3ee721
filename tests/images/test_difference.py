import numpy as np
import pytest

from sdperf.errors import ImageError
from sdperf.images import difference_image
from tests.support.pictures import make_scene


def test_difference_is_absolute_amplified_and_cut_off():
    baseline = np.full((1, 3, 3), 100, np.uint8)
    current = np.array([[[102] * 3, [98] * 3, [200] * 3]], np.uint8)
    assert difference_image(baseline, current, gain=8)[0, :, 0].tolist() == [16, 16, 255]


def test_equal_images_give_black():
    assert not difference_image(make_scene(), make_scene()).any()


def test_sizes_must_match():
    with pytest.raises(ImageError, match="differ in size"):
        difference_image(make_scene(), make_scene(64, 64))
