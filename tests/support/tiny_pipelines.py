"""Folders of tiny pipelines, saved once, and how tests load them."""

import copy
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel

from evidence.mapped_pipelines.families import FAMILIES
from evidence.mapped_pipelines.newest import NEWEST
from evidence.mapped_pipelines.parts import (
    HIDDEN,
    NOISE_SCHEDULE,
    TOKENS,
    clip_config,
    make_vae,
    random_weights,
)
from evidence.mapped_pipelines.recent import RECENT
from evidence.random_pipelines.tokenizers import build_clip_tokenizer
from sdperf.models.loader import ResolvedModel, load_pipeline, prepare_pipeline, resolve_model
from tests.support.newer_classes import skip_where_diffusers_is_older


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


@cache
def _load_once(folder: Path, torch_dtype):
    return load(folder, torch_dtype)


def duplicate(pipeline):
    """Copy a pipeline: loading it takes three times as long. Its tokenizers are shared."""
    copied = (torch.nn.Module, SchedulerMixin)
    shared = [one for one in pipeline.components.values() if not isinstance(one, copied)]
    return prepare_pipeline(copy.deepcopy(pipeline, {id(one): one for one in shared}))


def take(folder: Path, torch_dtype=torch.float32):
    """Copy a pipeline that is loaded once."""
    return duplicate(_load_once(folder, torch_dtype))


def resolve(folder: Path) -> ResolvedModel:
    return resolve_model(str(folder), cache_dir=folder.parent / "hashes")


def build_smallest_sd():
    """Build a Stable Diffusion 1.x for what is not about its network: a third of the time of `sd`.

    Its UNet has one level, so that nothing can be left out between two.
    """
    weights = random_weights()
    unet = partial(
        UNet2DConditionModel,
        sample_size=8,
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=HIDDEN,
        down_block_types=("CrossAttnDownBlock2D",),
        mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D",),
    )
    text = clip_config()
    text.num_hidden_layers = 1
    return StableDiffusionPipeline(
        unet=weights.build(unet),
        vae=weights.build(partial(make_vae, scaling_factor=0.18215)),
        text_encoder=weights.build(lambda: CLIPTextModel(text)),
        tokenizer=build_clip_tokenizer(TOKENS),
        scheduler=DDIMScheduler(**NOISE_SCHEDULE, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


SMALLEST = {"smallest-sd": build_smallest_sd}


class TinyFolders:
    """Saves each pipeline once, when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str) -> Path:
        folder = self._root / name
        if folder.exists():
            return folder
        skip_where_diffusers_is_older(name)
        return save({**FAMILIES, **RECENT, **NEWEST, **SMALLEST}[name](), folder)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> TinyFolders:
    return TinyFolders(tmp_path_factory.mktemp("tiny"))


def open_as(folder: Path, pipeline_class: str | None) -> ResolvedModel:
    """Resolve a folder as another class of diffusers than it names."""
    return resolve_model(
        str(folder), cache_dir=folder.parent / "hashes", pipeline_class=pipeline_class
    )
