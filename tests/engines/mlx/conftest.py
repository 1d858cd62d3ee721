from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evidence.mapped_pipelines import parts
from sdperf.engines.cache import EngineCache
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import EngineRequest
from sdperf.models.loader import load_pipeline, resolve_model
from tests.support.engine_bench import shrink
from tests.support.tiny_pipelines import save, take, tiny_folder

__all__ = ["tiny_folder"]

SMALL_SIDE = 8
"""Of a picture of a smaller network, whose VAE enlarges nothing."""

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Model:
    """A model on disk and its pipelines, cut into parts."""

    def __init__(self, folder, family, size, cache):
        self.resolved = resolve_model(folder, cache_dir=cache / "hashes")
        self.family, self.size, self._cache = family, size, cache

    def load(self, precision="fp32"):
        return load_pipeline(self.resolved, torch_dtype=DTYPES[precision], device="cpu")

    def split(self, precision="fp32"):
        size = {"height": self.size, "width": self.size}
        return split_pipeline(self.load(precision), family=self.family, guided=True, **size)

    def request(self, engine="mlx", precision="fp32", device="cpu"):
        return EngineRequest(
            choice=ENGINES[engine],
            model=self.resolved,
            family=self.family,
            precision=precision,
            device=device,
            height=self.size,
            width=self.size,
            threads=1,
            cache=EngineCache(self._cache / "conversions"),
        )

    def at(self, folder: Path):
        """Return the same model with files that were changed meanwhile."""
        changed = Model(str(self.resolved.folder), self.family, self.size, self._cache)
        changed.resolved = replace(self.resolved, folder=folder)
        return changed


@pytest.fixture(scope="session")
def model(tiny_folder, tmp_path_factory):
    """Find a model by name.

    Smaller ones have one resolution: MLX starts a C++ compiler for each size of a normalisation.
    """
    cache = tmp_path_factory.mktemp("cache")
    smaller = tmp_path_factory.mktemp("smaller")

    def find(name):
        if name == "embedded":
            return Model("embedded", "sd", 64, cache)
        if name.startswith("small-"):
            family = name.removeprefix("small-")
            folder = smaller / family
            if not folder.exists():
                save(shrink(take(tiny_folder(family)), family, torch.float32), folder)
            return Model(str(folder), family, SMALL_SIDE, cache)
        return Model(str(tiny_folder(name)), name, parts.make_vae().config.sample_size, cache)

    return find
