"""Models that Macs run, at their published sizes, on torch's meta device.

Sources: the defaults of diffusers 0.42.1's own classes for the transformers of FLUX.1, Chroma,
Lumina 2, Krea 2, Ovis-Image, CogView 4 and PixArt, which are those of the first published model;
the model cards of T5 1.1 XXL, Gemma 2 2B, Qwen 3 1.7B, Qwen 3 VL 4B and GLM 4 9B for the text;
`config.json` of PixArt-Sigma-XL-2-1024-MS and of stable-diffusion-2-1 for what differs from their
classes. The video models: LTX-Video 2B 0.9 is the defaults of its classes, Wan 2.1 1.3B what
diffusers' own conversion script writes, and the umT5 XXL of its model card. Tokenizers are small
(one id a character).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import diffusers
import transformers
from diffusers import FlowMatchEulerDiscreteScheduler

from evidence import random_pipelines
from evidence.random_pipelines.shapes import (
    CLIP_L,
    FLUX_VAE,
    T5_XXL,
    TOKEN_IDS,
    TOKENS,
    VAE,
    text_config,
)
from evidence.random_pipelines.tokenizers import (
    build_chat_tokenizer,
    build_clip_tokenizer,
    build_t5_tokenizer,
)
from evidence.random_pipelines.weights import RandomWeights
from sdperf.models.subject import PipelineRequest

_FLUX_VAE: Final[dict[str, Any]] = {
    **FLUX_VAE,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
}


@dataclass(frozen=True)
class Model:
    """A model of the matrix.

    Attributes:
        name: As people call it.
        build: Makes its pipeline with the device and the number format that are asked for.
        width_px: Width of its own picture, or of its video's frames.
        guidance: Its guidance scale; 1 is none.
        height_px: Height, where it is another than the width.
    """

    name: str
    build: Callable[[PipelineRequest], Any]
    width_px: int
    guidance: float
    height_px: int | None = None


def _weights(request: PipelineRequest) -> RandomWeights:
    return RandomWeights(seed=0, dtype=request.torch_dtype, device=request.device)


def _t5(weights: RandomWeights) -> Any:
    config = transformers.T5Config(**T5_XXL)
    return weights.build(lambda: transformers.T5EncoderModel(config))


def _flow(**more: Any) -> Any:
    return FlowMatchEulerDiscreteScheduler(shift=3.0, **more)


def build_sd21(request: PipelineRequest) -> Any:
    """Build Stable Diffusion 2.1: 64 numbers a head, OpenCLIP for the text."""
    weights = _weights(request)
    unet = {
        "sample_size": 96,
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    }
    open_clip = {
        **CLIP_L,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
        "projection_dim": 512,
    }
    return diffusers.StableDiffusionPipeline(
        unet=weights.build(lambda: diffusers.UNet2DConditionModel(**unet)),
        vae=weights.build(lambda: diffusers.AutoencoderKL(**VAE, sample_size=768)),
        text_encoder=weights.build(lambda: transformers.CLIPTextModel(text_config(open_clip))),
        tokenizer=build_clip_tokenizer(TOKENS),
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_flux1(request: PipelineRequest) -> Any:
    """Build FLUX.1 dev: CLIP and T5 for the text."""
    weights = _weights(request)
    return diffusers.FluxPipeline(
        transformer=weights.build(lambda: diffusers.FluxTransformer2DModel(guidance_embeds=True)),
        vae=weights.build(lambda: diffusers.AutoencoderKL(**_FLUX_VAE)),
        text_encoder=weights.build(lambda: transformers.CLIPTextModel(text_config(CLIP_L))),
        text_encoder_2=_t5(weights),
        tokenizer=build_clip_tokenizer(TOKENS),
        tokenizer_2=build_t5_tokenizer(512),
        scheduler=_flow(use_dynamic_shifting=True),
    )


def build_chroma(request: PipelineRequest) -> Any:
    """Build Chroma 1: FLUX.1 without CLIP."""
    weights = _weights(request)
    return diffusers.ChromaPipeline(
        transformer=weights.build(diffusers.ChromaTransformer2DModel),
        vae=weights.build(lambda: diffusers.AutoencoderKL(**_FLUX_VAE)),
        text_encoder=_t5(weights),
        tokenizer=build_t5_tokenizer(512),
        scheduler=_flow(use_dynamic_shifting=True),
    )


def build_pixart_sigma(request: PipelineRequest) -> Any:
    """Build PixArt-Sigma XL 2 at 1024 pixels."""
    weights = _weights(request)
    return diffusers.PixArtSigmaPipeline(
        transformer=weights.build(
            lambda: diffusers.PixArtTransformer2DModel(
                caption_channels=4096, interpolation_scale=2, use_additional_conditions=False
            )
        ),
        vae=weights.build(
            lambda: diffusers.AutoencoderKL(**VAE, sample_size=1024, scaling_factor=0.13025)
        ),
        text_encoder=_t5(weights),
        tokenizer=build_t5_tokenizer(300),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def build_lumina2(request: PipelineRequest) -> Any:
    """Build Lumina-Image 2.0: Gemma 2 2B for the text."""
    weights = _weights(request)
    gemma = transformers.Gemma2Config(
        vocab_size=256000,
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        **TOKEN_IDS,
    )
    return diffusers.Lumina2Pipeline(
        transformer=weights.build(
            lambda: diffusers.Lumina2Transformer2DModel(cap_feat_dim=gemma.hidden_size)
        ),
        vae=weights.build(lambda: diffusers.AutoencoderKL(**_FLUX_VAE)),
        text_encoder=weights.build(lambda: transformers.Gemma2Model(gemma)),
        tokenizer=build_chat_tokenizer(256),
        scheduler=_flow(),
    )


def build_krea2(request: PipelineRequest) -> Any:
    """Build Krea 2: states of twelve layers of Qwen 3 VL 4B, Qwen-Image's VAE."""
    weights = _weights(request)
    rope = {"mrope_section": [24, 20, 20], "rope_type": "default", "type": "default"}
    text = {
        "vocab_size": 151936,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rope_scaling": rope,
        **TOKEN_IDS,
    }
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "depth": 24, "out_hidden_size": 2560}
    config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision)
    return diffusers.Krea2Pipeline(
        transformer=weights.build(diffusers.Krea2Transformer2DModel),
        vae=weights.build(diffusers.AutoencoderKLQwenImage),
        text_encoder=weights.build(lambda: transformers.Qwen3VLModel(config)),
        tokenizer=build_chat_tokenizer(512),
        scheduler=_flow(use_dynamic_shifting=True),
        text_encoder_select_layers=tuple(range(2, 36, 3)),
    )


