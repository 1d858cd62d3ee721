"""The decoder of AutoencoderKL; names as in diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn

from sdperf.engines.mlx.attention import Attention
from sdperf.engines.mlx.layers import (
    ResnetBlock2D,
    Upsample2D,
    conv3x3,
    group_norm,
    silu,
)
from sdperf.engines.mlx.settings import NetworkSettings

_EPS: Final = 1e-6
_PLAIN: Final[dict[str, tuple[Any, ...]]] = {
    "act_fn": ("silu", "swish"),
    "up_block_types": ("UpDecoderBlock2D",),
}
_READ: Final = (
    "block_out_channels",
    "latent_channels",
    "layers_per_block",
    "mid_block_add_attention",
    "norm_num_groups",
    "out_channels",
    "use_post_quant_conv",
)
_WITHOUT_INFLUENCE: Final = (
    "down_block_types",
    "force_upcast",
    "in_channels",
    "latents_mean",
    "latents_std",
    "sample_size",
    "scaling_factor",
    "shift_factor",
    "use_quant_conv",
)
"""Entries of the encoder, or of the pipeline's work around the decoder."""


@dataclass(frozen=True)
class DecoderConfiguration:
    """The shape of a decoder.

    Attributes:
        latent_channels: Channels of the latents.
        out_channels: Channels of the image.
        block_channels: Channels of the blocks, from the highest resolution to the lowest.
        layers_per_block: Residual blocks at each resolution, less one.
        num_groups: Groups of each group normalisation.
        has_attention: Whether pixels attend to each other at the lowest resolution.
        has_post_quant_conv: Whether the channels of the latents are mixed first.
    """

    latent_channels: int
    out_channels: int
    block_channels: tuple[int, ...]
    layers_per_block: int
    num_groups: int
    has_attention: bool
    has_post_quant_conv: bool


def parse_decoder_configuration(entries: Mapping[str, Any]) -> DecoderConfiguration:
    """Read a decoder's shape.

    Args:
        entries: The entries of diffusers' `config.json`.

    Raises:
        EngineError: The VAE decodes in another way than Stable Diffusion's.
    """
    settings = NetworkSettings("VAE", entries)
    settings.require(_PLAIN)
    settings.check_known((*_PLAIN, *_READ, *_WITHOUT_INFLUENCE))
    return DecoderConfiguration(
        latent_channels=settings.number("latent_channels", 4),
        out_channels=settings.number("out_channels", 3),
        block_channels=settings.numbers("block_out_channels"),
        layers_per_block=settings.number("layers_per_block", 1),
        num_groups=settings.number("norm_num_groups", 32),
        has_attention=settings.flag("mid_block_add_attention", True),
        has_post_quant_conv=settings.flag("use_post_quant_conv", True),
    )


class VAEMidBlock2D(nn.Module):
    """The lowest resolution: two residual blocks, maybe with attention between them."""

    def __init__(self, channels: int, config: DecoderConfiguration) -> None:
        super().__init__()
        self.resnets = [_resnet(channels, channels, config) for _ in range(2)]
        if config.has_attention:
            self.attentions = [PixelAttention(channels, config.num_groups)]

    def __call__(self, hidden: mx.array) -> mx.array:
        """Run it on (B, H, W, C) float."""
        hidden = self.resnets[0](hidden)
        if "attentions" in self:
            hidden = self.attentions[0](hidden)
        return self.resnets[1](hidden)


class PixelAttention(Attention):
    """Attention of all pixels to each other, with one head; it is added to its input."""

    def __init__(self, channels: int, num_groups: int) -> None:
        super().__init__(channels, 1, bias=True)
        self.group_norm = group_norm(num_groups, channels, _EPS)

    def __call__(self, hidden: mx.array, context: mx.array | None = None) -> mx.array:
        """Run it on (B, H, W, C) float."""
        batch, height, width, channels = hidden.shape
        tokens = self.group_norm(hidden).reshape(batch, height * width, channels)
        return hidden + super().__call__(tokens, context).reshape(hidden.shape)


class UpDecoderBlock2D(nn.Module):
    """One resolution."""

    def __init__(
        self, in_channels: int, out_channels: int, *, is_last: bool, config: DecoderConfiguration
    ) -> None:
        super().__init__()
        widths = [in_channels, *[out_channels] * config.layers_per_block]
        self.resnets = [_resnet(width, out_channels, config) for width in widths]
        if not is_last:
            self.upsamplers = [Upsample2D(out_channels)]

    def __call__(self, hidden: mx.array) -> mx.array:
        """Run it on (B, H, W, C) float."""
        for resnet in self.resnets:
            hidden = resnet(hidden)
        return self.upsamplers[0](hidden) if "upsamplers" in self else hidden


class Decoder(nn.Module):
    """Everything between mixed latents and an image."""

    def __init__(self, config: DecoderConfiguration) -> None:
        super().__init__()
        *_, lowest = config.block_channels
        self.conv_in = conv3x3(config.latent_channels, lowest)
        self.mid_block = VAEMidBlock2D(lowest, config)
        upwards = config.block_channels[::-1]
        self.up_blocks = [
            UpDecoderBlock2D(below, channels, is_last=index == len(upwards) - 1, config=config)
            for index, (below, channels) in enumerate(
                zip((lowest, *upwards), upwards, strict=False)
            )
        ]
        self.conv_norm_out = group_norm(config.num_groups, upwards[-1], _EPS)
        self.conv_out = conv3x3(upwards[-1], config.out_channels)

    def __call__(self, hidden: mx.array) -> mx.array:
        """Run it on (B, H, W, C) float."""
        hidden = self.mid_block(self.conv_in(hidden))
        for block in self.up_blocks:
            hidden = block(hidden)
        image: mx.array = self.conv_out(silu(self.conv_norm_out(hidden)))
        return image


class VAEDecoder(nn.Module):
    """Turns latents, unscaled already, into an image."""

    def __init__(self, config: DecoderConfiguration) -> None:
        super().__init__()
        if config.has_post_quant_conv:
            self.post_quant_conv = nn.Linear(config.latent_channels, config.latent_channels)
        self.decoder = Decoder(config)

    def __call__(self, latents: mx.array) -> mx.array:
        """Run it.

        Args:
            latents: (B, h, w, C) float.

        Returns:
            (B, H, W, 3) in the latents' dtype, about [-1, 1].
        """
        mixed = self.post_quant_conv(latents) if "post_quant_conv" in self else latents
        return self.decoder(mixed)


def _resnet(in_channels: int, out_channels: int, config: DecoderConfiguration) -> ResnetBlock2D:
    return ResnetBlock2D(in_channels, out_channels, num_groups=config.num_groups, eps=_EPS)
