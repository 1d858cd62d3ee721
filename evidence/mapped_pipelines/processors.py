"""Pipelines whose processor of transformers needs torchvision, tiny and with random weights.

torchvision is no dependency of sdperf; what needs it is imported where it is built.
"""

from __future__ import annotations

from typing import Any, Final

from transformers import PreTrainedTokenizerFast, T5EncoderModel

from evidence.mapped_pipelines.newest import QWEN3_VISION, ROPE_OF_THREE
from evidence.mapped_pipelines.parts import (
    HIDDEN,
    SHAPE,
    build_qwen_image_vae,
    flow_scheduler,
    make_vae,
    random_weights,
    t5_config,
)
from evidence.mapped_pipelines.recent import build_qwen_image, build_z_image
from evidence.random_pipelines.tokenizers import build_chat_tokenizer, build_t5_tokenizer
from evidence.random_pipelines.weights import RandomWeights

TOKENS_OF_PICTURES: Final = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_FEW_PIXELS: Final = {"min_pixels": 28 * 28, "max_pixels": 112 * 112}
"""A picture for the text encoder, so that it has few tokens."""

_CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_vision_tokenizer() -> Any:
    """Build a tokenizer of characters that knows where a picture stands in the text."""
    tokenizer = build_chat_tokenizer(2048)
    tokenizer.add_tokens(list(TOKENS_OF_PICTURES), special_tokens=True)
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def build_qwen3_processor() -> Any:
    """Build the processor of Qwen 3's vision-language models."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=16, **_FEW_PIXELS),
        tokenizer=build_vision_tokenizer(),
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=_CHAT_TEMPLATE,
    )


def build_qwen3_encoder(weights: RandomWeights, tokenizer: Any, layers: int) -> Any:
    """Build a vision-language model of Qwen 3 with its head.

    Args:
        weights: What it is filled with.
        tokenizer: What its text comes from.
        layers: Of its language model.
    """
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {
        **SHAPE,
        "vocab_size": len(tokenizer),
        "num_hidden_layers": layers,
        "rope_scaling": ROPE_OF_THREE,
    }
    return weights.build(
        lambda: Qwen3VLForConditionalGeneration(
            Qwen3VLConfig(text_config=text, vision_config=QWEN3_VISION, **_token_ids(tokenizer))
        )
    )


def build_qwen_image21() -> Any:
    """Build Qwen-Image 2.1: keys and values of the text kept over the steps, a VAE of factor 16."""
    from diffusers import (
        AutoencoderKLQwenImage21,
        QwenImage21Pipeline,
        QwenImage21Transformer2DModel,
    )

    weights, processor = random_weights(), build_qwen3_processor()
    return QwenImage21Pipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=weights.build(
            lambda: AutoencoderKLQwenImage21(
                base_dim=8,
                decoder_base_dim=8,
                z_dim=4,
                dim_mult=[1] * 5,
                num_res_blocks=1,
                latents_mean=[0.1, -0.2, 0.3, -0.1],
                latents_std=[1.5, 2.0, 1.2, 1.8],
            )
        ),
        text_encoder=build_qwen3_encoder(weights, processor.tokenizer, 2),
        processor=processor,
        transformer=weights.build(
            lambda: QwenImage21Transformer2DModel(
                in_channels=4,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                context_in_dim=HIDDEN,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    )


def build_z_image_omni() -> Any:
    """Build Z-Image Omni, which looks at pictures with SigLIP 2 and draws from a prompt alone."""
    from diffusers import ZImageOmniPipeline, ZImageTransformer2DModel
    from transformers import Siglip2ImageProcessor, Siglip2VisionConfig, Siglip2VisionModel

    weights, parts = random_weights(), build_z_image().components
    config = dict(parts["transformer"].config) | {"siglip_feat_dim": HIDDEN}
    config.pop("_use_default_values", None)  # names fields that from_config would set back
    siglip = Siglip2VisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_patches=16,
        patch_size=4,
    )
    made = {
        "transformer": weights.build(lambda: ZImageTransformer2DModel.from_config(config)),
        "siglip": weights.build(lambda: Siglip2VisionModel(siglip)),
        "siglip_processor": Siglip2ImageProcessor(patch_size=4, max_num_patches=16),
    }
    return ZImageOmniPipeline(**parts | made)


def build_qwen_image_edit(name: str = "QwenImageEditPipeline") -> Any:
    """Build Qwen-Image-Edit: its text encoder sees the picture too.

    It scales the picture to a million pixels whatever size is drawn, so its VAE has a factor of
    16, unlike Qwen-Image's, and its denoiser 1024 tokens of it.

    Args:
        name: Class name of the pipeline.
    """
    import diffusers
    from transformers import (
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    weights, parts = random_weights(), build_qwen_image().components
    tokenizer = build_vision_tokenizer()
    config = parts["text_encoder"].config
    config.text_config.vocab_size = len(tokenizer)
    for field, token in _token_ids(tokenizer).items():
        setattr(config, field, token)
    made = {
        "vae": build_qwen_image_vae(
            weights, mean=[0.1, -0.2, 0.3, -0.1], deviation=[1.5, 2.0, 1.2, 1.8], halvings=4
        ),
        "text_encoder": weights.build(lambda: Qwen2_5_VLForConditionalGeneration(config)),
        "tokenizer": tokenizer,
        "processor": Qwen2VLProcessor(
            image_processor=Qwen2VLImageProcessor(**_FEW_PIXELS),
            tokenizer=tokenizer,
            video_processor=Qwen2VLVideoProcessor(),
            chat_template=_CHAT_TEMPLATE,
        ),
    }
    return getattr(diffusers, name)(**parts | made)


def build_glm_image() -> Any:
    """Build GLM-Image: an autoregressive model plans the picture, a diffusion transformer draws it.

    The plan of a smaller picture comes before that of the picture, 256 tokens whatever the size.
    """
    from diffusers import GlmImagePipeline, GlmImageTransformer2DModel
    from transformers import (
        GlmImageConfig,
        GlmImageForConditionalGeneration,
        GlmImageImageProcessor,
        GlmImageProcessor,
    )

    weights, codes = random_weights(), 128  # more than the tokenizer has, which come after them
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=build_chat_tokenizer(2048).backend_tokenizer,
        model_max_length=2048,
        padding_side="left",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        bos_token="<|begin|>",
        extra_special_tokens={
            "image_token": "<|image|>",
            "grid_bos_token": "<sop>",
            "grid_eos_token": "<eop>",
        },
        model_input_names=["input_ids", "attention_mask"],
    )
    start, end = codes, codes + 1
    text = {
        **SHAPE,
        "vocab_size": codes + 2,
        "vision_vocab_size": codes,  # so that random weights do not end the plan early
        "eos_token_id": end,
        "num_hidden_layers": 2,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [1, 1, 2],
        },
    }
    config = GlmImageConfig(
        text_config=text,
        vision_config={
            "depth": 1,
            "hidden_size": HIDDEN,
            "num_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "intermediate_size": HIDDEN,
        },
        vq_config={"embed_dim": HIDDEN, "num_embeddings": codes, "latent_channels": HIDDEN},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image|>"),
        image_start_token_id=start,
        image_end_token_id=end,
    )
    return GlmImagePipeline(
        tokenizer=build_t5_tokenizer(64),
        processor=GlmImageProcessor(
            image_processor=GlmImageImageProcessor(),
            tokenizer=tokenizer,
            chat_template=_CHAT_TEMPLATE,
        ),
        text_encoder=weights.build(lambda: T5EncoderModel(t5_config(HIDDEN))),
        vision_language_encoder=weights.build(lambda: GlmImageForConditionalGeneration(config)),
        vae=weights.build(
            lambda: make_vae(
                block_out_channels=(8,) * 4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
            )
        ),
        transformer=weights.build(
            lambda: GlmImageTransformer2DModel(
                in_channels=4,
                out_channels=4,
                num_layers=1,
                attention_head_dim=8,
                num_attention_heads=2,
                text_embed_dim=HIDDEN,
                time_embed_dim=16,
                condition_dim=8,
                prior_vq_quantizer_codebook_size=codes,
            )
        ),
        scheduler=flow_scheduler(),
    )


def build_nucleus() -> Any:
    """Build Nucleus-Image: experts in the denoiser, Qwen 3 for the text, Qwen-Image's VAE."""
    from diffusers import NucleusMoEImagePipeline, NucleusMoEImageTransformer2DModel

    weights, processor = random_weights(), build_qwen3_processor()
    return NucleusMoEImagePipeline(
        transformer=weights.build(
            lambda: NucleusMoEImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=5,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=HIDDEN,
                axes_dims_rope=(4, 6, 6),
                num_experts=4,
                capacity_factors=2.0,
                moe_intermediate_dim=16,
            )
        ),
        vae=build_qwen_image_vae(weights, mean=[0.0] * 4, deviation=[1.0] * 4),
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        text_encoder=build_qwen3_encoder(weights, processor.tokenizer, 8),
        processor=processor,
    )