def build_ovis_image(request: PipelineRequest) -> Any:
    """Build Ovis-Image 7B: the language model of Ovis 2.5 2B for the text."""
    weights = _weights(request)
    text = transformers.Qwen3Config(
        vocab_size=151936,
        hidden_size=2048,
        intermediate_size=6144,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        **TOKEN_IDS,
    )
    return diffusers.OvisImagePipeline(
        transformer=weights.build(diffusers.OvisImageTransformer2DModel),
        vae=weights.build(lambda: diffusers.AutoencoderKL(**_FLUX_VAE)),
        text_encoder=weights.build(lambda: transformers.Qwen3Model(text)),
        tokenizer=build_chat_tokenizer(512),
        scheduler=_flow(use_dynamic_shifting=True),
    )


def build_cogview4(request: PipelineRequest) -> Any:
    """Build CogView 4 6B: GLM 4 9B for the text."""
    weights = _weights(request)
    text = transformers.GlmConfig(
        vocab_size=151552,
        hidden_size=4096,
        intermediate_size=13696,
        num_hidden_layers=40,
        num_attention_heads=32,
        num_key_value_heads=2,
        head_dim=128,
        partial_rotary_factor=0.5,
        **TOKEN_IDS,
    )
    return diffusers.CogView4Pipeline(
        transformer=weights.build(diffusers.CogView4Transformer2DModel),
        vae=weights.build(lambda: diffusers.AutoencoderKL(**_FLUX_VAE)),
        text_encoder=weights.build(lambda: transformers.GlmModel(text)),
        tokenizer=build_chat_tokenizer(256),
        scheduler=_flow(use_dynamic_shifting=True, time_shift_type="linear"),
    )


def build_ltx_video(request: PipelineRequest) -> Any:
    """Build LTX-Video 2B 0.9: T5 for the text, 161 frames."""
    weights = _weights(request)
    return diffusers.LTXPipeline(
        transformer=weights.build(diffusers.LTXVideoTransformer3DModel),
        vae=weights.build(diffusers.AutoencoderKLLTXVideo),
        text_encoder=_t5(weights),
        tokenizer=build_t5_tokenizer(128),
        scheduler=_flow(use_dynamic_shifting=True),
    )


def build_wan21_1_3b(request: PipelineRequest) -> Any:
    """Build Wan 2.1 T2V 1.3B: umT5 XXL for the text, 81 frames."""
    weights = _weights(request)
    umt5 = transformers.UMT5Config(**{**T5_XXL, "vocab_size": 256384})
    return diffusers.WanPipeline(
        transformer=weights.build(
            lambda: diffusers.WanTransformer3DModel(
                num_attention_heads=12, ffn_dim=8960, num_layers=30
            )
        ),
        vae=weights.build(diffusers.AutoencoderKLWan),
        text_encoder=weights.build(lambda: transformers.UMT5EncoderModel(umt5)),
        tokenizer=build_t5_tokenizer(512),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


MODELS: Final[tuple[Model, ...]] = (
    Model("Stable Diffusion 1.5", random_pipelines.sd15, 512, 7.5),
    Model("Stable Diffusion 2.1", build_sd21, 768, 7.5),
    Model("SDXL", random_pipelines.sdxl, 1024, 5.0),
    Model("PixArt-Sigma", build_pixart_sigma, 1024, 4.5),
    Model("Stable Diffusion 3.5 large", random_pipelines.sd35_large, 1024, 4.5),
    Model("FLUX.1 dev", build_flux1, 1024, 3.5),
    Model("Chroma 1", build_chroma, 1024, 5.0),
    Model("Lumina-Image 2.0", build_lumina2, 1024, 4.0),
    Model("CogView 4", build_cogview4, 1024, 3.5),
    Model("Qwen-Image", random_pipelines.qwen_image, 1024, 4.0),
    Model("Ovis-Image", build_ovis_image, 1024, 5.0),
    Model("Z-Image Turbo", random_pipelines.z_image_turbo, 1024, 1.0),
    Model("FLUX.2 klein 4B", random_pipelines.flux2_klein_4b, 1024, 1.0),
    Model("Krea 2", build_krea2, 1024, 1.0),
    Model("LTX-Video 2B", build_ltx_video, 704, 3.0, height_px=512),
    Model("Wan 2.1 1.3B", build_wan21_1_3b, 832, 5.0, height_px=480),
)
"""Pictures by the year that they came out, then videos."""
