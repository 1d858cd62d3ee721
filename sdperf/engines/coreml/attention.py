"""Attention laid out for the Neural Engine: one head at a time, tokens last."""

from __future__ import annotations

from typing import Any

import torch


class SplitEinsumProcessor:
    """A diffusers attention processor that computes each head by two einsums.

    Queries and values are (B, C, 1, L), keys (B, S, 1, C): the layout that the Neural Engine reads
    without moving memory. It computes what diffusers' own processor computes.

    Source: "Deploying Transformers on the Apple Neural Engine" (Apple, 2022), principles 1 to 3,
        and the attention `SPLIT_EINSUM` of apple/ml-stable-diffusion.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute attention.

        Args:
            attn: The `diffusers.models.attention_processor.Attention`.
            hidden_states: (B, L, C) float.
            encoder_hidden_states: (B, S, D) float; ``None`` is the hidden states themselves.
            attention_mask: Not taken.
            temb: Not taken.

        Raises:
            ValueError: There is a mask.
        """
        del temb
        if attention_mask is not None:
            raise ValueError("split-einsum attention takes no mask")
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        queries = attn.to_q(hidden_states).transpose(1, 2).unsqueeze(2)
        keys = attn.to_k(context).unsqueeze(2)
        values = attn.to_v(context).transpose(1, 2).unsqueeze(2)
        width = queries.shape[1] // attn.heads
        heads = zip(
            queries.split(width, dim=1),
            keys.split(width, dim=3),
            values.split(width, dim=1),
            strict=True,
        )
        attended = torch.cat([_attend(*head, attn.scale) for head in heads], dim=1)
        mixed: torch.Tensor = attn.to_out[0](attended.squeeze(2).transpose(1, 2))
        return mixed


def split_attention(module: torch.nn.Module) -> None:
    """Let every diffusers attention below a module compute one head at a time, in place."""
    for part in module.modules():
        set_processor: Any = getattr(part, "set_processor", None)
        if set_processor is not None:
            set_processor(SplitEinsumProcessor())


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float
) -> torch.Tensor:
    weights = torch.einsum("bchq,bkhc->bkhq", queries, keys) * scale
    return torch.einsum("bkhq,bchk->bchq", weights.softmax(dim=1), values)
