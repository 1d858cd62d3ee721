"""Pictures with transparency, which Qwen-Image 2.1 draws, keep their pixels in every PNG."""

import io

import numpy as np
import pytest
from PIL import Image

from sdperf.images.png import encode_fast_png, encode_png, encode_stored_png


@pytest.mark.parametrize("encode", [encode_png, encode_stored_png, encode_fast_png])
def test_a_picture_with_transparency_keeps_its_pixels(encode):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    with Image.open(io.BytesIO(encode(pixels))) as picture:
        assert picture.mode == "RGBA"
        assert np.array_equal(np.asarray(picture), pixels)
