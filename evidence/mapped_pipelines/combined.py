"""Pipelines made of two, tiny and with random weights: a prior plans, a decoder draws."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDPMScheduler,
    DDPMWuerstchenScheduler,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    VQModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from evidence.mapped_pipelines.parts import (
    HIDDEN,
    TOKENS,
    clip_config,
    make_unet,
    random_weights,
)
from evidence.random_pipelines.tokenizers import (
    T5_VOCAB_SIZE,
    build_clip_tokenizer,
    build_t5_tokenizer,
)
from evidence.random_pipelines.weights import RandomWeights


def build_kandinsky22() -> Any:
    """Build Kandinsky 2.2: the prior plans an embedding of a picture, a UNet draws it."""
    weights = random_weights()
    return KandinskyV22CombinedPipeline(
        unet=weights.build(
            lambda: _make_unet(addition_embed_type="image", encoder_hid_dim_type="image_proj")
        ),
        scheduler=DDPMScheduler(
            beta_schedule="linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
        ),
        movq=weights.build(_make_movq),
        **_build_prior(weights),
    )


def build_kandinsky() -> Any:
    """Build Kandinsky 2.1: as 2.2, but its decoder reads the prompt too, with its own encoder."""
    from diffusers import DDIMScheduler, KandinskyCombinedPipeline
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    weights = random_weights()
    config = MCLIPConfig(
        vocab_size=T5_VOCAB_SIZE,
        transformerDimSize=HIDDEN,
        imageDimSize=HIDDEN,
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN,
        num_attention_heads=2,
        num_hidden_layers=2,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return KandinskyCombinedPipeline(
        text_encoder=weights.build(lambda: MultilingualCLIP(config)),
        tokenizer=build_t5_tokenizer(77),
        unet=weights.build(
            lambda: _make_unet(
                addition_embed_type="text_image",
                encoder_hid_dim_type="text_image_proj",
                addition_embed_type_num_heads=2,
            )
        ),
        scheduler=DDIMScheduler(
            beta_schedule="linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
        ),
        movq=weights.build(_make_movq),
        **_build_prior(weights),
    )


def build_wuerstchen() -> Any:
    """Build Wuerstchen: the prior plans at a forty-second of the size, a decoder fills it in."""
    from diffusers import WuerstchenCombinedPipeline
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_diffnext import (
        WuerstchenDiffNeXt,
    )
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_prior import WuerstchenPrior

    weights = random_weights()

    def text_encoder() -> Any:
        return weights.build(lambda: CLIPTextModel(clip_config()))

    return WuerstchenCombinedPipeline(
        tokenizer=build_clip_tokenizer(TOKENS),
        text_encoder=text_encoder(),
        decoder=weights.build(
            lambda: WuerstchenDiffNeXt(
                c_r=8,
                c_cond=HIDDEN,
                c_hidden=[16],
                nhead=[-1],
                blocks=[1],
                level_config=["CT"],
                inject_effnet=[False],
                clip_embd=HIDDEN,
            )
        ),
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=weights.build(_make_vqgan),
        prior_tokenizer=build_clip_tokenizer(TOKENS),
        prior_text_encoder=text_encoder(),
        prior_prior=weights.build(
            lambda: WuerstchenPrior(c_in=4, c=16, c_cond=HIDDEN, c_r=8, depth=1, nhead=2)
        ),
        prior_scheduler=DDPMWuerstchenScheduler(),
    )


def build_stable_cascade() -> Any:
    """Build Stable Cascade: Wuerstchen's shape, with one kind of network for both parts."""
    from diffusers import StableCascadeCombinedPipeline, StableCascadeUNet

    weights = random_weights()

    def text_encoder() -> Any:
        return weights.build(lambda: CLIPTextModelWithProjection(clip_config()))

    def network(**more: Any) -> Any:
        return weights.build(
            lambda: StableCascadeUNet(
                conditioning_dim=HIDDEN,
                block_out_channels=(HIDDEN,),
                num_attention_heads=(2,),
                down_num_layers_per_block=(1,),
                up_num_layers_per_block=(1,),
                down_blocks_repeat_mappers=(1,),
                up_blocks_repeat_mappers=(1,),
                block_types_per_layer=(
                    ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
                ),
                clip_text_pooled_in_channels=HIDDEN,
                dropout=(0.0,),
                self_attn=True,
                switch_level=(False,),
                **more,
            )
        )

    return StableCascadeCombinedPipeline(
        tokenizer=build_clip_tokenizer(TOKENS),
        text_encoder=text_encoder(),
        decoder=network(
            in_channels=4,
            out_channels=4,
            patch_size=2,
            effnet_in_channels=4,
            timestep_conditioning_type=("sca",),
        ),
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=weights.build(_make_vqgan),
        prior_prior=network(
            in_channels=4,
            out_channels=4,
            clip_text_in_channels=HIDDEN,
            clip_image_in_channels=HIDDEN,
            timestep_conditioning_type=("sca", "crp"),
        ),
        prior_text_encoder=text_encoder(),
        prior_tokenizer=build_clip_tokenizer(TOKENS),
        prior_scheduler=DDPMWuerstchenScheduler(),
    )


def _build_prior(weights: RandomWeights) -> dict[str, Any]:
    """Build what plans a picture's embedding, as both of the older Kandinskys do."""
    vision = CLIPVisionConfig(
        hidden_size=HIDDEN,
        projection_dim=HIDDEN,
        intermediate_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    return {
        "prior_prior": weights.build(
            lambda: PriorTransformer(
                num_attention_heads=2,
                attention_head_dim=8,
                num_layers=1,
                embedding_dim=HIDDEN,
                num_embeddings=TOKENS,
            )
        ),
        "prior_image_encoder": weights.build(lambda: CLIPVisionModelWithProjection(vision)),
        "prior_text_encoder": weights.build(lambda: CLIPTextModelWithProjection(clip_config())),
        "prior_tokenizer": build_clip_tokenizer(TOKENS),
        "prior_scheduler": UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample=True
        ),
        "prior_image_processor": CLIPImageProcessor(),
    }


def _make_unet(**more: Any) -> Any:
    return make_unet(
        in_channels=4,
        out_channels=8,
        encoder_hid_dim=HIDDEN,
        cross_attention_dim=HIDDEN,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        resnet_time_scale_shift="scale_shift",
        **more,
    )


def _make_movq() -> VQModel:
    return VQModel(
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


def _make_vqgan() -> Any:
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

    return PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=2, embed_dim=16)
