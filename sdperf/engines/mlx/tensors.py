"""Tensors between torch and MLX, by way of the host's memory."""

from __future__ import annotations

from typing import Final

import mlx.core as mx
import numpy as np
import torch

DTYPES: Final = {
    torch.float32: mx.float32,
    torch.float16: mx.float16,
    torch.bfloat16: mx.bfloat16,
}


def to_mlx(tensor: torch.Tensor) -> mx.array:
    """Bring a tensor to MLX, in the same number format; integers become int32."""
    host = tensor.detach().cpu()
    if host.dtype == torch.bfloat16:
        return mx.array(host.view(torch.uint16).numpy()).view(mx.bfloat16)
    if not host.is_floating_point():
        host = host.to(torch.int32)
    return mx.array(host.numpy())


def to_torch(array: mx.array, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Bring an array, already evaluated, to torch; on the CPU both share its memory.

    Raises:
        ValueError: Its number format is none of `DTYPES`.
    """
    if array.dtype == mx.bfloat16:
        shared = torch.from_numpy(np.asarray(array.view(mx.uint16))).view(torch.bfloat16)
    elif array.dtype in DTYPES.values():
        shared = torch.from_numpy(np.asarray(array))
    else:
        raise ValueError(f"an array of {array.dtype} is no image, latents or embeddings")
    return shared.to(device=device, dtype=dtype)
