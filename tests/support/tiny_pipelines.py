"""Pipelines of real families, small enough that a step takes milliseconds; random weights.

Each has a VAE of factor 4 and makes 32 x 32 pixels unasked, in folders of less than 2 MB.
"""

from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from evidence.random_pipelines.tokenizers import (
    CLIP_END_ID,
    CLIP_START_ID,
    CLIP_VOCAB_SIZE,
    T5_VOCAB_SIZE,
    build_clip_tokenizer,
    build_t5_tokenizer,
)
from evidence.random_pipelines.weights import RandomWeights
from sdperf.models.loader import ResolvedModel, load_pipeline, resolve_model

TOKENS = 24
NOISE_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def random_weights():
    return RandomWeights(seed=1, dtype=torch.float32, device="cpu")


def clip_config(hidden_size=16):
    return CLIPTextConfig(
        vocab_size=CLIP_VOCAB_SIZE,
        hidden_size=hidden_size,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=hidden_size,
        bos_token_id=CLIP_START_ID,
        eos_token_id=CLIP_END_ID,
        pad_token_id=CLIP_END_ID,
    )


def t5_config(d_model):
    return T5Config(
        vocab_size=T5_VOCAB_SIZE, d_model=d_model, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )


def make_vae(**overrides):
    channels = overrides.pop("block_out_channels", (8, 8, 16))
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
        **{"latent_channels": 4, **overrides},
    )


def make_unet(**overrides):
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        **overrides,
    )


def build_sd():
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


def build_sdxl(*, force_upcast=True, **vae):
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


def build_sd3(*, with_t5=True):
    weights = random_weights()
    return StableDiffusion3Pipeline(
        transformer=weights.build(
            lambda: SD3Transformer2DModel(
                sample_size=8,
                patch_size=1,
                in_channels=4,
                out_channels=4,
                num_layers=1,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=16 + 24,
                caption_projection_dim=16,
                pooled_projection_dim=16 + 24,
                pos_embed_max_size=16,
            )
        ),
        vae=weights.build(partial(make_vae, scaling_factor=1.5, shift_factor=0.06)),
        text_encoder=weights.build(lambda: CLIPTextModelWithProjection(clip_config())),
        text_encoder_2=weights.build(lambda: CLIPTextModelWithProjection(clip_config(24))),
        text_encoder_3=weights.build(lambda: T5EncoderModel(t5_config(40))) if with_t5 else None,
        tokenizer=build_clip_tokenizer(TOKENS),
        tokenizer_2=build_clip_tokenizer(TOKENS),
        tokenizer_3=build_t5_tokenizer(TOKENS) if with_t5 else None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def build_flux():
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


BUILDERS = {
    "sd": build_sd,
    "sdxl": build_sdxl,
    "sd3": build_sd3,
    "sd3-without-t5": partial(build_sd3, with_t5=False),
    "flux": build_flux,
}


def save(pipeline, folder: Path) -> Path:
    """Save without the progress bar that transformers writes."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        pipeline.save_pretrained(folder)
    finally:
        logging.enable_progress_bar()
    return folder


def load(folder: Path, torch_dtype=torch.float32):
    return load_pipeline(resolve(folder), torch_dtype=torch_dtype, device="cpu")


def resolve(folder: Path) -> ResolvedModel:
    return resolve_model(str(folder), cache_dir=folder.parent / "hashes")


class TinyFolders:
    """Saves each pipeline once, when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str) -> Path:
        folder = self._root / name
        if folder.exists():
            return folder
        if name in BUILDERS:
            return save(BUILDERS[name](), folder)
        from tests.support.modern_pipelines import MODERN_BUILDERS  # it builds on this module

        return save(MODERN_BUILDERS[name](), folder)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> TinyFolders:
    return TinyFolders(tmp_path_factory.mktemp("tiny"))
