"""Models of 2024 to 2026 at their published sizes.

Sources: Z-Image and Qwen-Image, the defaults of their transformers' and VAEs' classes in diffusers
0.42.1; FLUX.2 klein 4B, `Klein4BParams` of black-forest-labs/flux2; Stable Diffusion 3.5 large,
`MMDiTX` of Stability-AI/sd3.5 as diffusers' conversion script writes it (depth 38, 64 numbers a
head); Qwen 3 4B and Qwen 2.5 VL 7B, the tables of their model cards. Tokenizers are small (one id
a character), so that a prompt has more tokens than in the published ones.
"""

from __future__ import annotations

from typing import Any, Final

from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from evidence.random_pipelines.shapes import (
    CLIP_BIG_G,
    CLIP_L,
    FLUX_VAE,
    T5_XXL,
    TOKEN_IDS,
    TOKENS,
    text_config,
)
from evidence.random_pipelines.tokenizers import (
    build_chat_tokenizer,
    build_clip_tokenizer,
    build_t5_tokenizer,
)
from evidence.random_pipelines.weights import RandomWeights
from sdperf.models.subject import PipelineRequest

_SEED: Final = 0
_CHAT_TOKENS: Final = 512
_QWEN3_4B: Final[dict[str, Any]] = {
    "vocab_size": 151936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
    **TOKEN_IDS,
}
_QWEN2_5_VL_7B: Final[dict[str, Any]] = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
    **TOKEN_IDS,
}
_QWEN2_5_VISION: Final[dict[str, Any]] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
}


def z_image_turbo(request: PipelineRequest) -> ZImagePipeline:
    """Return Z-Image-Turbo with random weights (6.2 billion of them and 4.0 for the text)."""
    weights = _weights(request)
    return ZImagePipeline(
        transformer=weights.build(ZImageTransformer2DModel),
        vae=weights.build(
            lambda: AutoencoderKL(**FLUX_VAE, scaling_factor=0.3611, shift_factor=0.1159)
        ),
        text_encoder=weights.build(lambda: Qwen3Model(Qwen3Config(**_QWEN3_4B))),
        tokenizer=build_chat_tokenizer(_CHAT_TOKENS),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux2_klein_4b(request: PipelineRequest) -> Flux2KleinPipeline:
    """Return FLUX.2 klein 4B with random weights (3.9 billion of them and 4.0 for the text)."""
    weights = _weights(request)
    return Flux2KleinPipeline(
        transformer=weights.build(
            lambda: Flux2Transformer2DModel(
                in_channels=128,
                num_layers=5,
                num_single_layers=20,
                attention_head_dim=128,
                num_attention_heads=24,
                joint_attention_dim=3 * 2560,
                mlp_ratio=3.0,
                guidance_embeds=False,
            )
        ),
        vae=weights.build(AutoencoderKLFlux2),
        text_encoder=weights.build(lambda: Qwen3ForCausalLM(Qwen3Config(**_QWEN3_4B))),
        tokenizer=build_chat_tokenizer(_CHAT_TOKENS),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        is_distilled=True,
    )


def qwen_image(request: PipelineRequest) -> QwenImagePipeline:
    """Return Qwen-Image with random weights (20 billion of them and 8 for the text)."""
    weights = _weights(request)
    return QwenImagePipeline(
        transformer=weights.build(QwenImageTransformer2DModel),
        vae=weights.build(AutoencoderKLQwenImage),
        text_encoder=weights.build(
            lambda: Qwen2_5_VLForConditionalGeneration(
                Qwen2_5_VLConfig(text_config=_QWEN2_5_VL_7B, vision_config=_QWEN2_5_VISION)
            )
        ),
        tokenizer=build_chat_tokenizer(_CHAT_TOKENS),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
    )


def sd35_large(request: PipelineRequest) -> StableDiffusion3Pipeline:
    """Return Stable Diffusion 3.5 large with random weights (8.1 billion and 5.6 for the text)."""
    weights = _weights(request)
    return StableDiffusion3Pipeline(
        transformer=weights.build(
            lambda: SD3Transformer2DModel(
                num_layers=38,
                num_attention_heads=38,
                attention_head_dim=64,
                caption_projection_dim=38 * 64,
                pos_embed_max_size=192,
                qk_norm="rms_norm",
            )
        ),
        vae=weights.build(
            lambda: AutoencoderKL(**FLUX_VAE, scaling_factor=1.5305, shift_factor=0.0609)
        ),
        text_encoder=weights.build(lambda: CLIPTextModelWithProjection(text_config(CLIP_L))),
        text_encoder_2=weights.build(lambda: CLIPTextModelWithProjection(text_config(CLIP_BIG_G))),
        text_encoder_3=weights.build(lambda: T5EncoderModel(T5Config(**T5_XXL))),
        tokenizer=build_clip_tokenizer(TOKENS),
        tokenizer_2=build_clip_tokenizer(TOKENS),
        tokenizer_3=build_t5_tokenizer(256),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _weights(request: PipelineRequest) -> RandomWeights:
    return RandomWeights(seed=_SEED, dtype=request.torch_dtype, device=request.device)
