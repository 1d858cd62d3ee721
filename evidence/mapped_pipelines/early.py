"""Pipelines of 2022 to 2024 that no family of sdperf covers, tiny and with random weights."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderDC,
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanDiT2DModel,
    HunyuanDiTPipeline,
    IFPipeline,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    UNet2DConditionModel,
    VQModel,
)
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from evidence.mapped_pipelines.parts import (
    HIDDEN,
    NOISE_SCHEDULE,
    TOKENS,
    build_gemma,
    make_unet,
    make_vae,
    random_weights,
    t5_config,
)
from evidence.random_pipelines.tokenizers import (
    T5_VOCAB_SIZE,
    build_chat_tokenizer,
    build_t5_tokenizer,
)


def build_lcm() -> Any:
    """Stable Diffusion with an embedded guidance scale and a consistency scheduler."""
    from evidence.mapped_pipelines.families import build_sd

    weights, plain = random_weights(), build_sd()
    parts = plain.components | {
        "unet": weights.build(
            partial(
                make_unet,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                cross_attention_dim=HIDDEN,
                time_cond_proj_dim=32,
            )
        ),
        "scheduler": LCMScheduler(**NOISE_SCHEDULE),
    }
    return LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)


def build_if() -> Any:
    """DeepFloyd's first stage: pixels without a decoder."""
    weights = random_weights()
    return IFPipeline(
        tokenizer=build_t5_tokenizer(TOKENS),
        text_encoder=weights.build(lambda: T5EncoderModel(t5_config(HIDDEN))),
        unet=weights.build(
            lambda: UNet2DConditionModel(
                sample_size=32,
                layers_per_block=1,
                block_out_channels=(32, 64),
                down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
                mid_block_type="UNetMidBlock2DSimpleCrossAttn",
                up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
                in_channels=3,
                out_channels=6,
                cross_attention_dim=32,
                encoder_hid_dim=HIDDEN,
                attention_head_dim=8,
                addition_embed_type="text",
                addition_embed_type_num_heads=2,
                cross_attention_norm="group_norm",
                resnet_time_scale_shift="scale_shift",
                act_fn="gelu",
            )
        ),
        scheduler=DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True
        ),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def build_kandinsky3() -> Any:
    """Kandinsky 3: a decoder that is called ``movq``."""
    weights = random_weights()
    return Kandinsky3Pipeline(
        tokenizer=build_t5_tokenizer(128),
        text_encoder=weights.build(lambda: T5EncoderModel(t5_config(32))),
        unet=weights.build(
            lambda: Kandinsky3UNet(
                in_channels=4,
                time_embedding_dim=4,
                groups=2,
                attention_head_dim=4,
                layers_per_block=3,
                block_out_channels=(32, 64),
                cross_attention_dim=4,
                encoder_hid_dim=32,
            )
        ),
        scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=True),
        movq=weights.build(
            lambda: VQModel(
                block_out_channels=(32, 64),
                down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
                up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
                latent_channels=4,
                num_vq_embeddings=12,
                vq_embed_dim=4,
                norm_type="spatial",
                norm_num_groups=8,
                layers_per_block=1,
            )
        ),
    )


def build_pixart(kind: type) -> Any:
    """PixArt-alpha or sigma: sizes are rounded to bins of 256 pixels and up."""
    weights = random_weights()
    return kind(
        tokenizer=build_t5_tokenizer(TOKENS),
        text_encoder=weights.build(lambda: T5EncoderModel(t5_config(32))),
        vae=weights.build(lambda: make_vae(block_out_channels=(8,) * 4, scaling_factor=0.18215)),
        transformer=weights.build(
            lambda: PixArtTransformer2DModel(
                sample_size=32,
                num_layers=2,
                patch_size=2,
                attention_head_dim=8,
                num_attention_heads=3,
                caption_channels=32,
                in_channels=4,
                cross_attention_dim=24,
                out_channels=8,
                norm_type="ada_norm_single",
                use_additional_conditions=False,
            )
        ),
        scheduler=DPMSolverMultistepScheduler(),
    )


