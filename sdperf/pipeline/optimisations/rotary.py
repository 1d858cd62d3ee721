"""Attention of Z-Image and Qwen-Image with other arithmetic for the same values.

diffusers turns their queries and keys by complex numbers, which torch's compiler leaves as kernels
of their own, and projects query, key and value by three products whatever is fused. Here positions
turn them in real numbers, and one product projects all three.

Source: `ZSingleStreamAttnProcessor` and `QwenDoubleStreamAttnProcessor2_0` of diffusers 0.42.1,
restated; tests hold their pictures to diffusers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import nn

_PROJECTIONS: Final = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}


class RotaryProcessor:
    """What stands in the place of a processor of diffusers.

    Args:
        plain: diffusers' own processor, whose choice of a kernel is kept.
        in_real: Whether positions turn queries and keys in real numbers.
    """

    rotate: Callable[..., torch.Tensor]

    def __init__(self, plain: Any, *, in_real: bool) -> None:
        self._attention_backend = getattr(plain, "_attention_backend", None)
        self._parallel_config = getattr(plain, "_parallel_config", None)
        self.choose_rotation(in_real=in_real)

    def choose_rotation(self, *, in_real: bool) -> None:
        """Say whether positions turn queries and keys in real numbers."""
        self.rotate = rotate_in_real if in_real else _rotate_complex


class SingleStreamProcessor(RotaryProcessor):
    """Z-Image's attention over one stream of tokens."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,  # noqa: ARG002  its callers name it
        attention_mask: torch.Tensor | None = None,
        freqs_cis: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend: (B, S, C) to (B, S, C); ``freqs_cis`` is (B, S, D / 2) complex."""
        query, key, value = (
            _divide(each, attn.heads, -1) for each in project(attn, "to_qkv", hidden_states)
        )
        query, key = _normalise(attn.norm_q, query), _normalise(attn.norm_k, key)
        if freqs_cis is not None:
            turns = freqs_cis.unsqueeze(2)
            query, key = self.rotate(query, turns), self.rotate(key, turns)
        if attention_mask is not None and attention_mask.ndim == 2:
            attention_mask = attention_mask[:, None, None, :]
        attended = _attend(self, query, key, value, attention_mask)
        return _leave(attn.to_out, attended.flatten(2, 3).to(query.dtype))


class DoubleStreamProcessor(RotaryProcessor):
    """Qwen-Image's attention over the tokens of the picture and of the text together."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend: (B, S, C) of the picture and (B, T, C) of the text to the same two."""
        if encoder_hidden_states_mask is not None:
            ones = encoder_hidden_states_mask.new_ones(hidden_states.shape[:2], dtype=torch.bool)
            attention_mask = torch.cat([encoder_hidden_states_mask, ones], dim=1)[:, None, None, :]
        width = attn.inner_dim // attn.heads
        picture = _split_heads(project(attn, "to_qkv", hidden_states), width)
        text = _split_heads(project(attn, "to_added_qkv", encoder_hidden_states), width)
        picture[0], picture[1] = (
            _normalise(attn.norm_q, picture[0]),
            _normalise(attn.norm_k, picture[1]),
        )
        text[0], text[1] = (
            _normalise(attn.norm_added_q, text[0]),
            _normalise(attn.norm_added_k, text[1]),
        )
        if image_rotary_emb is not None:
            for stream, turns in zip((picture, text), image_rotary_emb, strict=True):
                for index in range(2):
                    stream[index] = self.rotate(stream[index], turns.unsqueeze(1))
        query, key, value = (
            torch.cat([of_text, of_picture], dim=1)
            for of_text, of_picture in zip(text, picture, strict=True)
        )
        attended = _attend(self, query, key, value, attention_mask).flatten(2, 3).to(query.dtype)
        tokens = encoder_hidden_states.shape[1]
        return (
            _leave(attn.to_out, attended[:, tokens:].contiguous()),
            attn.to_add_out(attended[:, :tokens].contiguous()),
        )


_REPLACEMENTS: Final[dict[str, type[RotaryProcessor]]] = {
    "ZSingleStreamAttnProcessor": SingleStreamProcessor,
    "QwenDoubleStreamAttnProcessor2_0": DoubleStreamProcessor,
}
"""What takes the place of diffusers' own processors, by their names."""


