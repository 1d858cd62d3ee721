import pytest
import torch

pytest.importorskip("mlx.core", reason="MLX IS NOT TESTED: pip install 'sdperf[mlx]'")

import mlx.core as mx

from sdperf.engines.mlx.tensors import DTYPES, to_mlx, to_torch

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_comes_back_bit_for_bit(dtype):
    tensor = torch.randn(2, 3, 4).to(dtype).transpose(0, 2)
    array = to_mlx(tensor)
    assert array.dtype == DTYPES[dtype]
    assert torch.equal(to_torch(array, CPU, dtype), tensor)


def test_token_ids_become_int32():
    assert to_mlx(torch.tensor([[1, 49407]])).dtype == mx.int32


def test_an_array_that_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="int32 is no image"):
        to_torch(mx.array([1]), CPU, torch.float32)
