"""A pipeline of Flux's family with about ten billion random weights, and one of its small kin.

The text encoder is T5-XXL's encoder as published, the denoiser Flux's in its published width with
fewer blocks (7 of 19 double ones, 14 of 38 single ones). Tokenizers are small: one id a character.

Source: the `config.json` files of black-forest-labs/FLUX.1-dev.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from evidence.random_pipelines.tokenizers import (
    CLIP_END_ID,
    CLIP_START_ID,
    build_clip_tokenizer,
    build_t5_tokenizer,
)
from evidence.random_pipelines.weights import RandomWeights

_SEED: Final = 0
_CLIP_TOKENS: Final = 77
_T5_TOKENS: Final = 512


@dataclass(frozen=True)
class Shape:
    """Sizes of the parts.

    Attributes:
        transformer: Of the denoiser.
        t5: Of the larger text encoder.
        clip: Of the smaller one.
        vae_channels: Channels of the VAE's blocks.
        vae_layers: Layers of each of its blocks.
        vae_groups: Groups of its normalisation.
    """

    transformer: dict[str, Any]
    t5: dict[str, Any]
    clip: dict[str, Any]
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_layers: int = 2
    vae_groups: int = 32


LARGE: Final = Shape(
    transformer={"num_layers": 7, "num_single_layers": 14},
    t5={"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64},
    clip={
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
    },
)
"""About 9.5 billion weights: 19 GB in bf16, 38 GB in fp32."""

SMALL: Final = Shape(
    transformer={
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 16,
        "pooled_projection_dim": 16,
        "axes_dims_rope": (4, 4, 8),
    },
    t5={"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
    clip={
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 16,
    },
    vae_channels=(8, 8, 8, 8),
    vae_layers=1,
    vae_groups=4,
)
"""The same session in seconds on two cores, to try the tool."""


@dataclass
class Flux:
    """Builds the pipeline.

    Attributes:
        shape: Its sizes.
        dtype: Number format of the weights.
        device: Where they are drawn and stay.
    """

    shape: Shape
    dtype: torch.dtype
    device: torch.device | str
    _weights: RandomWeights = field(init=False)

    def __post_init__(self) -> None:
        self._weights = RandomWeights(seed=_SEED, dtype=self.dtype, device=self.device)

    def build(self) -> FluxPipeline:
        """Return the pipeline; weights are drawn on the device, never on the disk."""
        weights, shape = self._weights, self.shape
        return FluxPipeline(
            transformer=weights.build(
                lambda: FluxTransformer2DModel(**shape.transformer, guidance_embeds=True)
            ),
            vae=weights.build(self._make_vae),
            text_encoder=weights.build(lambda: CLIPTextModel(self._configure_clip())),
            text_encoder_2=weights.build(
                lambda: T5EncoderModel(
                    T5Config(vocab_size=32128, feed_forward_proj="gated-gelu", **shape.t5)
                )
            ),
            tokenizer=build_clip_tokenizer(_CLIP_TOKENS),
            tokenizer_2=build_t5_tokenizer(_T5_TOKENS),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        )

    def _make_vae(self) -> AutoencoderKL:
        return AutoencoderKL(
            block_out_channels=self.shape.vae_channels,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=self.shape.vae_layers,
            norm_num_groups=self.shape.vae_groups,
            latent_channels=16,
            sample_size=1024,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )

    def _configure_clip(self) -> CLIPTextConfig:
        return CLIPTextConfig(
            **self.shape.clip,
            vocab_size=49408,
            max_position_embeddings=_CLIP_TOKENS,
            bos_token_id=CLIP_START_ID,
            eos_token_id=CLIP_END_ID,
            pad_token_id=CLIP_END_ID,
        )