def rotate_in_real(states: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turn pairs of numbers by unit complex numbers, in real arithmetic of float32.

    Args:
        states: (B, S, H, D) float; neighbours are a pair.
        turns: Complex, (..., D / 2), broadcast over heads.

    Returns:
        (B, S, H, D) in the format of ``states``.
    """
    real, imaginary = _divide(states.float(), -1, 2).unbind(-1)
    cosine, sine = torch.view_as_real(turns).unbind(-1)
    turned = torch.stack(
        (real * cosine - imaginary * sine, real * sine + imaginary * cosine), dim=-1
    )
    return turned.flatten(-2).type_as(states)


def replace_processors(denoiser: nn.Module, *, in_real: bool | None = None) -> int:
    """Put the processors of this module in the place of diffusers' own.

    Args:
        denoiser: The network; changed in place.
        in_real: Whether positions turn in real numbers; ``None`` leaves what is chosen.

    Returns:
        How many attentions have them now.
    """
    found = 0
    for attention in list_attentions(denoiser):
        if type(attention.processor).__name__ in _REPLACEMENTS:
            replacement = _REPLACEMENTS[type(attention.processor).__name__]
            attention.processor = replacement(attention.processor, in_real=bool(in_real))
        elif in_real is not None:
            attention.processor.choose_rotation(in_real=in_real)
        found += 1
    return found


def list_attentions(denoiser: nn.Module) -> list[Any]:
    """List the attentions that `replace_processors` changes or has changed."""
    return [
        module
        for module in denoiser.modules()
        if type(processor := getattr(module, "processor", None)).__name__ in _REPLACEMENTS
        or isinstance(processor, RotaryProcessor)
    ]


@torch.no_grad()
def fuse_projections(attention: Any) -> None:
    """Let one product project query, key and value; the three layers' weights are views of it.

    Args:
        attention: A `diffusers` attention with linear layers of those names; changed in place.
    """
    for fused_name, names in _PROJECTIONS.items():
        layers = [getattr(attention, name, None) for name in names]
        if all(isinstance(layer, nn.Linear) for layer in layers):
            setattr(attention, fused_name, _fuse(layers))
    attention.fused_projections = True


def project(attention: Any, fused_name: str, states: torch.Tensor) -> Sequence[torch.Tensor]:
    """Project states to query, key and value, by one product where they are fused."""
    if getattr(attention, "fused_projections", False) and hasattr(attention, fused_name):
        parts: Sequence[torch.Tensor] = getattr(attention, fused_name)(states).chunk(3, dim=-1)
        return parts
    return [getattr(attention, name)(states) for name in _PROJECTIONS[fused_name]]


def _fuse(layers: Sequence[Any]) -> nn.Linear:
    first = layers[0]
    weight = torch.cat([layer.weight for layer in layers])
    fused = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    fused.weight = nn.Parameter(weight, requires_grad=False)
    if first.bias is not None:
        bias = torch.cat([layer.bias for layer in layers])
        fused.bias = nn.Parameter(bias, requires_grad=False)
    start = 0
    for layer in layers:
        rows = weight[start : start + layer.weight.shape[0]]
        start += rows.shape[0]
        layer.weight = nn.Parameter(rows, requires_grad=False)
    return fused


def _divide(states: torch.Tensor, first: int, second: int) -> torch.Tensor:
    """Divide the last dimension in two; -1 is what is left."""
    return states.reshape(*states.shape[:-1], first, second)


def _rotate_complex(states: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    paired = torch.view_as_complex(_divide(states.float(), -1, 2))
    return torch.view_as_real(paired * turns).flatten(3).type_as(states)


def _split_heads(parts: Sequence[torch.Tensor], width: int) -> list[torch.Tensor]:
    return [_divide(part, -1, width) for part in parts]


def _normalise(norm: Any, states: torch.Tensor) -> torch.Tensor:
    normalised: torch.Tensor = states if norm is None else norm(states)
    return normalised


def _attend(
    processor: RotaryProcessor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    from diffusers.models.attention_dispatch import dispatch_attention_fn

    attended: torch.Tensor = dispatch_attention_fn(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=0.0,
        is_causal=False,
        backend=processor._attention_backend,
        parallel_config=processor._parallel_config,
    )
    return attended


def _leave(layers: Any, states: torch.Tensor) -> torch.Tensor:
    for layer in layers:  # a projection, and dropout in some
        states = layer(states)
    return states
