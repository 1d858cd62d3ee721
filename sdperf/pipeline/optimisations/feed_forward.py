"""The feed-forward half of a transformer's blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import gelu

from sdperf.errors import ConfigurationError


class FusedGelu(torch.nn.Module):
    """A product, its bias and the tanh form of GELU in one kernel of CUDA's library.

    It stands in the place of diffusers' `GELU(approximate="tanh")`. The library takes the GELU
    of the unrounded product, so that 16-bit results are rounded once and not twice.

    Args:
        proj: The product's weights and bias, which are shared.
    """

    def __init__(self, proj: torch.nn.Linear) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Turn (..., C) into (..., D)."""
        rows = hidden_states.reshape(-1, hidden_states.shape[-1])
        weight, bias = self.proj.weight.t(), self.proj.bias
        if rows.is_cuda:  # elsewhere this operator takes GELU's other form
            raised = torch._addmm_activation(bias, rows, weight, use_gelu=True)
        else:
            raised = gelu(torch.addmm(bias, rows, weight), approximate="tanh")
        return raised.reshape(*hidden_states.shape[:-1], raised.shape[-1])


def fuse_gelu(denoiser: Any) -> None:
    """Fuse the product and GELU of a transformer's feed-forward layers, in place.

    Args:
        denoiser: The network.

    Raises:
        ConfigurationError: It has no such layer.
    """
    found = [
        (parent, name, part)
        for parent in denoiser.modules()
        for name, part in parent.named_children()
        if _can_fuse(part)
    ]
    if not found:
        raise ConfigurationError(
            f"fused_gelu finds nothing in {type(denoiser).__name__} that it could fuse",
            expected="feed-forward layers with the tanh form of GELU, such as Qwen-Image's",
            hint="leave fused_gelu out",
        )
    for parent, name, part in found:
        setattr(parent, name, FusedGelu(part.proj))


def _can_fuse(part: Any) -> bool:
    from diffusers.models.activations import GELU

    if type(part) is not GELU or part.approximate != "tanh":
        return False
    proj: Any = part.proj
    return (
        type(proj) is torch.nn.Linear
        and proj.bias is not None
        and type(proj.weight) is torch.nn.Parameter  # another class stores it in fewer bits
        and not any(map(_is_hooked, (part, proj)))
    )


def _is_hooked(module: torch.nn.Module) -> bool:
    """Tell whether something else runs around a module's call, or moves its weights for it."""
    return bool(
        module._forward_pre_hooks
        or module._forward_hooks
        or hasattr(module, "_hf_hook")
        or hasattr(module, "_diffusers_hook")
    )
