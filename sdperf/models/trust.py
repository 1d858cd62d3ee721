"""Checks that a model folder names only classes of diffusers and transformers, and no code.

A name in a file decides which class of an allowed library is looked up. It never decides which
module is imported, although the installed diffusers might import it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sdperf.errors import ModelError
from sdperf.models.layout import ModelIndex
from sdperf.settings import LORA, SUBJECT

LIBRARIES: Final = ("diffusers", "transformers")
"""Libraries in which a part's class is looked up, beside diffusers' own pipeline folders."""

_CODE_SUFFIXES: Final = (".py", ".pyc", ".pyd", ".so")
_ADAPTER: Final = "adapter_config.json"
"""The file by which transformers finds an adapter in a part's folder. It may ask for any amount of
memory, for copies of layers, for another base model and for a module to import."""

_OWN_CODE_HINT: Final = (
    "save it with classes of diffusers and transformers, or load it in a function that you wrote: "
    f"{SUBJECT} my_pipelines:make_pipeline"
)


def check_trusted(folder: Path, index: ModelIndex, where: str) -> None:
    """Refuse a model whose folder names or brings code, without importing anything.

    Args:
        folder: The model's files.
        index: Its parsed `model_index.json`.
        where: How messages name the model.

    Raises:
        ModelError: A part's library is not on the allow list, or a part's folder holds an adapter,
            or code that some version of diffusers would run.
        OSError: A folder cannot be listed.
    """
    for part in index.components:
        if part.library not in LIBRARIES and not _is_pipeline_folder(part.library):
            raise ModelError(
                f"{where} takes a part from a library that sdperf does not load from",
                got=f"{part.name}: [{ascii(part.library)[:80]}, {ascii(part.class_name)[:80]}]",
                expected=" or ".join(LIBRARIES),
                hint=_OWN_CODE_HINT,
            )
    names = [part.name for part in index.components]
    for file in _list_files(folder, names, (_ADAPTER,)):
        raise ModelError(
            f"{where} brings an adapter, whose configuration transformers obeys without a check",
            got=file,
            expected="weights into which it is merged",
            hint=f"move the file away, and give a LoRA for diffusers to {LORA}",
        )
    for file in _list_code(folder, names):
        raise ModelError(
            f"{where} brings code of its own, and sdperf runs no code from a model folder",
            got=file,
            expected="configurations, tokenizer files and safetensors",
            hint=f"remove the file if the model does not need it; else {_OWN_CODE_HINT}",
        )


def check_configuration(document: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration that names code to run, at any depth. Pure.

    Args:
        document: A JSON file of the model.
        where: How messages name the file.

    Raises:
        ModelError: It maps classes to code beside it or on the hub (``auto_map``), or names an
            attention kernel on the hub.
    """
    waiting: list[object] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        if not isinstance(value, dict):
            continue
        waiting += value.values()
        for key, inner in value.items():
            names_classes = key == "auto_map" and isinstance(inner, dict | list | str)
            names_kernel = "attn_implementation" in key and "/" in str(inner)
            if names_classes or names_kernel:
                raise ModelError(
                    f"{where} names code to run, and sdperf runs no code that a model names",
                    got=f"{key}: {ascii(inner)[:80]}",
                    expected=f"no {key}",
                    hint=f"remove the entry if the model does not need it; else {_OWN_CODE_HINT}",
                )


def find_library(name: str) -> Any:
    """Import the library of a part that `check_trusted` let pass.

    Raises:
        ModelError: The name is not on the allow list.
        ImportError: This diffusers or transformers cannot be imported.
    """
    if name in LIBRARIES:
        return importlib.import_module(name)
    if not _is_pipeline_folder(name):
        raise ModelError("a part's library is not on the allow list", got=ascii(name)[:80])
    pipelines = importlib.import_module("diffusers.pipelines")
    library = getattr(pipelines, name, None)
    if library is None:  # some versions of diffusers would import a module of that name instead
        raise ImportError(f"diffusers.pipelines.{name} cannot be used here")
    return library


def _is_pipeline_folder(name: str) -> bool:
    """Whether a library's name is a folder of ``diffusers/pipelines``, such as ``kolors``."""
    if not name.isidentifier():
        return False
    spec = importlib.util.find_spec("diffusers")
    roots = (spec.submodule_search_locations if spec is not None else None) or ()
    return any((Path(root) / "pipelines" / name / "__init__.py").is_file() for root in roots)


def _list_code(folder: Path, parts: Iterable[str]) -> list[str]:
    """List files that diffusers might run; some run ``None.py`` without a custom pipeline."""
    found = [name for name in ("None.py",) if (folder / name).exists()]
    return found + _list_files(folder, parts, _CODE_SUFFIXES)


def _list_files(folder: Path, parts: Iterable[str], endings: tuple[str, ...]) -> list[str]:
    """List the files in the folders of parts whose names have one of the endings."""
    return [
        f"{part}/{path.name}"
        for part in parts
        if (folder / part).is_dir()
        for path in sorted((folder / part).iterdir())
        if path.name.lower().endswith(endings)
    ]
