import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdperf.errors import ImageError
from sdperf.images.png import compute_png_sha256, decode_png, encode_png


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (24, 16, 3), dtype=np.uint8)


def test_pixels_survive_and_equal_pixels_are_equal_bytes():
    png = encode_png(picture())
    assert np.array_equal(decode_png(png), picture())
    assert compute_png_sha256(png) == compute_png_sha256(encode_png(picture()))
    assert compute_png_sha256(png) != compute_png_sha256(encode_png(picture(1)))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_image_error(content):
    with pytest.raises(ImageError):
        decode_png(content)


@pytest.mark.parametrize("cut", [10, 60, 600])
def test_a_truncated_png_is_an_image_error_that_names_it(cut):
    with pytest.raises(ImageError, match="apple"):
        decode_png(encode_png(picture())[:cut], "apple.png")


def test_a_decompression_bomb_is_refused():
    buffer = io.BytesIO()
    Image.new("1", (20000, 20000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 2**20
    with pytest.raises(ImageError, match="too large"):
        decode_png(buffer.getvalue())


def test_other_formats_are_refused():
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "BMP")
    with pytest.raises(ImageError):
        decode_png(buffer.getvalue())
