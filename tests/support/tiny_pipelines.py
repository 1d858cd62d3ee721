"""Folders of tiny pipelines, saved once, and how tests load them."""

from pathlib import Path

import pytest
import torch

from evidence.mapped_pipelines.families import FAMILIES
from evidence.mapped_pipelines.newest import NEWEST
from evidence.mapped_pipelines.recent import RECENT
from sdperf.models.loader import ResolvedModel, load_pipeline, resolve_model
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
        skip_where_diffusers_is_older(name)
        return save({**FAMILIES, **RECENT, **NEWEST}[name](), folder)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> TinyFolders:
    return TinyFolders(tmp_path_factory.mktemp("tiny"))


def open_as(folder: Path, pipeline_class: str | None) -> ResolvedModel:
    """Resolve a folder as another class of diffusers than it names."""
    return resolve_model(
        str(folder), cache_dir=folder.parent / "hashes", pipeline_class=pipeline_class
    )
