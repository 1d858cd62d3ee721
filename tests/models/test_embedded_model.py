"""The shipped weights themselves: what is in the folder, and whether it draws what it is asked for.

Training on a GPU isn't reproducible to the bit, so retraining is tested elsewhere, on toy data.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors import safe_open
from transformers import CLIPTextModel, CLIPTokenizer

import sdperf.models
from evidence.train_embedded_model.export import MAX_BYTES, TEXT_PREFIX
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.loader import resolve_model
from sdperf.models.presets import EMBEDDED_PRESET

FOLDER = Path(sdperf.models.__file__).parent / "embedded"
RECORD = json.loads(
    (Path(__file__).parents[2] / "docs/results/embedded-model-training.json").read_text("utf-8")
)
NOT_THE_MODELS = ("README.md", "references")


def model_files():
    """Relative paths of what belongs to the diffusers pipeline."""
    return sorted(
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.relative_to(FOLDER).parts[0] not in NOT_THE_MODELS
    )


def is_mostly_red(picture):
    """Whether there is something on white, and at least three quarters of it are red.

    Args:
        picture: (H, W, 3) uint8 RGB.
    """
    levels = picture.astype(int)
    drawn = levels.min(-1) < 200
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    is_red = (red > green + 40) & (red > blue + 40)
    return 0.2 < drawn.mean() < 0.9 and is_red[drawn].mean() > 0.75


@pytest.fixture(scope="module")
def pipeline():
    # Unless told otherwise, diffusers makes its parts float32 while transformers 5 leaves the text
    # encoder in float16.
    with known_warnings_ignored():
        pipeline = StableDiffusionPipeline.from_pretrained(str(FOLDER))
    pipeline.to(torch.float32, silence_dtype_warnings=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def draw(pipeline):
    def draw(prompt, seed=0):
        generator = torch.Generator().manual_seed(seed)
        with known_warnings_ignored():
            output = pipeline(
                prompt,
                num_inference_steps=8,
                guidance_scale=EMBEDDED_PRESET.guidance_scale,
                generator=generator,
                output_type="np",
            )
        return (output.images[0] * 255).round().astype(np.uint8)

    return draw


@pytest.fixture(scope="module")
def apple(draw):
    return draw("red apple")


# The folder


def test_it_is_the_model_whose_training_is_recorded():
    digests = {
        name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in model_files()
    }
    changed = {name: change["sha256"] for name, change in RECORD["changed_since"].items()}
    assert digests == RECORD["sha256"] | changed


def test_it_is_small():
    size_bytes = sum((FOLDER / name).stat().st_size for name in model_files())
    assert size_bytes == RECORD["size_bytes"]
    assert size_bytes <= MAX_BYTES == 12_500_000


def test_its_weights_are_float16_safetensors_and_nothing_else():
    assert {Path(name).suffix for name in model_files()} == {".json", ".safetensors", ".txt"}
    for name in model_files():
        if name.endswith(".safetensors"):
            with safe_open(FOLDER / name, framework="pt") as file:
                assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118


def test_its_text_encoders_tensors_are_named_as_every_transformers_reads_them():
    with safe_open(FOLDER / "text_encoder/model.safetensors", framework="pt") as file:
        assert all(name.startswith(TEXT_PREFIX) for name in file.keys())  # noqa: SIM118


def test_the_card_and_the_references_are_no_part_of_the_models_hash():
    assert sorted(resolve_model("embedded").files) == model_files()


# The pipeline


def test_it_is_made_of_the_usual_parts(pipeline):
    expected = {
        "tokenizer": CLIPTokenizer,
        "text_encoder": CLIPTextModel,
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "scheduler": DPMSolverMultistepScheduler,
        "safety_checker": type(None),
        "feature_extractor": type(None),
    }
    for name, kind in expected.items():
        assert type(getattr(pipeline, name)) is kind, name


def test_a_scheduler_that_would_clip_latents_is_told_not_to(pipeline):
    config = pipeline.scheduler.config
    assert config.prediction_type == "v_prediction"
    assert config.timestep_spacing == "trailing"
    assert not DDIMScheduler.from_config(config).config.clip_sample


@pytest.mark.parametrize(
    "text", ["red apple", "smiling face with sunglasses", "crème brûlée", "日本 🍎"]
)
def test_text_survives_the_tokenizer(pipeline, text):
    tokenizer = pipeline.tokenizer
    ids = tokenizer(text).input_ids
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1)
    restored = tokenizer.decode(ids, skip_special_tokens=True)
    assert restored.replace(" ", "") == text.replace(" ", "")
    assert len(tokenizer) == pipeline.text_encoder.config.vocab_size


def test_prompts_that_are_too_long_are_cut(pipeline):
    ids = pipeline.tokenizer("apple " * 99, truncation=True).input_ids
    assert len(ids) == pipeline.text_encoder.config.max_position_embeddings == 32


# The pictures


def test_a_red_apple_is_red(apple):
    assert apple.shape == (128, 128, 3)
    assert is_mostly_red(apple)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_is_not(level):
    assert not is_mostly_red(np.full((128, 128, 3), level, np.uint8))


def test_noise_other_colours_and_a_red_frame_are_not(apple):
    rng = np.random.default_rng(0)
    assert not is_mostly_red(rng.integers(0, 256, apple.shape, np.uint8))
    assert not is_mostly_red(apple[..., ::-1])
    assert not is_mostly_red(np.full_like(apple, (230, 30, 30)))  # red, but nothing drawn on white


def test_another_prompt_is_not(draw):
    assert not is_mostly_red(draw("blue apple"))


def read_pictures():
    """The shipped reference pictures as (B, 3, H, W) float in [-1, 1]."""
    arrays = [np.array(Image.open(path).convert("RGB")) for path in FOLDER.rglob("*.png")]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_latents_have_about_unit_variance_and_keep_the_picture(pipeline):
    pictures = read_pictures()
    with torch.no_grad():
        latents = pipeline.vae.encode(pictures).latent_dist.mean
        restored = pipeline.vae.decode(latents).sample.clamp(-1, 1)
    assert pipeline.vae.config.scaling_factor == 1.0
    assert ((latents.var((0, 2, 3)) > 0.5) & (latents.var((0, 2, 3)) < 2)).all()
    assert (latents.mean((0, 2, 3)).abs() < 0.5).all()
    psnr_db = 10 * torch.log10(4 / (restored - pictures).square().mean((1, 2, 3)))
    assert (psnr_db > 25).all()
