"""Attention and the transformer between the residual blocks of a UNet; names as in diffusers."""

from __future__ import annotations

from typing import Final

import mlx.core as mx
import mlx.nn as nn

from sdperf.engines.mlx.layers import gelu, group_norm

_TRANSFORMER_NORM_EPS: Final = 1e-6
_BLOCK_NORM_EPS: Final = 1e-5


def attend(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    heads: int,
    mask: mx.array | str | None = None,
) -> mx.array:
    """Compute scaled dot-product attention, head by head.

    Args:
        queries: (B, L, heads * D) float.
        keys: (B, S, heads * D) float.
        values: (B, S, heads * D) float.
        heads: Number of heads.
        mask: A mask that MLX takes; ``"causal"`` lets a token see only those before it.

    Returns:
        (B, L, heads * D) float.
    """
    batch, length, channels = queries.shape
    split = [
        part.reshape(batch, part.shape[1], heads, -1).transpose(0, 2, 1, 3)
        for part in (queries, keys, values)
    ]
    scale = (channels // heads) ** -0.5
    attended = mx.fast.scaled_dot_product_attention(*split, scale=scale, mask=mask)
    return attended.transpose(0, 2, 1, 3).reshape(batch, length, channels)


class Attention(nn.Module):
    """Attention of image tokens to themselves or to a prompt's tokens."""

    def __init__(
        self, channels: int, heads: int, context_channels: int | None = None, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        from_channels = channels if context_channels is None else context_channels
        self.to_q = nn.Linear(channels, channels, bias=bias)
        self.to_k = nn.Linear(from_channels, channels, bias=bias)
        self.to_v = nn.Linear(from_channels, channels, bias=bias)
        self.to_out = [nn.Linear(channels, channels)]

    def __call__(self, tokens: mx.array, context: mx.array | None = None) -> mx.array:
        """Run it.

        Args:
            tokens: (B, L, C) float.
            context: (B, S, D) float; ``None`` is the tokens themselves.
        """
        source = tokens if context is None else context
        attended = attend(self.to_q(tokens), self.to_k(source), self.to_v(source), self.heads)
        mixed: mx.array = self.to_out[0](attended)
        return mixed


class GEGLU(nn.Module):
    """A linear layer of which one half gates the other through GELU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, 2 * out_channels)

    def __call__(self, tokens: mx.array) -> mx.array:
        """Run it on (B, L, C) float."""
        values, gate = mx.split(self.proj(tokens), 2, axis=-1)
        gated: mx.array = values * gelu(gate)
        return gated


class FeedForward(nn.Module):
    """Four times as wide inside; the identity stands where diffusers has its dropout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = [
            GEGLU(channels, 4 * channels),
            nn.Identity(),
            nn.Linear(4 * channels, channels),
        ]

    def __call__(self, tokens: mx.array) -> mx.array:
        """Run it on (B, L, C) float."""
        for layer in self.net:
            tokens = layer(tokens)
        return tokens


class BasicTransformerBlock(nn.Module):
    """Self-attention, attention to the prompt, feed-forward; each is added to its input."""

    def __init__(self, channels: int, heads: int, context_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=_BLOCK_NORM_EPS)
        self.attn1 = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=_BLOCK_NORM_EPS)
        self.attn2 = Attention(channels, heads, context_channels)
        self.norm3 = nn.LayerNorm(channels, eps=_BLOCK_NORM_EPS)
        self.ff = FeedForward(channels)

    def __call__(self, tokens: mx.array, context: mx.array) -> mx.array:
        """Run it on (B, L, C) float with a context of (B, S, D) float."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        return tokens + self.ff(self.norm3(tokens))


class Transformer2D(nn.Module):
    """Transformer blocks over all pixels as tokens.

    The projections at both ends are 1 x 1 convolutions in Stable Diffusion 1.x and linear layers
    later: in this layout they are the same.
    """

    def __init__(
        self, channels: int, heads: int, context_channels: int, layers: int, num_groups: int
    ) -> None:
        super().__init__()
        self.norm = group_norm(num_groups, channels, _TRANSFORMER_NORM_EPS)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = [
            BasicTransformerBlock(channels, heads, context_channels) for _ in range(layers)
        ]
        self.proj_out = nn.Linear(channels, channels)

    def __call__(self, hidden: mx.array, context: mx.array) -> mx.array:
        """Run it on (B, H, W, C) float with a context of (B, S, D) float."""
        batch, height, width, channels = hidden.shape
        tokens: mx.array = self.proj_in(self.norm(hidden).reshape(batch, height * width, channels))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        changed: mx.array = self.proj_out(tokens)
        return hidden + changed.reshape(hidden.shape)
