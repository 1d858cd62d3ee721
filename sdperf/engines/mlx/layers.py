"""Layers that a UNet and a VAE share: residual blocks, changes of size, timestep embeddings.

Images are (B, H, W, C), the layout of MLX. Attributes are named as in diffusers, so that weights
find their place by name.
"""

from __future__ import annotations

import math
from typing import Final

import mlx.core as mx
import mlx.nn as nn

_LONGEST_PERIOD: Final = 10_000


def silu(hidden: mx.array) -> mx.array:
    """Multiply by the sigmoid; MLX's own is compiled, which on a CPU needs a C++ compiler."""
    return hidden * mx.sigmoid(hidden)


def gelu(hidden: mx.array) -> mx.array:
    """Compute GELU by the error function."""
    return hidden * (1 + mx.erf(hidden / math.sqrt(2))) / 2


def group_norm(num_groups: int, channels: int, eps: float) -> nn.GroupNorm:
    """Make a group normalisation that divides channels as torch does."""
    return nn.GroupNorm(num_groups, channels, eps=eps, pytorch_compatible=True)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution that keeps the size (or halves it, with a stride of 2)."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)


class ResnetBlock2D(nn.Module):
    """Two convolutions around an input that is added again at the end.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        num_groups: Groups of both normalisations.
        eps: Epsilon of both normalisations.
        time_channels: Length of the timestep embedding; ``None`` in a VAE, which has none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_groups: int,
        eps: float,
        time_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(num_groups, in_channels, eps)
        self.conv1 = conv3x3(in_channels, out_channels)
        if time_channels is not None:
            self.time_emb_proj = nn.Linear(time_channels, out_channels)
        self.norm2 = group_norm(num_groups, out_channels, eps)
        self.conv2 = conv3x3(out_channels, out_channels)
        if in_channels != out_channels:
            self.conv_shortcut = nn.Linear(in_channels, out_channels)

    def __call__(self, hidden: mx.array, time_embedding: mx.array | None = None) -> mx.array:
        """Run the block.

        Args:
            hidden: (B, H, W, C) float.
            time_embedding: (B, D) float.
        """
        inner: mx.array = self.conv1(silu(self.norm1(hidden)))
        if time_embedding is not None:
            inner = inner + self.time_emb_proj(silu(time_embedding))[:, None, None, :]
        inner = self.conv2(silu(self.norm2(inner)))
        outer: mx.array = self.conv_shortcut(hidden) if "conv_shortcut" in self else hidden
        return outer + inner


class Downsample2D(nn.Module):
    """Halves height and width by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels, stride=2)

    def __call__(self, hidden: mx.array) -> mx.array:
        """Run it on (B, H, W, C) float."""
        reduced: mx.array = self.conv(hidden)
        return reduced


class Upsample2D(nn.Module):
    """Repeats each pixel, then smooths by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def __call__(self, hidden: mx.array, size: tuple[int, int] | None = None) -> mx.array:
        """Run it.

        Args:
            hidden: (B, H, W, C) float.
            size: Height and width of the output; ``None`` means twice those of the input.
        """
        enlarged: mx.array = self.conv(_repeat_pixels(hidden, size))
        return enlarged


class TimestepEmbedding(nn.Module):
    """Two linear layers behind the sinusoids of a timestep."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_channels, out_channels)
        self.linear_2 = nn.Linear(out_channels, out_channels)

    def __call__(self, sinusoids: mx.array) -> mx.array:
        """Run it on (B, D) float."""
        embedding: mx.array = self.linear_2(silu(self.linear_1(sinusoids)))
        return embedding


def compute_sinusoids(
    values: mx.array, channels: int, *, flip_sin_to_cos: bool, freq_shift: float
) -> mx.array:
    """Compute the sinusoidal embedding of timesteps or sizes.

    Args:
        values: (N,) numbers.
        channels: Length of the embedding, even.
        flip_sin_to_cos: Whether cosines come first.
        freq_shift: Subtracted from the number of frequencies in the exponent's denominator.

    Returns:
        (N, channels) float32.

    Source: diffusers `get_timestep_embedding`, after "Attention Is All You Need", 3.5.
    """
    half = channels // 2
    exponents = -math.log(_LONGEST_PERIOD) * mx.arange(half, dtype=mx.float32)
    angles = values.astype(mx.float32)[:, None] * mx.exp(exponents / (half - freq_shift))[None]
    parts = [mx.sin(angles), mx.cos(angles)]
    return mx.concatenate(parts[::-1] if flip_sin_to_cos else parts, axis=-1)


def _repeat_pixels(hidden: mx.array, size: tuple[int, int] | None) -> mx.array:
    """Enlarge (B, H, W, C) by nearest neighbours."""
    batch, height, width, channels = hidden.shape
    if size is None or size == (2 * height, 2 * width):
        spread = mx.broadcast_to(
            hidden[:, :, None, :, None, :], (batch, height, 2, width, 2, channels)
        )
        return spread.reshape(batch, 2 * height, 2 * width, channels)
    rows, columns = (
        mx.arange(target) * source // target
        for target, source in zip(size, (height, width), strict=True)
    )
    return hidden[:, rows][:, :, columns]
