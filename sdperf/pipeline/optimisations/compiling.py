"""Compiles networks and parts of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import torch

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.caches.installed import InstalledCache

COMPILE_LIMIT: Final = 64
"""The most shapes for which one piece of code is compiled. Beyond them torch silently runs it
uncompiled, and its own limit of 8 is less than the number of prompts of a stream."""

_DYNAMIC: Final = "compile_blocks_dynamic"

_TUNED: Final[dict[str, Any]] = {
    "coordinate_descent_tuning": True,
    "coordinate_descent_check_all_directions": True,
    "conv_1x1_as_mm": True,
    "epilogue_fusion": False,
}
"""Settings of inductor. Source: diffusers' documentation, "Accelerate inference"."""


def compile_function(
    function: Callable[..., Any], names: Collection[str] = ()
) -> Callable[..., Any]:
    """Compile a network's call; the first call of each shape is long, unless they are dynamic.

    Args:
        function: The call.
        names: Optimisations that are on.
    """
    allow_shapes()
    is_dynamic = _DYNAMIC in names
    compiled: Callable[..., Any] = torch.compile(function, dynamic=is_dynamic, **_options(names))
    return compiled


def compile_blocks(
    denoiser: Any, names: Collection[str], cache: InstalledCache | None = None
) -> None:
    """Compile a denoiser's repeated blocks, in place.

    Args:
        denoiser: The network.
        names: Optimisations that are on.
        cache: diffusers' cache in the denoiser; ``None`` where there is none.

    Raises:
        ConfigurationError: The denoiser names no such blocks.
    """
    names_of_blocks = find_repeated_blocks(denoiser)
    blocks = [part for part in denoiser.modules() if type(part).__name__ in names_of_blocks]
    if not blocks:
        raise ConfigurationError(
            f"{type(denoiser).__name__} names no repeated blocks to compile",
            hint="use compile instead of compile_blocks",
        )
    allow_shapes()
    if cache is not None:
        cache.compile_inside(lambda function: compile_function(function, names))
    for block in blocks:
        if cache is None or block not in cache.blocks:
            # As compile_repeated_blocks does.
            block.compile(dynamic=_DYNAMIC in names, **_options(names))


def find_repeated_blocks(denoiser: Any) -> frozenset[str]:
    """Return the classes of a denoiser's repeated blocks, which not all networks name."""
    for attribute in ("_repeated_blocks", "_no_split_modules"):
        if named := getattr(denoiser, attribute, None):
            return frozenset(named)
    return frozenset()


def compile_decoder(vae: Any, pipeline: str, names: Collection[str]) -> None:
    """Compile the part of a VAE that decodes, in place.

    Args:
        vae: The VAE.
        pipeline: The pipeline's class, for the message.
        names: Optimisations that are on.

    Raises:
        ConfigurationError: The VAE has no separate decoder.
    """
    decoder = getattr(vae, "decoder", None)
    if decoder is None:
        raise ConfigurationError(
            f"the VAE of {pipeline} has no decoder of its own to compile",
            hint="leave compile_vae out",
        )
    decoder.forward = compile_function(decoder.forward, names)


def allow_shapes() -> None:
    """Let torch compile the same code for more shapes than it does by itself."""
    config: Any = torch._dynamo.config
    for name in ("recompile_limit", "cache_size_limit"):  # the older name last
        if hasattr(config, name):
            setattr(config, name, max(COMPILE_LIMIT, getattr(config, name)))
            return


def _options(names: Collection[str]) -> dict[str, Any]:
    return {"options": dict(_TUNED)} if "tuned_kernels" in names else {}