def build_prx() -> Any:
    """Build PRX: T5Gemma's encoder, prompts cleaned by ftfy, sizes in bins of 256 pixels."""
    from diffusers import PRXPipeline, PRXTransformer2DModel
    from transformers.models.t5gemma.configuration_t5gemma import T5GemmaConfig, T5GemmaModuleConfig
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

    weights = random_weights()
    module = T5GemmaModuleConfig(
        **SHAPE, num_hidden_layers=2, query_pre_attn_scalar=8, sliding_window=64
    )
    named = ("model_type", "transformers_version", "is_encoder_decoder")
    own = {name: value for name, value in module.to_dict().items() if name not in named}
    config = T5GemmaConfig(**own, encoder=module, decoder=module, is_encoder_decoder=False)
    return PRXPipeline(
        transformer=weights.build(
            lambda: PRXTransformer2DModel(
                patch_size=2,
                in_channels=4,
                context_in_dim=HIDDEN,
                hidden_size=16,
                mlp_ratio=2.0,
                num_heads=2,
                depth=1,
                axes_dim=[4, 4],
            )
        ),
        scheduler=flow_scheduler(),
        text_encoder=weights.build(lambda: T5GemmaEncoder(config)),
        tokenizer=build_chat_tokenizer(64),
        vae=weights.build(
            lambda: make_vae(block_out_channels=(8,) * 4, scaling_factor=0.36, shift_factor=0.11)
        ),
        default_sample_size=256,
    )


def _token_ids(tokenizer: Any) -> dict[str, int]:
    """Name the tokens as configurations of Qwen's vision-language models do."""
    names = ("image", "video", "vision_start", "vision_end")
    tokens = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    return {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in zip(names, tokens, strict=True)
    }
