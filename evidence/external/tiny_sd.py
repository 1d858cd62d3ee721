"""A diffusers folder of BK-SDM-Tiny's shape with random weights, which stable-diffusion.cpp loads.

``python -m evidence.external.tiny_sd FOLDER``: 530 million weights in float16, 1 GB.
"""

import sys
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import sdperf

SEED = 0
PREFIX = "text_model."
"""What transformers 5 leaves out of the names of CLIP's weights; published folders have it, and
stable-diffusion.cpp looks for it."""


def make_folder(folder: Path) -> None:
    """Make the folder.

    Args:
        folder: Where; its parent exists.
    """
    torch.manual_seed(SEED)
    unet = UNet2DConditionModel(
        sample_size=32,
        layers_per_block=1,
        block_out_channels=(320, 640, 1280),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        mid_block_type=None,
        cross_attention_dim=768,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=256,
    )
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(4.0)  # or its pictures would be nearly grey
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            hidden_act="quick_gelu",
            projection_dim=768,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
        )
    )
    tokenizer = next(Path(sdperf.__file__).parent.rglob("tokenizer"))
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    path = folder / "text_encoder" / "model.safetensors"
    named = {PREFIX + name.removeprefix(PREFIX): one for name, one in load_file(path).items()}
    save_file(named, path, {"format": "pt"})


if __name__ == "__main__":
    make_folder(Path(sys.argv[1]))
