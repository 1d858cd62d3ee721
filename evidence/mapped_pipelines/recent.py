"""Pipelines of 2024 to 2026, tiny and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from diffusers import (
    ChromaPipeline,
    ChromaTransformer2DModel,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5EncoderModel,
)

from evidence.mapped_pipelines.parts import (
    HIDDEN,
    SHAPE,
    build_flux2_vae,
    build_gemma,
    build_qwen_image_vae,
    flow_scheduler,
    make_vae,
    random_weights,
    t5_config,
)
from evidence.random_pipelines.tokenizers import build_chat_tokenizer, build_t5_tokenizer
from sdperf.models.known_warnings import known_warnings_ignored


def build_z_image() -> Any:
    """Build Z-Image: Qwen 3 for the text, latents in a list."""
    weights = random_weights()
    return ZImagePipeline(
        transformer=weights.build(
            lambda: ZImageTransformer2DModel(
                in_channels=4,
                dim=32,
                n_layers=1,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
                cap_feat_dim=HIDDEN,
                axes_dims=[4, 6, 6],
                axes_lens=[1024, 64, 64],
            )
        ),
        vae=weights.build(lambda: make_vae(scaling_factor=0.36, shift_factor=0.11)),
        text_encoder=weights.build(lambda: Qwen3Model(Qwen3Config(**SHAPE, num_hidden_layers=2))),
        tokenizer=build_chat_tokenizer(),
        scheduler=flow_scheduler(),
    )


def build_flux2_klein(*, is_distilled: bool = True) -> Any:
    """Build FLUX.2 klein: Qwen 3 for the text.

    Args:
        is_distilled: Whether it is the model of few steps without guidance.
    """
    weights = random_weights()
    return Flux2KleinPipeline(
        transformer=weights.build(
            lambda: Flux2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=3 * HIDDEN,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            )
        ),
        vae=build_flux2_vae(weights, channels=4, levels=2),
        text_encoder=weights.build(
            lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, num_hidden_layers=28))
        ),
        tokenizer=build_chat_tokenizer(),
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        is_distilled=is_distilled,
    )


def build_qwen_image() -> Any:
    """Build Qwen-Image: a vision-language model for the text, a video model's VAE."""
    weights = random_weights()
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [0],
    }
    text = {
        **SHAPE,
        "num_hidden_layers": 2,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    }
    return QwenImagePipeline(
        transformer=weights.build(
            lambda: QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=HIDDEN,
                axes_dims_rope=(4, 6, 6),
            )
        ),
        vae=build_qwen_image_vae(
            weights, mean=[0.1, -0.2, 0.3, -0.1], deviation=[1.5, 2.0, 1.2, 1.8]
        ),
        text_encoder=weights.build(
            lambda: Qwen2_5_VLForConditionalGeneration(
                # Published models name the token; transformers 4.56 has no default of it.
                Qwen2_5_VLConfig(
                    text_config=text, vision_config=vision, vision_start_token_id=151652
                )
            )
        ),
        tokenizer=build_chat_tokenizer(),
        scheduler=flow_scheduler(use_dynamic_shifting=True),
    )


def build_chroma() -> Any:
    """Build Chroma: Flux without CLIP."""
    weights = random_weights()
    with known_warnings_ignored():  # it builds a part that diffusers deprecates
        transformer = weights.build(
            lambda: ChromaTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=16,
                axes_dims_rope=(4, 4, 8),
                approximator_num_channels=8,
                approximator_hidden_dim=16,
                approximator_layers=1,
            )
        )
    return ChromaPipeline(
        transformer=transformer,
        vae=weights.build(lambda: make_vae(scaling_factor=0.36, shift_factor=0.11)),
        text_encoder=weights.build(lambda: T5EncoderModel(t5_config(16))),
        tokenizer=build_t5_tokenizer(24),
        scheduler=flow_scheduler(),
    )


def build_lumina2() -> Any:
    """Build Lumina 2: Gemma 2 for the text."""
    weights = random_weights()
    return Lumina2Pipeline(
        transformer=weights.build(
            lambda: Lumina2Transformer2DModel(
                sample_size=8,
                in_channels=4,
                hidden_size=32,
                num_layers=1,
                num_refiner_layers=1,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                axes_dim_rope=(4, 6, 6),
                axes_lens=(300, 64, 64),
                cap_feat_dim=HIDDEN,
            )
        ),
        vae=weights.build(
            lambda: make_vae(
                scaling_factor=0.36,
                shift_factor=0.11,
                block_out_channels=(8,) * 4,
            )
        ),
        text_encoder=build_gemma(weights),
        tokenizer=build_chat_tokenizer(),
        scheduler=flow_scheduler(),
    )


RECENT: Final[dict[str, Callable[[], Any]]] = {
    "z-image": build_z_image,
    "flux2-klein": build_flux2_klein,
    "qwen-image": build_qwen_image,
    "chroma": build_chroma,
    "lumina2": build_lumina2,
}
