import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp

from sdperf.pipeline.pixels import count_nonfinite, to_uint8

PIXELS = stnp.arrays(
    np.float32, (1, 2, 3, 3), elements=st.floats(0, 1, width=32, allow_subnormal=False)
)


@given(PIXELS)
def test_rounding_is_that_of_diffusers(pixels):
    (image,) = VaeImageProcessor.numpy_to_pil(pixels)
    assert np.array_equal(to_uint8(pixels)[0], np.asarray(image))


def test_bytes_are_contiguous_whatever_the_layout():
    channels_first = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 3, 2, 4)
    assert to_uint8(channels_first.transpose(0, 2, 3, 1)).flags["C_CONTIGUOUS"]


def test_nonfinite_values_are_counted_in_tensors_and_arrays():
    values = [0.0, float("nan"), float("inf"), -float("inf"), 1.0]
    assert count_nonfinite(torch.tensor(values, dtype=torch.float16)) == 3
    assert count_nonfinite(np.array(values)) == 3
    assert count_nonfinite(torch.zeros(0)) == 0
