"""A LoRA beside a model: checked like the model, loaded by diffusers, fused on request."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdperf.errors import ConfigurationError, ModelError
from sdperf.models.added.patterns import LONGEST_NAME, find_costly_pattern, find_odd_name
from sdperf.models.added.ranks import find_excessive_rank, find_largest_rank
from sdperf.models.hashing import compute_file_hashes
from sdperf.models.headers import (
    check_safetensors,
    read_metadata,
    read_tensor_names,
    read_tensor_shapes,
)
from sdperf.models.layout import parse_json_object
from sdperf.record.workload import LoraUse
from sdperf.settings import LORA, SUBJECT
from sdperf.settings.kinds import split_loras

_EXPECTED: Final = "a LoRA that was trained for this model"
_MATRIX: Final = re.compile(r"[._]lora(_|\.)(A|B|down|up)\b")
"""Parts of a tensor's name that mark a LoRA from any trainer; every layer has two such tensors."""

_OF_A_LAYER: Final = (re.compile(r"lora_B|[._]up\b"), re.compile("alpha"))
"""Parts of names that a file has once for each layer; diffusers makes a pattern of each."""

_CONFIGURATION: Final = "lora_adapter_metadata"
"""The key in a file under which diffusers stores the arguments of peft's LoraConfig."""

_NAMES_CODE: Final = ("megatron_config", "auto_mapping")
"""Arguments by which peft imports a module that another argument names."""

_REPEATS_LAYERS: Final = "layer_replication"
"""The argument by which peft makes copies of a model's layers."""


@dataclass(frozen=True)
class LoraFile:
    """A found and checked LoRA, which can be sent to a worker.

    Attributes:
        path: The file, absolute.
        use: Its entry in the record.
    """

    path: Path
    use: LoraUse


def find_loras(text: str, cache_dir: Path | None) -> tuple[LoraFile, ...]:
    """Find and check LoRAs without torch.

    Args:
        text: The setting as typed: ``FILE[:SCALE][:fused]``, a comma list.
        cache_dir: Where file hashes are remembered; ``None`` remembers none.

    Raises:
        ConfigurationError: A file does not exist, or the package that diffusers needs is missing.
        ModelError: A file is damaged, names code, or has names or patterns that are costly to
            match.
        OSError: A file cannot be read.
    """
    found = []
    for name, scale, is_fused in split_loras(text):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise ConfigurationError(f"{LORA} names no file", got=str(path))
        where = f"the LoRA {path.name}"
        check_safetensors(path, where)
        _check_names(path, where)
        _check_metadata(path, where)
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
    """Load LoRAs into a pipeline at their scales; LoRAs to fuse leave no separate layer.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`, changed in place.
        loras: Checked files.

    Raises:
        ModelError: The pipeline cannot take a LoRA or a part of it, or a LoRA changes nothing.
    """
    if loras and not hasattr(pipeline, "load_lora_weights"):
        raise ModelError("this pipeline takes no LoRA", got=type(pipeline).__name__)
    named = {f"sdperf_{number}": lora for number, lora in enumerate(loras)}
    fused = {name: one for name, one in named.items() if one.use.is_fused}
    kept = {name: one for name, one in named.items() if not one.use.is_fused}
    for name, lora in fused.items():
        _load(pipeline, name, lora)
    if fused:
        pipeline.set_adapters(list(fused), [one.use.scale for one in fused.values()])
        pipeline.fuse_lora(adapter_names=list(fused))
        pipeline.unload_lora_weights()  # a layer that holds a merged one would skip the others
    for name, lora in kept.items():
        _load(pipeline, name, lora)
    if kept:
        pipeline.set_adapters(list(kept), [one.use.scale for one in kept.values()])


