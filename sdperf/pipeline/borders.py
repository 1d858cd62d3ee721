"""Finds the borders inside any pipeline's call: before the denoiser, and before decoding.

Hooks find them, so that diffusers' fifty pipelines need no classes here. The hooks are added for
one call and removed after it; a timed round has none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch

from sdperf.models.layout import DECODERS, DENOISERS

Crossing = Literal["encode_image", "denoise", "decode_latents"]
"""A stage that begins inside the call: with the first encoding of an input picture, with the first
call of the denoiser or of a network that steers it, or with the decoder's first call."""

_STEERING: Final = ("controlnet", "adapter")
"""Components that every step calls before the denoiser."""


@dataclass(frozen=True)
class Borders:
    """The parts of a pipeline that mark the borders of its call.

    Attributes:
        pipeline: The `diffusers.DiffusionPipeline`.
        denoiser: The network that every step calls.
        vae: The network that turns latents into pixels.
        steering: Networks that a step calls before the denoiser.
        encodes_image: Whether the call encodes an input picture.
    """

    pipeline: Any
    denoiser: torch.nn.Module
    vae: torch.nn.Module
    steering: tuple[torch.nn.Module, ...] = ()
    encodes_image: bool = False

    @contextlib.contextmanager
    def watching(self, cross: Callable[[Crossing], None]) -> Iterator[None]:
        """Report each border when the call reaches it, each border once.

        Args:
            cross: Called on the thread that runs the pipeline, before the stage's first work.
        """
        crossed: set[Crossing] = set()

        def enter(stage: Crossing) -> None:
            if stage not in crossed:
                crossed.add(stage)
                cross(stage)

        def decode(*args: Any, **keywords: Any) -> Any:
            if "denoise" in crossed:  # encoding a picture may decode something before
                enter("decode_latents")
            return plain_decode(*args, **keywords)

        def encode(*args: Any, **keywords: Any) -> Any:
            if "denoise" not in crossed:
                enter("encode_image")
            return plain_encode(*args, **keywords)

        with contextlib.ExitStack() as stack:
            plain_decode = stand_in(self.vae, "decode", decode, stack)
            if self.encodes_image and hasattr(self.vae, "encode"):
                plain_encode = stand_in(self.vae, "encode", encode, stack)
            for network in (self.denoiser, *self.steering):
                hook = network.register_forward_pre_hook(lambda *_: enter("denoise"))
                stack.callback(hook.remove)
            yield


def find_borders(pipeline: Any, *, encodes_image: bool = False) -> Borders | None:
    """Find the borders of a pipeline's call; ``None`` where it has no denoiser or no decoder.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
        encodes_image: Whether its call is given an input picture.
    """
    denoiser, vae = find_denoiser(pipeline), find_decoder(pipeline)
    if denoiser is None or vae is None:
        return None
    parts = (getattr(pipeline, name, None) for name in _STEERING)
    steering = tuple(one for one in parts if isinstance(one, torch.nn.Module))
    return Borders(pipeline, denoiser, vae, steering, encodes_image)


def find_denoiser(pipeline: Any) -> torch.nn.Module | None:
    """Return the network that denoises; ``None`` where no component has such a name."""
    return _find_network(pipeline, DENOISERS)


def find_decoder(pipeline: Any) -> Any:
    """Return the network that turns latents into pixels; ``None`` where there is no decoder."""
    network = _find_network(pipeline, DECODERS)
    return network if hasattr(network, "decode") else None


def _find_network(pipeline: Any, names: Iterable[str]) -> torch.nn.Module | None:
    networks = (getattr(pipeline, name, None) for name in names)
    return next((one for one in networks if isinstance(one, torch.nn.Module)), None)


def stand_in(
    target: Any, name: str, replacement: Callable[..., Any], stack: contextlib.ExitStack
) -> Callable[..., Any]:
    """Replace a method by a function until the stack closes; return the method.

    Args:
        target: The object with the method.
        name: The method's name.
        replacement: The function that is called instead; it shows the method's signature, which
            diffusers reads.
        stack: Restores what was there, also where that was not a method of the class.
    """
    plain: Callable[..., Any] = getattr(target, name)
    replacement.__wrapped__ = plain  # type: ignore[attr-defined]
    own = vars(target).get(name)
    object.__setattr__(target, name, replacement)
    if own is None:
        stack.callback(object.__delattr__, target, name)
    else:
        stack.callback(object.__setattr__, target, name, own)
    return plain
