import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sdperf.images import describe_image
from sdperf.images.description import BLACK_LEVEL, FLAT_RANGE_LEVELS
from tests.support.pictures import make_scene


def test_a_picture_is_sound():
    description = describe_image(make_scene(), expected_size_px=(128, 128))
    assert description.is_sound
    assert description.entropy_bits is not None
    assert description.entropy_bits > 4


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (np.zeros((32, 32, 3), np.uint8), "black frame"),
        (np.full((32, 32, 3), 128, np.uint8), "flat frame"),
        (np.full((32, 32, 3), (200, 10, 90), np.uint8), "flat frame"),
        (np.zeros((32, 32), np.uint8), "wrong shape"),
        (np.zeros((32, 32, 4), np.uint8), "wrong shape"),
        (np.zeros((0, 32, 3), np.uint8), "wrong shape"),
        (make_scene().astype(np.int64), "wrong dtype"),
        (make_scene(64, 128), "wrong size: 128 x 64 px instead of 128 x 128 px"),
    ],
)
def test_each_hard_fault_is_named(image, fault):
    faults = describe_image(image, expected_size_px=(128, 128)).faults
    assert any(text.startswith(fault) for text in faults)


def test_nan_is_seen_before_the_cast_makes_it_black():
    image = make_scene().astype(np.float32) / 255
    assert describe_image(image).is_sound
    image[5, 5, 1] = np.nan
    image[6, 6, 2] = np.inf
    (fault,) = describe_image(image).faults
    assert fault == f"non-finite values: 2 of {image.size} are NaN or infinite"


def test_sensor_noise_on_black_is_still_black():
    noise = np.random.default_rng(0).integers(0, 8, (32, 32, 3)).astype(np.uint8)
    assert not describe_image(noise).is_sound


def test_a_small_mark_on_white_paper_is_no_fault():
    image = np.full((64, 64, 3), 255, np.uint8)
    image[30:34, 30:34] = 0
    assert describe_image(image).is_sound


@given(
    st.sampled_from([np.uint8, np.float32, np.int16, np.bool_]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=4, max_side=4))
    )
)
def test_any_array_gets_an_answer(image):
    assert isinstance(describe_image(image).is_sound, bool)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_flatness_is_that_of_the_widest_channel(image):
    spans = [int(np.ptp(image[..., channel])) for channel in range(3)]
    assert describe_image(image).is_sound == (max(spans) > FLAT_RANGE_LEVELS)
    is_black = image.max() <= BLACK_LEVEL
    assert any("black" in fault for fault in describe_image(image).faults) == is_black
