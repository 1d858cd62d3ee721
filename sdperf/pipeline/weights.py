"""What a pipeline's weights take as they are stored."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def count_weight_bytes(pipeline: Any) -> dict[str, int]:
    """Count the bytes that each network's weights take as they are stored, scales included.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.

    Returns:
        Bytes by the component's name, of parameters and buffers.
    """
    return {
        name: sum(map(_count_stored, (*network.parameters(), *network.buffers())))
        for name, network in pipeline.components.items()
        if isinstance(network, nn.Module)
    }


def _count_stored(tensor: torch.Tensor) -> int:
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        return tensor.numel() * tensor.element_size()
    return sum(_count_stored(getattr(tensor, name)) for name in flatten()[0])
