import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sdperf.errors import ImageError
from sdperf.images import (
    compare_images,
    comparison,
    compute_psnr_db,
    compute_ssim,
    compute_tile_edge_px,
)
from tests.support.pictures import add_noise, blacken_tile, make_scene, shift_right, shuffle_pixels

small_images = arrays(np.uint8, (16, 20, 3))


def test_identical_images_score_perfectly_and_have_no_psnr():
    scene = make_scene()
    result = compare_images(scene, scene.copy())
    assert result.ssim == 1
    assert result.identical
    assert result.psnr_db is None
    assert result.worst_tile.ssim == 1
    assert result.worst_tile.psnr_db is None
    assert math.isinf(compute_psnr_db(scene, scene))


def test_scores_agree_with_scikit_image():
    scene, noisy = make_scene(), add_noise(make_scene(), 8)
    expected_ssim = structural_similarity(
        scene,
        noisy,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
    )
    expected_psnr = peak_signal_noise_ratio(scene, noisy, data_range=255)
    result = compare_images(scene, noisy)
    assert result.ssim == compute_ssim(scene, noisy) == pytest.approx(expected_ssim)
    assert result.psnr_db == compute_psnr_db(scene, noisy) == pytest.approx(expected_psnr)


@given(small_images, small_images)
@settings(max_examples=50, deadline=None)
def test_every_score_is_scikit_images(first, second):
    ssim, ssim_map = structural_similarity(
        first,
        second,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    result = compare_images(first, second)
    left, top, right, bottom = result.worst_tile.box
    tile_ssim = ssim_map[top:bottom, left:right].mean()
    assert result.ssim == pytest.approx(ssim, abs=1e-6)
    assert result.worst_tile.ssim == pytest.approx(tile_ssim, abs=1e-6)
    assert result.identical == np.array_equal(first, second)


@pytest.mark.parametrize("size", [(512, 512), (128, 100), (14, 12)])
def test_equal_pixels_need_no_arithmetic(monkeypatch, size):
    """The shortcut gives what the arithmetic gave."""
    scene = make_scene(*size)
    shortcut = compare_images(scene, scene.copy())
    monkeypatch.setattr(comparison.np, "array_equal", lambda *_: False)
    computed = compare_images(scene, scene)
    assert shortcut == dataclasses.replace(
        computed, ssim=1.0, worst_tile=dataclasses.replace(computed.worst_tile, ssim=1.0)
    )
    assert computed.ssim == pytest.approx(1, abs=1e-12)


def test_psnr_of_one_level_everywhere_is_48_db():
    flat = np.full((16, 16, 3), 100, np.uint8)
    assert compute_psnr_db(flat, flat + 1) == pytest.approx(20 * math.log10(255))


def test_uint8_differences_do_not_wrap_around():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert compute_psnr_db(black, white) == 0


def test_worst_tile_sees_a_black_tile_that_the_mean_hides():
    scene = make_scene(512, 512)
    result = compare_images(scene, blacken_tile(scene, 2, 5, 64))
    assert result.ssim > 0.95
    assert result.psnr_db is not None
    assert result.psnr_db > 20
    tile = result.worst_tile
    assert (tile.row, tile.column) == (2, 5)
    assert tile.box == (5 * 64, 2 * 64, 6 * 64, 3 * 64)
    assert tile.ssim < 0.2
    assert tile.psnr_db is not None
    assert tile.psnr_db < 10


def test_last_tile_is_whole_and_ends_at_the_border():
    scene = make_scene(100, 130)
    damaged = scene.copy()
    damaged[-3:, -3:] = 0
    tile = compare_images(scene, damaged).worst_tile
    assert tile.box == (105, 75, 130, 100)
    assert (tile.row, tile.column) == (3, 5)


def test_image_smaller_than_a_tile_is_one_tile():
    scene = make_scene(12, 14)
    assert compare_images(scene, add_noise(scene, 9)).worst_tile.box == (0, 0, 14, 12)


@pytest.mark.parametrize("damage", [shift_right, shuffle_pixels, lambda image: 255 - image])
def test_damage_lowers_every_score(damage):
    scene = make_scene()
    result = compare_images(scene, damage(scene))
    assert result.ssim < 0.97
    assert result.worst_tile.ssim < result.ssim
    assert not result.identical


@given(small_images)
@settings(max_examples=30, deadline=None)
def test_an_image_equals_itself(image):
    result = compare_images(image, image)
    assert result.ssim == pytest.approx(1)
    assert result.identical
    assert result.psnr_db is None


@given(small_images, small_images)
@settings(max_examples=30, deadline=None)
def test_swapping_sides_changes_nothing(first, second):
    one, other = compare_images(first, second), compare_images(second, first)
    assert one.ssim == pytest.approx(other.ssim, abs=1e-12)
    assert one.psnr_db == other.psnr_db
    assert one.worst_tile.ssim == pytest.approx(other.worst_tile.ssim, abs=1e-12)
    assert -1 <= one.ssim <= 1
    assert one.worst_tile.ssim <= one.ssim + 0.5
    assert math.isfinite(one.ssim)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_tile_edge_stays_in_range(height, width):
    assert 16 <= compute_tile_edge_px(height, width) <= 64


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (make_scene(64, 128), "differ in size"),
        (make_scene().astype(np.float32), "current image cannot be scored"),
        (make_scene()[..., 0], "current image cannot be scored"),
        (np.zeros((0, 0, 3), np.uint8), "current image cannot be scored"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(current, words):
    with pytest.raises(ImageError, match=words):
        compare_images(make_scene(), current)


def test_too_small_for_ssim_is_refused():
    tiny = make_scene(10, 40)
    with pytest.raises(ImageError, match="too small for SSIM"):
        compare_images(tiny, tiny)
