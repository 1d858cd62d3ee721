"""Optimisations of a pipeline's networks, in place: its own call uses them from then on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sdperf.errors import ConfigurationError
from sdperf.models.layout import DENOISERS
from sdperf.pipeline.optimisations.catalogue import QUANTISATIONS
from sdperf.pipeline.optimisations.cuda_graphs import casts_vae, graph_networks
from sdperf.pipeline.optimisations.quantisation import quantise_networks
from sdperf.settings import OPTIMISATIONS

_BACKENDS: Final = {
    "sdpa_flash": SDPBackend.FLASH_ATTENTION,
    "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa_math": SDPBackend.MATH,
}


def optimise_networks(pipeline: Any, names: Collection[str]) -> None:
    """Apply those optimisations that change networks, in the order in which they build up.

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
        "resident_vae": _keep_vae_in_float32,
        "fused_projections": _fuse_projections,
        **{name: functools.partial(_quantise, name=name) for name in QUANTISATIONS},
        "compile_blocks": _compile_blocks,
        "compile": _compile_denoiser,
        "compile_vae": _compile_vae,
    }
    for name, apply in steps.items():
        if name in names:
            apply(pipeline)
    for name, backend in _BACKENDS.items():
        if name in names:
            _choose_attention(pipeline, backend)
    if "cuda_graphs" in names:
        graph_networks(pipeline, with_denoiser="loop_graph" not in names)


def find_denoiser(pipeline: Any) -> torch.nn.Module:
    """Return the network that denoises.

    Raises:
        ConfigurationError: There is none under a known name.
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


def compile_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a network's call for the shapes that it meets; the first call of each is long."""
    compiled: Callable[..., Any] = torch.compile(function, dynamic=False)
    return compiled


def _order_denoiser_channels_last(pipeline: Any) -> None:
    find_denoiser(pipeline).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _order_vae_channels_last(pipeline: Any) -> None:
    _find_vae(pipeline).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _benchmark_cudnn(_pipeline: Any) -> None:
    torch.backends.cudnn.benchmark = True


def _keep_vae_in_float32(pipeline: Any) -> None:
    if casts_vae(pipeline):
        pipeline.vae.to(torch.float32)


def _fuse_projections(pipeline: Any) -> None:
    fuse = getattr(pipeline, "fuse_qkv_projections", None)
    if callable(fuse):
        fuse()
    else:
        denoiser: Any = find_denoiser(pipeline)
        denoiser.fuse_qkv_projections()


def _quantise(pipeline: Any, name: str) -> None:
    quantise_networks(pipeline, find_denoiser(pipeline), name)


def _compile_blocks(pipeline: Any) -> None:
    denoiser: Any = find_denoiser(pipeline)
    if not getattr(denoiser, "_repeated_blocks", None):
        raise ConfigurationError(
            f"{type(denoiser).__name__} names no repeated blocks to compile",
            hint="use compile instead of compile_blocks",
        )
    denoiser.compile_repeated_blocks(dynamic=False)


def _compile_denoiser(pipeline: Any) -> None:
    denoiser = find_denoiser(pipeline)
    denoiser.forward = compile_function(denoiser.forward)


def _compile_vae(pipeline: Any) -> None:
    decoder: Any = getattr(_find_vae(pipeline), "decoder", None)
    if decoder is None:
        raise ConfigurationError(
            f"the VAE of {type(pipeline).__name__} has no decoder of its own to compile",
            hint="leave compile_vae out",
        )
    decoder.forward = compile_function(decoder.forward)


def _find_vae(pipeline: Any) -> torch.nn.Module:
    vae = getattr(pipeline, "vae", None)
    if not isinstance(vae, torch.nn.Module):
        raise ConfigurationError(
            f"{type(pipeline).__name__} has no VAE that can be optimised",
            hint="leave channels_last_vae and compile_vae out",
        )
    return vae


def _choose_attention(pipeline: Any, backend: SDPBackend) -> None:
    denoiser = find_denoiser(pipeline)
    forward = denoiser.forward

    def with_backend(*args: Any, **keywords: Any) -> Any:
        with sdpa_kernel(backend):
            return forward(*args, **keywords)

    denoiser.forward = with_backend
