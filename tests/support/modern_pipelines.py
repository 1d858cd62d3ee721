"""Pipelines of 2024 to 2026 with random weights, small enough that an image takes a moment.

Each has a text encoder of its family with characters for tokens, and makes 32 x 32 pixels where
it is asked for them.
"""

from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ChromaPipeline,
    ChromaTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
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
    Gemma2Config,
    Gemma2Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5EncoderModel,
)

from evidence.random_pipelines.tokenizers import T5_VOCAB_SIZE, build_t5_tokenizer
from sdperf.models.known_warnings import known_warnings_ignored
from tests.support.tiny_pipelines import make_vae, random_weights, t5_config

HIDDEN = 16
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)
SHAPE = {
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


def build_tokenizer(max_length=64):
    tokenizer = build_t5_tokenizer(max_length)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def flow_scheduler(**more):
    return FlowMatchEulerDiscreteScheduler(shift=3.0, **more)


def build_z_image():
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
        tokenizer=build_tokenizer(),
        scheduler=flow_scheduler(),
    )


def build_flux2_klein(*, is_distilled=True):
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
        vae=weights.build(
            lambda: AutoencoderKLFlux2(
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                block_out_channels=(8, 8),
                layers_per_block=1,
                latent_channels=4,
                norm_num_groups=2,
                sample_size=32,
            )
        ),
        text_encoder=weights.build(
            lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, num_hidden_layers=28))
        ),
        tokenizer=build_tokenizer(),
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        is_distilled=is_distilled,
    )


def build_qwen_image():
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
        vae=weights.build(
            lambda: AutoencoderKLQwenImage(
                base_dim=8,
                z_dim=4,
                dim_mult=[1, 2],
                num_res_blocks=1,
                temperal_downsample=[False],
                latents_mean=[0.1, -0.2, 0.3, -0.1],
                latents_std=[1.5, 2.0, 1.2, 1.8],
            )
        ),
        text_encoder=weights.build(
            lambda: Qwen2_5_VLForConditionalGeneration(
                # Published models name the token; transformers 4.56 has no default of it.
                Qwen2_5_VLConfig(
                    text_config=text, vision_config=vision, vision_start_token_id=151652
                )
            )
        ),
        tokenizer=build_tokenizer(),
        scheduler=flow_scheduler(use_dynamic_shifting=True),
    )


def build_chroma():
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


def build_gemma(weights):
    return weights.build(
        lambda: Gemma2Model(
            Gemma2Config(**SHAPE, num_hidden_layers=2, query_pre_attn_scalar=8, sliding_window=64)
        )
    )


def build_lumina2():
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
        tokenizer=build_tokenizer(),
        scheduler=flow_scheduler(),
    )


MODERN_BUILDERS = {
    "z-image": build_z_image,
    "flux2-klein": build_flux2_klein,
    "qwen-image": build_qwen_image,
    "chroma": build_chroma,
    "lumina2": build_lumina2,
}
