"""The four families that sdperf divides by classes of their own, tiny and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from diffusers import (
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from evidence.mapped_pipelines.parts import (
    NOISE_SCHEDULE,
    TOKENS,
    clip_config,
    make_unet,
    make_vae,
    random_weights,
    t5_config,
)
from evidence.random_pipelines.tokenizers import build_clip_tokenizer, build_t5_tokenizer


def build_sd() -> Any:
    """Build Stable Diffusion 1.x: one text encoder, a UNet."""
    weights = random_weights()
    return StableDiffusionPipeline(
        unet=weights.build(
            partial(
                make_unet,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                cross_attention_dim=16,
            )
        ),
        vae=weights.build(partial(make_vae, scaling_factor=0.18215)),
        text_encoder=weights.build(lambda: CLIPTextModel(clip_config())),
        tokenizer=build_clip_tokenizer(TOKENS),
        scheduler=PNDMScheduler(**NOISE_SCHEDULE, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_sdxl(*, force_upcast: bool = True, **vae: Any) -> Any:
    """Build Stable Diffusion XL: two text encoders, a UNet.

    Args:
        force_upcast: Whether its VAE says that it overflows in float16.
        **vae: Of the VAE.
    """
    weights = random_weights()
    return StableDiffusionXLPipeline(
        unet=weights.build(
            partial(
                make_unet,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=16 + 24,
                transformer_layers_per_block=(1, 2),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=24 + 6 * 8,
            )
        ),
        vae=weights.build(
            partial(make_vae, scaling_factor=0.13025, force_upcast=force_upcast, **vae)
        ),
        text_encoder=weights.build(lambda: CLIPTextModel(clip_config())),
        text_encoder_2=weights.build(lambda: CLIPTextModelWithProjection(clip_config(24))),
        tokenizer=build_clip_tokenizer(TOKENS),
        tokenizer_2=build_clip_tokenizer(TOKENS),
        scheduler=EulerDiscreteScheduler(**NOISE_SCHEDULE, timestep_spacing="leading"),
        add_watermarker=False,
    )


def build_sd3(*, with_t5: bool = True, layers: int = 1, channels: int = 4) -> Any:
    """Build Stable Diffusion 3: two CLIP encoders and T5.

    Args:
        with_t5: Whether T5 is there.
        layers: Of the transformer.
        channels: Of the latents; inpainting takes the 16 of published models only.
    """
    weights = random_weights()
    return StableDiffusion3Pipeline(
        transformer=weights.build(
            lambda: SD3Transformer2DModel(
                sample_size=8,
                patch_size=1,
                in_channels=channels,
                out_channels=channels,
                num_layers=layers,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=16 + 24,
                caption_projection_dim=16,
                pooled_projection_dim=16 + 24,
                pos_embed_max_size=16,
            )
        ),
        vae=weights.build(
            partial(make_vae, scaling_factor=1.5, shift_factor=0.06, latent_channels=channels)
        ),
        text_encoder=weights.build(lambda: CLIPTextModelWithProjection(clip_config())),
        text_encoder_2=weights.build(lambda: CLIPTextModelWithProjection(clip_config(24))),
        text_encoder_3=weights.build(lambda: T5EncoderModel(t5_config(40))) if with_t5 else None,
        tokenizer=build_clip_tokenizer(TOKENS),
        tokenizer_2=build_clip_tokenizer(TOKENS),
        tokenizer_3=build_t5_tokenizer(TOKENS) if with_t5 else None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def build_flux() -> Any:
    """Build Flux: CLIP and T5, packed latents."""
    weights = random_weights()
    return FluxPipeline(
        transformer=weights.build(
            lambda: FluxTransformer2DModel(
                patch_size=1,
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=16,
                pooled_projection_dim=16,
                axes_dims_rope=(4, 4, 8),
                guidance_embeds=True,
            )
        ),
        vae=weights.build(partial(make_vae, scaling_factor=0.36, shift_factor=0.11)),
        text_encoder=weights.build(lambda: CLIPTextModel(clip_config())),
        text_encoder_2=weights.build(lambda: T5EncoderModel(t5_config(16))),
        tokenizer=build_clip_tokenizer(TOKENS),
        tokenizer_2=build_t5_tokenizer(TOKENS),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


FAMILIES: Final[dict[str, Callable[[], Any]]] = {
    "sd": build_sd,
    "sdxl": build_sdxl,
    "sd3": build_sd3,
    "sd3-without-t5": partial(build_sd3, with_t5=False),
    "flux": build_flux,
}
