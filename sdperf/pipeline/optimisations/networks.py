"""Applies optimisations to a pipeline's networks in place; its own call uses them from then on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any, Final

import torch

from sdperf.errors import ConfigurationError
from sdperf.models.layout import DENOISERS
from sdperf.pipeline.kept_code import keep_compiled_code
from sdperf.pipeline.optimisations.attention import (
    OTHERS_KERNELS,
    TORCHS_KERNELS,
    choose_others_kernel,
    choose_torchs_kernel,
    fuse_query_key_value,
    refuse_kept_choice,
    rotate_in_real_numbers,
)
from sdperf.pipeline.optimisations.caches.installed import find_cache, install_cache
from sdperf.pipeline.optimisations.caches.kinds import CACHES
from sdperf.pipeline.optimisations.catalogue import QUANTISATIONS
from sdperf.pipeline.optimisations.compiling import (
    compile_blocks,
    compile_decoder,
    compile_function,
)
from sdperf.pipeline.optimisations.cuda_graphs import (
    casts_vae,
    graph_networks,
    graph_text_encoders,
)
from sdperf.pipeline.optimisations.feed_forward import fuse_gelu
from sdperf.pipeline.optimisations.memory import keep_freed_memory
from sdperf.pipeline.optimisations.quantisation import quantise_networks
from sdperf.settings import OPTIMISATIONS

_COMPILED: Final = ("compile", "compile_blocks", "compile_blocks_dynamic")
"""Optimisations that compile the denoiser."""


def optimise_networks(pipeline: Any, names: Collection[str]) -> None:
    """Apply the optimisations that change networks, in the required order.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`; changed in place.
        names: All names that are on; others are left to `optimise_stages`.

    Raises:
        ConfigurationError: The pipeline has no network that one of them could change, or a package
            that one of them needs is missing.
    """
    steps: dict[str, Callable[[Any], None]] = {
        "channels_last": _order_denoiser_channels_last,
        "channels_last_vae": _order_vae_channels_last,
        "cudnn_benchmark": _benchmark_cudnn,
        "keep_freed_memory": lambda _: keep_freed_memory(),
        "resident_vae": _keep_vae_in_float32,
        "fused_projections": lambda one: fuse_query_key_value(one, find_denoiser(one)),
        "fused_gelu": lambda one: fuse_gelu(find_denoiser(one)),
        "real_rotary": lambda one: rotate_in_real_numbers(find_denoiser(one)),
        **{name: functools.partial(_quantise, name=name) for name in QUANTISATIONS},
        **{name: functools.partial(_attend_by, name=name) for name in OTHERS_KERNELS},
        **{name: functools.partial(_cache_steps, name=name) for name in CACHES},
        "compile_blocks": functools.partial(_compile_blocks, names=names),
        "compile_blocks_dynamic": functools.partial(_compile_blocks, names=names),
        "compile": functools.partial(_compile_denoiser, names=names),
        "compile_vae": functools.partial(_compile_vae, names=names),
    }
    if "kept_code" in names:
        keep_compiled_code()
    for name, apply in steps.items():
        if name in names:
            apply(pipeline)
    is_kept = "kept_code" in names and any(one in names for one in _COMPILED)
    for name in TORCHS_KERNELS:
        if name in names:
            if is_kept:
                refuse_kept_choice(find_denoiser(pipeline), name)
            choose_torchs_kernel(find_denoiser(pipeline), name)
    if "cuda_graphs" in names:
        graph_networks(pipeline, with_denoiser="loop_graph" not in names)
    if "text_graphs" in names:
        graph_text_encoders(pipeline)


def find_denoiser(pipeline: Any) -> torch.nn.Module:
    """Return the network that denoises.

    Raises:
        ConfigurationError: There is no network with a known name.
    """
    for name in DENOISERS:
        network = getattr(pipeline, name, None)
        if isinstance(network, torch.nn.Module):
            return network
    raise ConfigurationError(
        f"{type(pipeline).__name__} has no denoiser that can be optimised",
        expected=" or ".join(DENOISERS),
        hint=f"leave {OPTIMISATIONS} out",
    )


def _order_denoiser_channels_last(pipeline: Any) -> None:
    find_denoiser(pipeline).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _order_vae_channels_last(pipeline: Any) -> None:
    vae = _find_vae(pipeline)
    if not any(weight.ndim == 5 for weight in vae.parameters()):
        vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return
    for weight in vae.parameters():  # of a video's VAE, some of whose layers see single frames
        order = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.ndim)
        if order is not None:
            weight.data = weight.data.contiguous(memory_format=order)


def _benchmark_cudnn(_pipeline: Any) -> None:
    torch.backends.cudnn.benchmark = True


def _keep_vae_in_float32(pipeline: Any) -> None:
    if casts_vae(pipeline):
        pipeline.vae.to(torch.float32)


def _quantise(pipeline: Any, name: str) -> None:
    quantise_networks(pipeline, find_denoiser(pipeline), name)


def _attend_by(pipeline: Any, name: str) -> None:
    choose_others_kernel(find_denoiser(pipeline), name)


def _cache_steps(pipeline: Any, name: str) -> None:
    install_cache(pipeline, find_denoiser(pipeline), name)


def _compile_blocks(pipeline: Any, names: Collection[str]) -> None:
    compile_blocks(find_denoiser(pipeline), names, find_cache(pipeline))


def _compile_denoiser(pipeline: Any, names: Collection[str]) -> None:
    denoiser = find_denoiser(pipeline)
    denoiser.forward = compile_function(denoiser.forward, names)


def _compile_vae(pipeline: Any, names: Collection[str]) -> None:
    compile_decoder(_find_vae(pipeline), type(pipeline).__name__, names)


def _find_vae(pipeline: Any) -> torch.nn.Module:
    vae = getattr(pipeline, "vae", None)
    if not isinstance(vae, torch.nn.Module):
        raise ConfigurationError(
            f"{type(pipeline).__name__} has no VAE that can be optimised",
            hint="leave channels_last_vae and compile_vae out",
        )
    return vae
