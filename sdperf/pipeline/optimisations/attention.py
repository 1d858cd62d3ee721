"""Changes a denoiser's attention: its kernel, and the products for query, key and value."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.rotary import (
    fuse_projections,
    list_attentions,
    replace_processors,
)
from sdperf.settings import LORA

TORCHS_KERNELS: Final = {
    "sdpa_flash": SDPBackend.FLASH_ATTENTION,
    "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa_math": SDPBackend.MATH,
}
"""Kernels of torch itself, by optimisation."""

OTHERS_KERNELS: Final = {"flash_attention3": "_flash_3", "sage_attention": "sage"}
"""Kernels of other packages, by optimisation, with their names in diffusers' dispatcher."""

_CHOOSES_KERNEL: Final = ("_backend_from_string", "_sdpa_kernel")
"""Functions of ``torch.nn.attention`` that compiled code with a kernel of its own choice calls."""

_MARKED: Final = "unsafe_marked_cacheable_functions"
"""Inductor's setting: functions that are safe to keep, each with what the key is to have of it."""

_PROJECTION: Final = re.compile(r"to_[qkv]|add_[qkv]_proj")
"""Layers that fusing joins, by diffusers' names."""


def choose_torchs_kernel(denoiser: torch.nn.Module, name: str) -> None:
    """Make a denoiser use one of torch's attention kernels, in place.

    torch caches compiled code without the kernel that was chosen around it, and reuses the code
    under another choice, also in another process. So the choice is made inside each attention's own
    call, where it becomes part of the code. For attention without such a call it is made around the
    denoiser, and code that was compiled for another choice must not be kept: see
    `refuse_kept_choice`.
    """
    _let_choices_be_kept()
    backend, forward = TORCHS_KERNELS[name], denoiser.forward
    kinds: dict[type, type] = {}
    for part in denoiser.modules():
        processor = getattr(part, "processor", None)
        if _can_choose(processor):
            kind = type(processor)
            processor.__class__ = kinds.setdefault(kind, _with_kernel(kind, backend))

    def with_backend(*args: Any, **keywords: Any) -> Any:
        with sdpa_kernel(backend):
            return forward(*args, **keywords)

    denoiser.forward = with_backend


def refuse_kept_choice(denoiser: torch.nn.Module, name: str) -> None:
    """Refuse to keep compiled code of which the kernel's choice is no part.

    Raises:
        ConfigurationError: The kernel is chosen around some of the denoiser's attention.
    """
    is_inside = False
    for part in denoiser.modules():
        kind, processor = type(part), getattr(part, "processor", None)
        is_inside = is_inside or _can_choose(processor)
        if processor is not None and not _can_choose(processor):
            raise _refuse_to_keep(name, type(processor).__name__)
        if "Attention" in kind.__name__ and not _has_processor(part):
            raise _refuse_to_keep(name, kind.__name__)
    if not is_inside:
        raise _refuse_to_keep(name, type(denoiser).__name__)


def _can_choose(processor: Any) -> bool:
    return callable(processor) and not isinstance(processor, torch.nn.Module)


def _has_processor(part: torch.nn.Module) -> bool:
    return any(hasattr(one, "processor") for one in part.modules())


def _refuse_to_keep(name: str, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"code that is compiled for {name} cannot be kept here: torch would reuse it for another "
        "kernel",
        got=f"attention by {kind}, around which the kernel is chosen",
        hint=f"leave kept_code or {name} out",
    )


def _let_choices_be_kept() -> None:
    """Let torch keep what it traced of code that chooses a kernel, as it keeps other code.

    It keeps only what calls functions that it knows, and does not know these two, so that each
    process would trace and lower such code again. They are safe to keep: the kernel's name is a
    constant of the code, and so part of the key by which it is found. A torch without the setting
    keeps on tracing.
    """
    from torch._inductor import config

    marked: dict[str, str] | None = getattr(config, _MARKED, None)
    if marked is not None:
        known = {f"torch.nn.attention.{name}": torch.__version__ for name in _CHOOSES_KERNEL}
        setattr(config, _MARKED, {**marked, **known})


def _with_kernel(kind: Any, backend: SDPBackend) -> type:
    plain = kind.__call__

    @functools.wraps(plain)  # diffusers reads the signature
    def attend(self: Any, *args: Any, **keywords: Any) -> Any:
        with sdpa_kernel(backend):
            return plain(self, *args, **keywords)

    return type(kind.__name__, (kind,), {"__call__": attend})


def choose_others_kernel(denoiser: Any, name: str) -> None:
    """Make a denoiser use another package's kernel through diffusers' dispatcher, in place.

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
    """Compute query, key and value by one product, in place.

    Raises:
        ConfigurationError: No layer can be fused, or a layer would lose the addition of a LoRA.
    """
    _refuse_added(denoiser)
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


def _refuse_added(denoiser: Any) -> None:
    """Refuse projections that peft wraps: joining would use weights without the LoRA."""
    for name, layer in denoiser.named_modules():
        if _PROJECTION.fullmatch(name.rpartition(".")[2]) and hasattr(layer, "base_layer"):
            raise ConfigurationError(
                "fused_projections would leave out what a LoRA adds to query, key or value",
                got=f"a layer of a LoRA at {name}",
                expected=f"a LoRA that is fused: {LORA} FILE:fused",
                hint="leave fused_projections out, or fuse the LoRA",
            )


def rotate_in_real_numbers(denoiser: Any) -> None:
    """Rotate queries and keys by their positions in real arithmetic, in place.

    Raises:
        ConfigurationError: The denoiser does not rotate by complex numbers.
    """
    if not replace_processors(denoiser, in_real=True):
        raise ConfigurationError(
            f"real_rotary finds no complex numbers in {type(denoiser).__name__} that it knows",
            expected="the transformer of Z-Image or Qwen-Image",
            hint="leave real_rotary out",
        )