def _load(pipeline: Any, name: str, lora: LoraFile) -> None:
    """Load one LoRA, and check that every part found its layer and has an effect."""
    where, kind = f"the LoRA {lora.path.name}", type(pipeline).__name__
    _check_count(pipeline, lora, where)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            pipeline.load_lora_weights(
                str(lora.path.parent), weight_name=lora.path.name, adapter_name=name,
                use_safetensors=True, local_files_only=True,
            )  # fmt: skip
    except Exception as error:
        raise ModelError(
            f"{where} cannot be loaded into a {kind}",
            got=f"{type(error).__name__}: {error}",
            expected=_EXPECTED,
        ) from error
    if name not in {one for active in pipeline.get_list_adapters().values() for one in active}:
        raise ModelError(
            f"{where} changes nothing in a {kind}",
            got="no weights for a layer of it",
            expected=_EXPECTED,
        )
    held = sum(bool(_MATRIX.search(one)) for one in read_tensor_names(lora.path, where))
    layers = [
        module
        for part in pipeline.components.values()
        if hasattr(part, "named_modules")
        for _, module in part.named_modules()
        if name in getattr(module, "lora_B", ())
    ]
    if 2 * len(layers) < held:
        raise ModelError(
            f"{where} fits a part of a {kind} only",
            got=f"{held - 2 * len(layers)} of its {held} matrices belong to no layer",
            expected=_EXPECTED,
            hint=f"load it as it is in a function of yours, and give {SUBJECT}",
        )
    if layers and not any(_has_effect(layer, name) for layer in layers):
        raise ModelError(
            f"{where} changes nothing in a {kind}",
            got="a product of zero in every layer",
            expected="a LoRA that was trained",
        )


def _check_count(pipeline: Any, lora: LoraFile, where: str) -> None:
    """Refuse a file of more layers than there are: peft matches each with the name of each."""
    names = read_tensor_names(lora.path, where)
    count = max(sum(bool(part.search(name)) for name in names) for part in _OF_A_LAYER)
    layers = sum(
        any(True for _ in module.parameters(recurse=False))
        for part in pipeline.components.values()
        if hasattr(part, "named_modules")
        for _, module in part.named_modules()
    )
    if count > layers:
        raise ModelError(
            f"{where} fits a part of a {type(pipeline).__name__} only",
            got=f"weights for {count} layers, and the pipeline has {layers}",
            expected=_EXPECTED,
        )


def _has_effect(layer: Any, name: str) -> bool:
    factors = [layer.lora_A[name].weight, layer.lora_B[name].weight]
    if any(factor.is_meta for factor in factors):
        return True  # unknown, since such a pipeline draws nothing
    return bool(layer.scaling[name]) and all(bool(factor.any()) for factor in factors)


def _check_names(path: Path, where: str) -> None:
    odd = find_odd_name(read_tensor_names(path, where))
    if odd is not None:
        raise ModelError(
            f"{where} has a tensor whose name is that of no layer",
            got=ascii(odd)[1:-1][:160],
            expected=f"up to {LONGEST_NAME} letters, digits, dots and dashes",
            hint="save the LoRA again with the program that trained it",
        )


def _check_metadata(path: Path, where: str) -> None:
    """Refuse a file whose configuration tells peft to do more than to load its weights.

    That is to import a module (some versions of peft import any name), to make matrices or layers
    for which the file has no weights, or to match names for a very long time.
    """
    said = read_metadata(path, where).get(_CONFIGURATION)
    if not isinstance(said, str):
        return
    configuration = parse_json_object(said.encode(), f"the configuration in {where}")
    for key, value in configuration.items():
        if key.rpartition(".")[2] in _NAMES_CODE and value:
            raise ModelError(
                f"{where} names code to run, and sdperf runs no code that a model names",
                got=f"{ascii(key)[:80]}: {ascii(value)[:80]}",
                expected="a LoRA for diffusers",
                hint="remove the entry from its metadata",
            )
        if key.rpartition(".")[2] == _REPEATS_LAYERS and value:
            raise ModelError(
                f"{where} repeats layers of the model, each with weights of its own",
                got=f"{ascii(key)[:80]}: {ascii(value)[:80]}",
                expected="a LoRA for diffusers, which adds to the layers that there are",
                hint="remove the entry from its metadata",
            )
    largest = find_largest_rank(read_tensor_shapes(path, where))
    excessive = find_excessive_rank(configuration, largest)
    if excessive is not None:
        raise ModelError(
            f"{where} asks for matrices of a larger rank than it has",
            got=excessive,
            expected=f"{largest} or less, the largest rank of its matrices",
            hint="save the LoRA again with the program that trained it",
        )
    costly = find_costly_pattern(configuration)
    if costly is not None:
        raise ModelError(
            f"{where} has a pattern of layers that could take forever to match",
            got=ascii(costly)[1:-1][:160],
            expected="names of layers, or patterns of characters, groups and few repeats",
            hint="remove the entry from its metadata",
        )
