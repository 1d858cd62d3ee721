"""A LoRA beside a model: checked as its own weights are, loaded by diffusers, fused if asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdperf.errors import ConfigurationError, ModelError
from sdperf.models.hashing import compute_file_hashes
from sdperf.models.headers import check_safetensors
from sdperf.record.workload import LoraUse
from sdperf.settings import LORA
from sdperf.settings.kinds import split_loras


@dataclass(frozen=True)
class LoraFile:
    """A LoRA that was found and checked; it can be sent to a worker.

    Attributes:
        path: The file, absolute.
        use: What of it stands in the record.
    """

    path: Path
    use: LoraUse


def find_loras(text: str, cache_dir: Path | None) -> tuple[LoraFile, ...]:
    """Find and check LoRAs without torch.

    Args:
        text: As it is typed: ``FILE[:SCALE][:fused]``, a comma list.
        cache_dir: Where file hashes are remembered; ``None`` remembers none.

    Raises:
        ConfigurationError: There is no such file, or the package that diffusers needs is absent.
        ModelError: A file is damaged.
        OSError: A file cannot be read.
    """
    found = []
    for name, scale, is_fused in split_loras(text):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise ConfigurationError(f"{LORA} names no file", got=str(path))
        check_safetensors(path, f"the LoRA {path.name}")
        (digest,) = compute_file_hashes([path], cache_dir)
        found.append(LoraFile(path, LoraUse(path.name, digest, scale, is_fused)))
    if found and importlib.util.find_spec("peft") is None:
        raise ConfigurationError(
            "diffusers loads a LoRA by another package, which is not installed",
            got="no peft",
            hint="pip install 'sdperf[lora]'",
        )
    return tuple(found)


def load_loras(pipeline: Any, loras: Sequence[LoraFile]) -> None:
    """Load LoRAs into a pipeline, at their scales; those that are to be fused leave no layer.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`, changed in place.
        loras: Checked files.

    Raises:
        ModelError: The pipeline cannot take one of them, or one changes nothing in it.
    """
    load: Any = getattr(pipeline, "load_lora_weights", None)
    if loras and load is None:
        raise ModelError("this pipeline takes no LoRA", got=type(pipeline).__name__)
    names = [f"sdperf_{number}" for number in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        try:
            load(
                str(lora.path.parent), weight_name=lora.path.name, adapter_name=name,
                use_safetensors=True, local_files_only=True,
            )  # fmt: skip
        except Exception as error:
            raise ModelError(
                f"the LoRA {lora.path.name} cannot be loaded into a {type(pipeline).__name__}",
                got=f"{type(error).__name__}: {error}",
                expected="a LoRA that was trained for this model",
            ) from error
        if name not in {one for active in pipeline.get_list_adapters().values() for one in active}:
            raise ModelError(
                f"the LoRA {lora.path.name} changes nothing in a {type(pipeline).__name__}",
                got="no weights for a layer of it",
                expected="a LoRA that was trained for this model",
            )
    fused = [(name, one) for name, one in zip(names, loras, strict=True) if one.use.is_fused]
    if fused:
        pipeline.set_adapters([name for name, _ in fused], [one.use.scale for _, one in fused])
        pipeline.fuse_lora(adapter_names=[name for name, _ in fused])
        pipeline.delete_adapters([name for name, _ in fused])
    kept = [(name, one) for name, one in zip(names, loras, strict=True) if not one.use.is_fused]
    if kept:
        pipeline.set_adapters([name for name, _ in kept], [one.use.scale for _, one in kept])
    elif fused:
        pipeline.unload_lora_weights()
