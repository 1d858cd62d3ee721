"""How a denoiser attends: by which kernel, and by how many products for query, key and value."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.rotary import (
    fuse_projections,
    list_attentions,
    replace_processors,
)

TORCHS_KERNELS: Final = {
    "sdpa_flash": SDPBackend.FLASH_ATTENTION,
    "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa_math": SDPBackend.MATH,
}
"""Kernels that torch brings, by optimisation."""

_DISPATCHED: Final = {
    "sdpa_flash": "_native_flash",
    "sdpa_efficient": "_native_efficient",
    "sdpa_cudnn": "_native_cudnn",
    "sdpa_math": "_native_math",
}
"""The same as diffusers' dispatcher calls them."""

OTHERS_KERNELS: Final = {"flash_attention3": "_flash_3", "sage_attention": "sage"}
"""Kernels of other packages, by optimisation, as diffusers' dispatcher calls them."""


def choose_torchs_kernel(denoiser: torch.nn.Module, name: str) -> None:
    """Let a denoiser attend by one of torch's kernels, in place.

    torch keeps compiled code without a note of the kernel that was chosen around it, and takes it
    out again under another choice, also in another process. So attention that goes through
    diffusers' dispatcher is told the kernel itself, which becomes part of the code, and what torch
    compiles is not kept.
    """
    import torch._functorch.config
    from diffusers.models.attention_dispatch import AttentionBackendName

    for part in denoiser.modules():
        processor: Any = getattr(part, "processor", None)
        if hasattr(processor, "_attention_backend"):
            processor._attention_backend = AttentionBackendName(_DISPATCHED[name])
    torch._functorch.config.enable_autograd_cache = False
    backend, forward = TORCHS_KERNELS[name], denoiser.forward

    def with_backend(*args: Any, **keywords: Any) -> Any:
        with sdpa_kernel(backend):
            return forward(*args, **keywords)

    denoiser.forward = with_backend


def choose_others_kernel(denoiser: Any, name: str) -> None:
    """Let a denoiser attend by another package's kernel through diffusers' dispatcher, in place.

    Raises:
        ConfigurationError: The package is missing or too old, or the denoiser's attention does not
            go through the dispatcher.
    """
    processors = [getattr(part, "processor", None) for part in denoiser.modules()]
    if not any(hasattr(each, "_attention_backend") for each in processors):
        raise ConfigurationError(
            f"{name} finds no attention in {type(denoiser).__name__} whose kernel can be chosen",
            expected="a denoiser whose attention goes through diffusers' dispatcher",
            hint=f"leave {name} out",
        )
    try:
        denoiser.set_attention_backend(OTHERS_KERNELS[name])
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"{name} cannot be used here",
            got=str(error),
            hint=f"leave {name} out, or use sdpa_cudnn, which torch brings",
        ) from error


def fuse_query_key_value(pipeline: Any, denoiser: Any) -> None:
    """Let one product make query, key and value, in place.

    Raises:
        ConfigurationError: Nothing could be fused.
    """
    known = list_attentions(denoiser)
    if known:
        for attention in known:
            fuse_projections(attention)
        replace_processors(denoiser)
        return
    fuse = getattr(pipeline, "fuse_qkv_projections", None)
    fuse = fuse if callable(fuse) else getattr(denoiser, "fuse_qkv_projections", None)
    if callable(fuse):
        fuse()
    if not any(getattr(part, "fused_projections", False) for part in denoiser.modules()):
        raise ConfigurationError(
            f"fused_projections finds nothing in {type(denoiser).__name__} that it could fuse",
            hint="leave fused_projections out",
        )


def rotate_in_real_numbers(denoiser: Any) -> None:
    """Let positions turn queries and keys in real arithmetic, in place.

    Raises:
        ConfigurationError: Nothing in the denoiser turns by complex numbers.
    """
    if not replace_processors(denoiser, in_real=True):
        raise ConfigurationError(
            f"real_rotary finds no complex numbers in {type(denoiser).__name__} that it knows",
            expected="the transformer of Z-Image or Qwen-Image",
            hint="leave real_rotary out",
        )
