import numpy as np
import pytest

from sdperf.errors import ImageError
from sdperf.images import compare_images
from sdperf.report.pictures.side_by_side import compose_side_by_side
from tests.support.pictures import blacken_tile, make_scene

RED = (255, 59, 48)


def compose(baseline, current, **named):
    box = compare_images(baseline, current).worst_tile.box
    texts = {"title": "images[fp32]: 'red apple' (seed 0)", "caption": "SSIM 0.5"} | named
    return box, compose_side_by_side(baseline, current, tile_box=box, **texts)


def test_small_images_are_enlarged_and_the_worst_tile_is_outlined_in_each_panel():
    scene = make_scene(64, 64)
    box, picture = compose(scene, blacken_tile(scene, 1, 2, 16))
    assert box == (32, 16, 48, 32)
    assert picture.dtype == np.uint8
    scale = 5
    assert picture.shape[1] == 3 * 64 * scale + 4 * 12
    red = (picture == RED).all(axis=2)
    columns = np.flatnonzero(red.any(axis=0))
    for panel in range(3):
        left = 12 + panel * (64 * scale + 12) + box[0] * scale
        assert left - 1 in columns


def test_the_difference_shows_the_damage_and_nothing_else():
    scene = make_scene(64, 64)
    _, picture = compose(scene, blacken_tile(scene, 1, 2, 16))
    third = picture[:, 2 * (64 * 5 + 12) + 12 :]
    assert (third[-100:-60, 20:60] == 0).all()


def test_large_images_keep_their_size():
    scene = make_scene(512, 512)
    _, picture = compose(scene, blacken_tile(scene, 0, 0, 64))
    assert picture.shape[1] == 3 * 512 + 4 * 12


def test_any_prompt_can_be_written():
    scene = make_scene(32, 32)
    prompt = "\x00\n猫 \U0001f600 " + "x" * 2000
    _, picture = compose(scene, blacken_tile(scene, 0, 0, 16), title=prompt)
    assert picture.shape[0] < 2000


def test_another_shape_is_refused():
    with pytest.raises(ImageError):
        compose_side_by_side(
            make_scene(32, 32), make_scene(32, 64), tile_box=(0, 0, 1, 1), title="", caption=""
        )
