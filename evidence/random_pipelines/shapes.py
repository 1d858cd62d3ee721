"""Stable Diffusion 1.5 and XL in their published configurations.

Source: the `config.json` files of stable-diffusion-v1-5/stable-diffusion-v1-5 and
stabilityai/stable-diffusion-xl-base-1.0. The tokenizers are smaller (one id a byte), and the
text encoders are told their ids; the text encoders' vocabulary, and so their size, is published.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from evidence.random_pipelines.tokenizers import CLIP_END_ID, CLIP_START_ID, build_clip_tokenizer
from evidence.random_pipelines.weights import RandomWeights
from sdperf.models.subject import PipelineRequest

_SEED: Final = 0
TOKENS: Final = 77
_NOISE_SCHEDULE: Final[dict[str, Any]] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}
_SD15_SCHEDULER: Final[dict[str, Any]] = {
    **_NOISE_SCHEDULE,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "clip_sample": False,
}
"""As published: PNDM itself has no `clip_sample`, but schedulers that are made from it clip unless
they are told not to."""

_SD15_UNET: Final[dict[str, Any]] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
_SDXL_UNET: Final[dict[str, Any]] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
    "up_block_types": (*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: Final[dict[str, Any]] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
CLIP_L: Final[dict[str, Any]] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
FLUX_VAE: Final[dict[str, Any]] = {
    **VAE,
    "latent_channels": 16,
    "sample_size": 1024,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
TOKEN_IDS: Final[dict[str, Any]] = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
"""Of the small tokenizer."""

T5_XXL: Final[dict[str, Any]] = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
CLIP_BIG_G: Final[dict[str, Any]] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}


def sd15(request: PipelineRequest) -> StableDiffusionPipeline:
    """Return Stable Diffusion 1.5 with random weights; a subject for ``--sd-subject``."""
    return build_sd15(dtype=request.torch_dtype, device=request.device)


def sdxl(request: PipelineRequest) -> StableDiffusionXLPipeline:
    """Return Stable Diffusion XL with random weights; a subject for ``--sd-subject``."""
    return build_sdxl(dtype=request.torch_dtype, device=request.device)


def build_sd15(*, dtype: torch.dtype, device: torch.device | str) -> StableDiffusionPipeline:
    """Build Stable Diffusion 1.5 (1.07 billion weights) on a device."""
    weights = RandomWeights(seed=_SEED, dtype=dtype, device=device)
    return StableDiffusionPipeline(
        unet=weights.build(lambda: UNet2DConditionModel(**_SD15_UNET)),
        vae=weights.build(lambda: AutoencoderKL(**VAE, sample_size=512, scaling_factor=0.18215)),
        text_encoder=weights.build(lambda: CLIPTextModel(text_config(CLIP_L))),
        tokenizer=build_clip_tokenizer(TOKENS),
        scheduler=PNDMScheduler.from_config(_SD15_SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_sdxl(*, dtype: torch.dtype, device: torch.device | str) -> StableDiffusionXLPipeline:
    """Build Stable Diffusion XL base (3.47 billion weights) on a device."""
    weights = RandomWeights(seed=_SEED, dtype=dtype, device=device)
    return StableDiffusionXLPipeline(
        unet=weights.build(lambda: UNet2DConditionModel(**_SDXL_UNET)),
        vae=weights.build(
            lambda: AutoencoderKL(
                **VAE, sample_size=1024, scaling_factor=0.13025, force_upcast=True
            )
        ),
        text_encoder=weights.build(lambda: CLIPTextModel(text_config(CLIP_L))),
        text_encoder_2=weights.build(lambda: CLIPTextModelWithProjection(text_config(CLIP_BIG_G))),
        tokenizer=build_clip_tokenizer(TOKENS),
        tokenizer_2=build_clip_tokenizer(TOKENS),
        scheduler=EulerDiscreteScheduler(**_NOISE_SCHEDULE, timestep_spacing="leading"),
        add_watermarker=False,
    )


def text_config(sizes: dict[str, Any]) -> CLIPTextConfig:
    """Describe a CLIP text encoder with the ids of the small tokenizer.

    Args:
        sizes: Its published sizes.
    """
    return CLIPTextConfig(
        **sizes,
        vocab_size=49408,
        max_position_embeddings=TOKENS,
        bos_token_id=CLIP_START_ID,
        eos_token_id=CLIP_END_ID,
        pad_token_id=CLIP_END_ID,
    )
