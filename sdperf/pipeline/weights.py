"""Counts the bytes of a pipeline's stored weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def count_weight_bytes(pipeline: Any) -> dict[str, int]:
    """Count the bytes of each network's stored weights, including scales.

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


def is_offloaded(pipeline: Any) -> bool:
    """Tell whether networks are offloaded until they are called, so that no device holds all.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
    """
    return any(
        _is_moved(part)
        for network in pipeline.components.values()
        if isinstance(network, nn.Module)
        for part in network.modules()
    )


def _is_moved(module: nn.Module) -> bool:
    """Tell whether hooks of accelerate, or of diffusers' group offloading, move a module."""
    own = getattr(getattr(module, "_diffusers_hook", None), "hooks", {})
    return hasattr(module, "_hf_hook") or any("offload" in name for name in own)


def _count_stored(tensor: torch.Tensor) -> int:
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        return tensor.numel() * tensor.element_size()
    return sum(_count_stored(getattr(tensor, name)) for name in flatten()[0])
