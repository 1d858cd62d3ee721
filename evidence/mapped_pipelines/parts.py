"""What tiny pipelines with random weights are put together from."""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, Gemma2Config, Gemma2Model, T5Config

from evidence.random_pipelines.tokenizers import (
    CLIP_END_ID,
    CLIP_START_ID,
    CLIP_VOCAB_SIZE,
    T5_VOCAB_SIZE,
)
from evidence.random_pipelines.weights import RandomWeights

TOKENS: Final = 24
"""Length of a prompt that the text encoders of the small pipelines take."""

NOISE_SCHEDULE: Final[dict[str, Any]] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def random_weights() -> RandomWeights:
    """Return the weights that every pipeline here begins with."""
    return RandomWeights(seed=1, dtype=torch.float32, device="cpu")


def clip_config(hidden_size: int = 16) -> CLIPTextConfig:
    """Describe a CLIP text encoder.

    Args:
        hidden_size: Its width, and that of its projection.
    """
    return CLIPTextConfig(
        vocab_size=CLIP_VOCAB_SIZE,
        hidden_size=hidden_size,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=hidden_size,
        bos_token_id=CLIP_START_ID,
        eos_token_id=CLIP_END_ID,
        pad_token_id=CLIP_END_ID,
    )


def t5_config(d_model: int) -> T5Config:
    """Describe a T5 encoder.

    Args:
        d_model: Its width.
    """
    return T5Config(
        vocab_size=T5_VOCAB_SIZE, d_model=d_model, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )


def make_vae(**overrides: Any) -> AutoencoderKL:
    """Make a VAE of factor 4, unless ``block_out_channels`` says otherwise."""
    channels = overrides.pop("block_out_channels", (8, 8, 16))
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
        **{"latent_channels": 4, **overrides},
    )


def make_unet(**overrides: Any) -> UNet2DConditionModel:
    """Make a UNet of two levels."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        **overrides,
    )


HIDDEN: Final = 16
"""Width of the text encoders."""

SHAPE: Final[dict[str, Any]] = {
    "vocab_size": T5_VOCAB_SIZE,
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 1024,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def flow_scheduler(**more: Any) -> FlowMatchEulerDiscreteScheduler:
    """Make a flow-matching scheduler that shifts by 3."""
    return FlowMatchEulerDiscreteScheduler(shift=3.0, **more)


def build_gemma(weights: RandomWeights) -> Any:
    """Build a Gemma 2 text encoder.

    Args:
        weights: What it is filled with.
    """
    return weights.build(
        lambda: Gemma2Model(
            Gemma2Config(**SHAPE, num_hidden_layers=2, query_pre_attn_scalar=8, sliding_window=64)
        )
    )


def build_flux2_vae(weights: RandomWeights, *, channels: int, levels: int) -> Any:
    """Build the VAE of FLUX.2, whose latents are normalised by statistics.

    Args:
        weights: What it is filled with.
        channels: Of its latents.
        levels: Halvings of the size, and one.
    """
    return weights.build(
        lambda: AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=(8,) * levels,
            layers_per_block=1,
            latent_channels=channels,
            norm_num_groups=2,
            sample_size=32,
        )
    )


def build_qwen_image_vae(
    weights: RandomWeights, *, mean: list[float], deviation: list[float], halvings: int = 1
) -> Any:
    """Build the VAE of Qwen-Image, which was made for video.

    Args:
        weights: What it is filled with.
        mean: Of each of the four channels of its latents.
        deviation: Of each of them.
        halvings: Of the size.
    """
    base, widths = (8, [1, 2]) if halvings == 1 else (4, [1] * (halvings + 1))
    return weights.build(
        lambda: AutoencoderKLQwenImage(
            base_dim=base,
            z_dim=4,
            dim_mult=widths,
            num_res_blocks=1,
            temperal_downsample=[False] * halvings,
            latents_mean=mean,
            latents_std=deviation,
        )
    )
