"""More pipelines of 2025 and 2026, tiny and with random weights.

What the lowest versions of pyproject.toml do not have is imported where it is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from diffusers import (
    CogView4Pipeline,
    CogView4Transformer2DModel,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxKontextPipeline,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
)
from transformers import (
    GlmConfig,
    GlmModel,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
)

from evidence.mapped_pipelines.families import build_flux
from evidence.mapped_pipelines.parts import (
    HIDDEN,
    SHAPE,
    build_flux2_vae,
    build_qwen_image_vae,
    flow_scheduler,
    make_vae,
    random_weights,
)
from evidence.random_pipelines.tokenizers import build_chat_tokenizer
from evidence.random_pipelines.weights import RandomWeights

ROPE_OF_THREE: Final = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
"""Places of a token in time, height and width, as Qwen's vision-language models count them."""

QWEN3_VISION: Final[dict[str, Any]] = {
    "depth": 2,
    "hidden_size": HIDDEN,
    "intermediate_size": HIDDEN,
    "num_heads": 2,
    "out_hidden_size": HIDDEN,
    "deepstack_visual_indexes": [0],
}
"""The part of Qwen 3's vision-language model that sees."""


def build_flux_kontext() -> Any:
    """Build FLUX Kontext, which draws from a prompt alone too."""
    parts = build_flux().components | {"image_encoder": None, "feature_extractor": None}
    return FluxKontextPipeline(**parts)


def build_flux2() -> Any:
    """Build FLUX.2: a vision-language model of Mistral for the text."""
    weights = random_weights()
    text = {**SHAPE, "num_hidden_layers": 30, "model_type": "mistral"}
    vision = {
        "model_type": "pixtral",
        "hidden_size": HIDDEN,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": HIDDEN,
        "image_size": 30,
        "patch_size": 6,
    }
    return Flux2Pipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=build_flux2_vae(weights, channels=4, levels=2),
        text_encoder=weights.build(
            lambda: Mistral3ForConditionalGeneration(
                Mistral3Config(text_config=text, vision_config=vision, image_token_index=1)
            )
        ),
        tokenizer=build_chat_tokenizer(512),
        transformer=weights.build(
            lambda: Flux2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=3 * HIDDEN,
                axes_dims_rope=(4, 4, 4, 4),
            )
        ),
    )


def build_qwen3_vl(weights: RandomWeights, layers: int) -> Any:
    """Build the vision-language model that Krea 2 and Ideogram 4 take their text from.

    Args:
        weights: What it is filled with.
        layers: Of its language model.
    """
    from transformers import Qwen3VLConfig, Qwen3VLModel

    text = {**SHAPE, "num_hidden_layers": layers, "rope_scaling": ROPE_OF_THREE}
    return weights.build(
        lambda: Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=QWEN3_VISION))
    )


def build_krea2() -> Any:
    """Build Krea 2: states of several layers of its text encoder, Qwen-Image's VAE."""
    from diffusers import Krea2Pipeline, Krea2Transformer2DModel

    weights = random_weights()
    return Krea2Pipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=build_qwen_image_vae(weights, mean=[0.0] * 4, deviation=[1.0] * 4),
        text_encoder=build_qwen3_vl(weights, 2),
        tokenizer=build_chat_tokenizer(512),
        transformer=weights.build(
            lambda: Krea2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                attention_head_dim=8,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=32,
                timestep_embed_dim=8,
                text_hidden_dim=HIDDEN,
                num_text_layers=3,
                text_num_attention_heads=2,
                text_num_key_value_heads=1,
                text_intermediate_size=16,
                num_layerwise_text_blocks=1,
                num_refiner_text_blocks=1,
                axes_dims_rope=(4, 2, 2),
                rope_theta=1000.0,
            )
        ),
        text_encoder_select_layers=(0, 1, 2),
    )


def build_ideogram4() -> Any:
    """Build Ideogram 4: a second transformer for the side without a prompt."""
    from diffusers import Ideogram4Pipeline, Ideogram4Transformer2DModel

    weights = random_weights()

    def transformer() -> Any:
        return Ideogram4Transformer2DModel(
            in_channels=128,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            intermediate_size=32,
            adaln_dim=16,
            llm_features_dim=13 * HIDDEN,
            mrope_section=(4, 2, 2),
        )

    return Ideogram4Pipeline(
        scheduler=flow_scheduler(),
        vae=build_flux2_vae(weights, channels=32, levels=2),
        text_encoder=build_qwen3_vl(weights, 36),
        tokenizer=build_chat_tokenizer(512),
        transformer=weights.build(transformer),
        unconditional_transformer=weights.build(transformer),
    )


def build_cogview4() -> Any:
    """Build CogView 4: GLM for the text."""
    weights = random_weights()
    return CogView4Pipeline(
        tokenizer=build_chat_tokenizer(256),
        text_encoder=weights.build(
            lambda: GlmModel(GlmConfig(**SHAPE, num_hidden_layers=2, partial_rotary_factor=0.5))
        ),
        vae=weights.build(lambda: make_vae(scaling_factor=0.18215)),
        transformer=weights.build(
            lambda: CogView4Transformer2DModel(
                patch_size=2,
                in_channels=4,
                num_layers=2,
                attention_head_dim=4,
                num_attention_heads=4,
                out_channels=4,
                text_embed_dim=HIDDEN,
                time_embed_dim=8,
                condition_dim=4,
            )
        ),
        scheduler=flow_scheduler(use_dynamic_shifting=True, time_shift_type="linear"),
    )


def build_ovis() -> Any:
    """Build Ovis-Image: Flux's shape with Qwen 3 for the text."""
    weights = random_weights()
    return OvisImagePipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=weights.build(lambda: make_vae(scaling_factor=1.5, shift_factor=0.06)),
        text_encoder=weights.build(lambda: Qwen3Model(Qwen3Config(**SHAPE, num_hidden_layers=2))),
        tokenizer=build_chat_tokenizer(512),
        transformer=weights.build(
            lambda: OvisImageTransformer2DModel(
                patch_size=1,
                in_channels=16,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=HIDDEN,
                axes_dims_rope=(4, 4, 8),
            )
        ),
    )


def with_perturbed_attention(build: Callable[[], Any], name: str, layers: str) -> Any:
    """Build a pipeline with perturbed-attention guidance from the parts of one without.

    Args:
        build: Builds the one without.
        name: Class of diffusers.
        layers: Where attention is perturbed.
    """
    import diffusers

    kind, plain = getattr(diffusers, name), build()
    taken = inspect.signature(kind).parameters
    parts = {part: value for part, value in plain.components.items() if part in taken}
    if "requires_safety_checker" in taken:
        parts["requires_safety_checker"] = False
    return kind(**parts, pag_applied_layers=layers)


NEWEST: Final[dict[str, Callable[[], Any]]] = {
    "FluxKontextPipeline": build_flux_kontext,
    "Flux2Pipeline": build_flux2,
    "Krea2Pipeline": build_krea2,
    "Ideogram4Pipeline": build_ideogram4,
    "CogView4Pipeline": build_cogview4,
    "OvisImagePipeline": build_ovis,
}
