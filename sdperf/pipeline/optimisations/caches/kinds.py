"""The caches of diffusers that have a name: how each is set up, and where it does not work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sdperf.pipeline.optimisations.caches.clock import Sides
from sdperf.pipeline.optimisations.entries import FASTER_CACHE_DENOISERS

_TAYLOR_INTERVAL: Final = 3
_ATTENTION_INTERVAL: Final = 2
_ATTENTION_WEIGHT: Final = 0.5
_GUIDED_INPUTS: Final = (
    "hidden_states",
    "encoder_hidden_states",
    "timestep",
    "attention_mask",
    "encoder_attention_mask",
    "pooled_projections",
)
"""Arguments of a denoiser that hold both sides of guidance: diffusers' own list, and the last,
which Stable Diffusion 3 has."""


@dataclass(frozen=True)
class CacheKind:
    """One of diffusers' caches.

    Attributes:
        configuration: Its configuration's class in diffusers.
        apply: The function of diffusers that switches it on.
        sides: How it treats the two sides of guidance.
        any_transformer: Whether it works on networks without `enable_cache`.
        needs_guidance: Whether it saves the side of guidance without a prompt.
        denoisers: Classes that it was tried with; ``None`` tries any.
        fails: Classes that diffusers' own code fails on, each with the reason.
        since: Classes that an older diffusers' code fails on, each with its first good version.
        settings: Settings that differ from diffusers' own, from the function that reads the
            timestep; those that an older diffusers does not know are left out.
    """

    configuration: str
    apply: str
    sides: Sides
    any_transformer: bool = False
    needs_guidance: bool = False
    denoisers: tuple[str, ...] | None = None
    fails: dict[str, str] = field(default_factory=dict)
    since: dict[str, str] = field(default_factory=dict)
    settings: Callable[[Callable[[], float]], dict[str, Any]] = lambda _: {}

    def configure(self, read_timestep: Callable[[], float]) -> Any:
        """Make the configuration."""
        import diffusers

        kind = getattr(diffusers, self.configuration)
        known = inspect.signature(kind).parameters
        wanted = self.settings(read_timestep)
        return kind(**{key: value for key, value in wanted.items() if key in known})


_TWO_STREAMS: Final = "its last blocks return one stream and its first two"

CACHES: Final = {
    "first_block_cache": CacheKind(
        "FirstBlockCacheConfig",
        "apply_first_block_cache",
        "named",
        fails={"Flux2Transformer2DModel": _TWO_STREAMS},
    ),
    "taylorseer_cache": CacheKind(
        "TaylorSeerCacheConfig",
        "apply_taylorseer_cache",
        "named",
        settings=lambda _: {"cache_interval": _TAYLOR_INTERVAL},
    ),
    "mag_cache": CacheKind(
        "MagCacheConfig",
        "apply_mag_cache",
        "apart",
        any_transformer=True,
        since={"Flux2Transformer2DModel": "0.42"},
        settings=lambda _: {"calibrate": True},
    ),
    "pyramid_attention": CacheKind(
        "PyramidAttentionBroadcastConfig",
        "apply_pyramid_attention_broadcast",
        "together",
        any_transformer=True,
        settings=lambda read_timestep: {
            "spatial_attention_block_skip_range": _ATTENTION_INTERVAL,
            "current_timestep_callback": read_timestep,
        },
    ),
    "faster_cache": CacheKind(
        "FasterCacheConfig",
        "apply_faster_cache",
        "together",
        any_transformer=True,
        needs_guidance=True,
        denoisers=FASTER_CACHE_DENOISERS,
        settings=lambda read_timestep: {
            "current_timestep_callback": read_timestep,
            "attention_weight_callback": lambda _: _ATTENTION_WEIGHT,
            "tensor_format": "BCHW",
            "_unconditional_conditional_input_kwargs_identifiers": _GUIDED_INPUTS,
        },
    ),
}
"""diffusers' caches by optimisation. Thresholds are diffusers' own defaults."""