def build_sana(kind: type = SanaPipeline, **more: Any) -> Any:
    """Sana: linear attention, a decoder of factor 32, sizes in bins of 512 pixels and up."""
    weights = random_weights()
    blocks = 6
    return kind(
        tokenizer=build_chat_tokenizer(300),
        text_encoder=build_gemma(weights),
        vae=weights.build(
            lambda: AutoencoderDC(
                in_channels=3,
                latent_channels=4,
                attention_head_dim=2,
                encoder_block_types=("ResBlock",) * blocks,
                decoder_block_types=("ResBlock",) * blocks,
                encoder_block_out_channels=(4,) * blocks,
                decoder_block_out_channels=(4,) * blocks,
                encoder_qkv_multiscales=((),) * blocks,
                decoder_qkv_multiscales=((),) * blocks,
                encoder_layers_per_block=(1,) * blocks,
                decoder_layers_per_block=(1,) * blocks,
                downsample_block_type="conv",
                upsample_block_type="interpolate",
                decoder_norm_types="rms_norm",
                decoder_act_fns="silu",
                scaling_factor=0.41407,
            )
        ),
        transformer=weights.build(
            lambda: SanaTransformer2DModel(
                patch_size=1,
                in_channels=4,
                out_channels=4,
                num_layers=1,
                num_attention_heads=2,
                attention_head_dim=4,
                num_cross_attention_heads=2,
                cross_attention_head_dim=4,
                cross_attention_dim=8,
                caption_channels=HIDDEN,
                sample_size=16,
            )
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        **more,
    )


def build_bert_tokenizer() -> Any:
    """BERT's word pieces from a vocabulary of single characters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{one}" for one in letters),
    ]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "vocab.txt"
        path.write_text("\n".join(words), encoding="utf-8")
        return BertTokenizer(str(path), model_max_length=77)


def build_hunyuan(kind: type = HunyuanDiTPipeline, **more: Any) -> Any:
    """Hunyuan-DiT: two text encoders, sizes in bins of 1024 pixels and up."""
    weights = random_weights()
    return kind(
        vae=weights.build(lambda: make_vae(block_out_channels=(4,) * 4, scaling_factor=0.13025)),
        text_encoder=weights.build(
            lambda: BertModel(
                BertConfig(
                    vocab_size=80,
                    hidden_size=32,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    intermediate_size=32,
                )
            )
        ),
        tokenizer=build_bert_tokenizer(),
        transformer=weights.build(
            lambda: HunyuanDiT2DModel(
                sample_size=16,
                num_layers=2,
                patch_size=2,
                attention_head_dim=8,
                num_attention_heads=3,
                in_channels=4,
                cross_attention_dim=32,
                cross_attention_dim_t5=32,
                pooled_projection_dim=16,
                hidden_size=24,
                activation_fn="gelu-approximate",
            )
        ),
        scheduler=DDPMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        text_encoder_2=weights.build(lambda: T5EncoderModel(t5_config(32))),
        tokenizer_2=build_t5_tokenizer(256),
        **more,
    )


def build_aura_flow() -> Any:
    """AuraFlow: one T5 encoder, flow matching."""
    weights = random_weights()
    return AuraFlowPipeline(
        tokenizer=build_t5_tokenizer(TOKENS),
        text_encoder=weights.build(
            lambda: UMT5EncoderModel(
                UMT5Config(
                    vocab_size=T5_VOCAB_SIZE, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=2
                )
            )
        ),
        vae=weights.build(lambda: make_vae(scaling_factor=0.13025)),
        transformer=weights.build(
            lambda: AuraFlowTransformer2DModel(
                sample_size=32,
                patch_size=2,
                in_channels=4,
                num_mmdit_layers=1,
                num_single_dit_layers=1,
                attention_head_dim=8,
                num_attention_heads=4,
                caption_projection_dim=32,
                joint_attention_dim=32,
                out_channels=4,
                pos_embed_max_size=256,
            )
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def build_lumina() -> Any:
    """Lumina-Next: Gemma for the text."""
    weights = random_weights()
    return LuminaPipeline(
        transformer=weights.build(
            lambda: LuminaNextDiT2DModel(
                sample_size=8,
                patch_size=2,
                in_channels=4,
                hidden_size=32,
                num_layers=2,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                norm_eps=1e-5,
                learn_sigma=True,
                qk_norm=True,
                cross_attention_dim=HIDDEN,
                scaling_factor=1.0,
            )
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=weights.build(lambda: make_vae(scaling_factor=0.13025)),
        text_encoder=build_gemma(weights),
        tokenizer=build_chat_tokenizer(256),
    )


def build_cogview3() -> Any:
    """CogView 3 Plus: a diffusion scheduler made for video."""
    weights = random_weights()
    return CogView3PlusPipeline(
        tokenizer=build_t5_tokenizer(224),
        text_encoder=weights.build(lambda: T5EncoderModel(t5_config(32))),
        vae=weights.build(lambda: make_vae(scaling_factor=0.18215)),
        transformer=weights.build(
            lambda: CogView3PlusTransformer2DModel(
                patch_size=2,
                in_channels=4,
                num_layers=1,
                attention_head_dim=4,
                num_attention_heads=2,
                out_channels=4,
                text_embed_dim=32,
                time_embed_dim=8,
                condition_dim=2,
                pos_embed_max_size=8,
                sample_size=8,
            )
        ),
        scheduler=CogVideoXDDIMScheduler(),
    )
