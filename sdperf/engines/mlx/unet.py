"""UNet2DConditionModel of Stable Diffusion 1.x, 2.x and XL; names as in diffusers."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from sdperf.engines.mlx.attention import Transformer2D
from sdperf.engines.mlx.layers import (
    Downsample2D,
    ResnetBlock2D,
    TimestepEmbedding,
    Upsample2D,
    compute_sinusoids,
    conv3x3,
    group_norm,
    silu,
)
from sdperf.engines.mlx.unet_configuration import BlockConfiguration, UNetConfiguration
from sdperf.errors import GenerationError


class DownBlock2D(nn.Module):
    """One resolution on the way down; with attention where the configuration has some."""

    def __init__(
        self, block: BlockConfiguration, in_channels: int, config: UNetConfiguration
    ) -> None:
        super().__init__()
        widths = [in_channels, *[block.channels] * len(block.transformer_layers)]
        self.resnets = [
            _resnet(width, block.channels, config)
            for width, _ in zip(widths, block.transformer_layers, strict=False)
        ]
        if block.has_attention:
            self.attentions = _transformers(block, config)
        if block.changes_size:
            self.downsamplers = [Downsample2D(block.channels)]

    def __call__(
        self, hidden: mx.array, time_embedding: mx.array, context: mx.array
    ) -> list[mx.array]:
        """Return the tensors for the way up, in order; the last also goes to the block below."""
        kept = []
        for index, resnet in enumerate(self.resnets):
            hidden = resnet(hidden, time_embedding)
            if "attentions" in self:
                hidden = self.attentions[index](hidden, context)
            kept.append(hidden)
        if "downsamplers" in self:
            kept.append(self.downsamplers[0](hidden))
        return kept


class MidBlock2D(nn.Module):
    """The lowest resolution: residual blocks with attention between them."""

    def __init__(self, block: BlockConfiguration, config: UNetConfiguration) -> None:
        super().__init__()
        count = len(block.transformer_layers)
        self.resnets = [_resnet(block.channels, block.channels, config) for _ in range(count + 1)]
        self.attentions = _transformers(block, config)

    def __call__(self, hidden: mx.array, time_embedding: mx.array, context: mx.array) -> mx.array:
        """Run it on (B, H, W, C) float."""
        hidden = self.resnets[0](hidden, time_embedding)
        for attention, resnet in zip(self.attentions, self.resnets[1:], strict=True):
            hidden = resnet(attention(hidden, context), time_embedding)
        return hidden


class UpBlock2D(nn.Module):
    """One resolution on the way up, which also takes the tensors that the way down kept."""

    def __init__(
        self, block: BlockConfiguration, skipped: list[int], below: int, config: UNetConfiguration
    ) -> None:
        """Build it.

        Args:
            block: Configuration of the block.
            skipped: Channels of the kept tensor that each residual block takes, in order.
            below: Channels that come from the block below.
            config: Configuration of the whole network.
        """
        super().__init__()
        widths = [below, *[block.channels] * (len(skipped) - 1)]
        self.resnets = [
            _resnet(width + skip, block.channels, config)
            for width, skip in zip(widths, skipped, strict=True)
        ]
        if block.has_attention:
            self.attentions = _transformers(block, config)
        if block.changes_size:
            self.upsamplers = [Upsample2D(block.channels)]

    def __call__(
        self,
        hidden: mx.array,
        kept: list[mx.array],
        time_embedding: mx.array,
        context: mx.array,
        size: tuple[int, int] | None,
    ) -> mx.array:
        """Run it.

        Args:
            hidden: (B, H, W, C) float, from the block below.
            kept: One kept tensor for each residual block, in order.
            time_embedding: (B, D) float.
            context: (B, S, D) float.
            size: Height and width of the resolution above; ``None`` at the top.
        """
        for index, (resnet, skip) in enumerate(zip(self.resnets, kept, strict=True)):
            hidden = resnet(mx.concatenate([hidden, skip], axis=-1), time_embedding)
            if "attentions" in self:
                hidden = self.attentions[index](hidden, context)
        return self.upsamplers[0](hidden, size) if "upsamplers" in self else hidden


class UNet(nn.Module):
    """Predicts the noise in latents (or another quantity that the scheduler was trained with)."""

    def __init__(self, config: UNetConfiguration) -> None:
        super().__init__()
        self.config = config
        self.conv_in = conv3x3(config.in_channels, config.first_channels)
        self.time_embedding = TimestepEmbedding(config.first_channels, config.time_channels)
        if config.size_embedding is not None:
            self.add_embedding = TimestepEmbedding(
                config.size_embedding.in_channels, config.time_channels
            )
        widths = [config.first_channels, *(block.channels for block in config.down_blocks)]
        self.down_blocks = [
            DownBlock2D(block, width, config)
            for block, width in zip(config.down_blocks, widths, strict=False)
        ]
        if config.mid_block is not None:
            self.mid_block = MidBlock2D(config.mid_block, config)
        kept = _count_kept_channels(config)
        below = config.down_blocks[-1].channels
        self.up_blocks = []
        for block in config.up_blocks:
            skipped = [kept.pop() for _ in block.transformer_layers]
            self.up_blocks.append(UpBlock2D(block, skipped, below, config))
            below = block.channels
        self.conv_norm_out = group_norm(config.num_groups, config.first_channels, config.norm_eps)
        self.conv_out = conv3x3(config.first_channels, config.out_channels)

    def __call__(
        self,
        sample: mx.array,
        timesteps: mx.array,
        context: mx.array,
        text_embeds: mx.array | None = None,
        time_ids: mx.array | None = None,
    ) -> mx.array:
        """Run one step's prediction.

        Args:
            sample: (B, H, W, C) float, noisy latents.
            timesteps: (B,) numbers.
            context: (B, S, D) float, embeddings of the prompt's tokens.
            text_embeds: (B, P) float, the pooled prompt; XL only.
            time_ids: (B, 6) numbers, sizes and crop; XL only.

        Returns:
            (B, H, W, C) in the sample's dtype.
        """
        time_embedding = self._embed_time(timesteps, text_embeds, time_ids, sample.dtype)
        hidden = self.conv_in(sample)
        kept = [hidden]
        for down_block in self.down_blocks:
            kept += down_block(kept[-1], time_embedding, context)
        hidden = kept[-1]
        if "mid_block" in self:
            hidden = self.mid_block(hidden, time_embedding, context)
        for up_block in self.up_blocks:
            count = len(up_block.resnets)
            taken, kept = kept[: -count - 1 : -1], kept[:-count]
            size = (kept[-1].shape[1], kept[-1].shape[2]) if kept else None
            hidden = up_block(hidden, taken, time_embedding, context, size)
        predicted: mx.array = self.conv_out(silu(self.conv_norm_out(hidden)))
        return predicted

    def _embed_time(
        self,
        timesteps: mx.array,
        text_embeds: mx.array | None,
        time_ids: mx.array | None,
        dtype: mx.Dtype,
    ) -> mx.array:
        embedding = self.time_embedding(
            self._sinusoids(timesteps, self.config.first_channels).astype(dtype)
        )
        if self.config.size_embedding is not None:
            if text_embeds is None or time_ids is None:
                raise GenerationError(
                    "the UNet was called without the prompt's pooled embedding or its sizes",
                    expected="text_embeds and time_ids in added_cond_kwargs",
                )
            sizes = self._sinusoids(time_ids.flatten(), self.config.size_embedding.time_channels)
            sizes = sizes.reshape(text_embeds.shape[0], -1).astype(dtype)
            embedding = embedding + self.add_embedding(
                mx.concatenate([text_embeds, sizes], axis=-1)
            )
        return embedding

    def _sinusoids(self, values: mx.array, channels: int) -> mx.array:
        return compute_sinusoids(
            values,
            channels,
            flip_sin_to_cos=self.config.flip_sin_to_cos,
            freq_shift=self.config.freq_shift,
        )


def _resnet(in_channels: int, out_channels: int, config: UNetConfiguration) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels,
        out_channels,
        num_groups=config.num_groups,
        eps=config.norm_eps,
        time_channels=config.time_channels,
    )


def _transformers(block: BlockConfiguration, config: UNetConfiguration) -> list[Transformer2D]:
    return [
        Transformer2D(
            block.channels, block.heads, block.context_channels, layers, config.num_groups
        )
        for layers in block.transformer_layers
    ]


def _count_kept_channels(config: UNetConfiguration) -> list[int]:
    """List the channels of all tensors that the way down keeps, in order."""
    kept = [config.first_channels]
    for block in config.down_blocks:
        kept += [block.channels] * (len(block.transformer_layers) + int(block.changes_size))
    return kept
