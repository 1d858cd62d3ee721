"""A single file of weights that replaces those of a folder: a checkpoint, a denoiser, a GGUF.

Such a file lacks its configuration, tokenizers and schedule, and diffusers would look them up on
the hub. Here they come from a diffusers folder beside it: one with the file's name without its
ending, or the folder that contains the file.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sdperf.errors import ModelError
from sdperf.models.headers import check_safetensors, read_tensor_names
from sdperf.models.layout import DENOISERS, INDEX_NAME, ModelIndex
from sdperf.units import format_names, format_quantity

if TYPE_CHECKING:
    import torch

SUFFIXES: Final = (".safetensors", ".gguf")
"""Endings of files that sdperf reads; neither format can hold code."""

GGUF: Final = ".gguf"

_GGUF_MAGIC: Final = b"GGUF"
_DECODER_PREFIXES: Final = ("first_stage_model.", "vae.")
_TEXT_PREFIXES: Final = ("cond_stage_model.", "conditioner.", "text_encoders.")

_ORIGINAL_PREFIXES: Final = ("model.diffusion_model.", "diffusion_model.")
_ALONE: Final = {
    "a VAE": (*_DECODER_PREFIXES, "encoder.", "decoder.", "quant_conv.", "post_quant_conv."),
    "a text encoder": (
        *_TEXT_PREFIXES,
        *(
            "text_model.",
            "embeddings.",
            "encoder.layers.",
            "final_layer_norm.",
            "text_projection.",
            "encoder.block.",
            "encoder.final_layer_norm.",
        ),
        *("shared.", "lm_head.", "model.layers.", "model.embed_tokens.", "model.norm."),
    ),
}
"""The beginning of all weight names in a file of one network, by the kind of network."""

Holding = Literal["checkpoint", "denoiser"]
"""The content of a file: all networks of a pipeline, or its denoiser alone."""


@dataclass(frozen=True)
class SingleFile:
    """A file of weights whose other parts come from a folder, which can be sent to a worker.

    Attributes:
        path: The file, absolute.
        holds: The networks in the file.
        weights: How many weights it has; ``None`` where the file does not tell.
    """

    path: Path
    holds: Holding
    weights: int | None = None

    def list_held(self, index: ModelIndex) -> frozenset[str]:
        """List the components of a pipeline that the file contains.

        Args:
            index: The parts of the folder beside it.
        """
        networks = {part.name for part in index.components if part.has_weights}
        return frozenset(networks if self.holds == "checkpoint" else networks & set(DENOISERS))


def is_single_file(path: Path) -> bool:
    """Tell from a file's name whether it is a readable file of weights."""
    return path.suffix.lower() in SUFFIXES


def find_base(path: Path, where: str) -> Path:
    """Return the folder that a file's configuration and other parts come from.

    Args:
        path: The file.
        where: How messages name the model.

    Raises:
        ModelError: There is no such folder.
    """
    own = path.with_suffix("")
    for folder in (own, path.absolute().parent):
        if (folder / INDEX_NAME).is_file():
            return folder
    raise ModelError(
        f"{where} is a file of weights, which lacks the configuration of its pipeline",
        got=f"neither {own / INDEX_NAME} nor {path.absolute().parent / INDEX_NAME}",
        expected="the diffusers folder of the model that it was made from, beside it; of a "
        "checkpoint its configurations and tokenizers do",
        hint=f"ln -s FOLDER {own}",
    )


def read_single_file(path: Path, where: str) -> SingleFile:
    """Check a file of weights and find its networks, without torch.

    Args:
        path: The file.
        where: How messages name the model.

    Raises:
        ModelError: The file is damaged, or has only some of a pipeline's networks.
        OSError: The file cannot be read.
    """
    if path.suffix.lower() == GGUF:
        _check_gguf(path, where)
        return SingleFile(path.absolute(), "denoiser")
    weights = check_safetensors(path, where)
    names = read_tensor_names(path, where)
    alone = _find_alone(names)
    if alone is not None:
        raise ModelError(
            f"{where} holds {alone} only",
            got=f"{format_quantity(len(names), 'weight')}, such as {min(names)}",
            expected="all networks of a pipeline, or its denoiser alone",
            hint="give the file of the denoiser or of the checkpoint",
        )
    has_decoder, has_text = _has(names, _DECODER_PREFIXES), _has(names, _TEXT_PREFIXES)
    if has_decoder != has_text:
        part, absent = ("VAE", "text encoder") if has_decoder else ("text encoder", "VAE")
        raise ModelError(
            f"{where} holds some of a pipeline's networks",
            got=f"a denoiser and a {part}, no {absent}",
            expected="all of them, or the denoiser alone",
            hint="load it in a function of yours, with the other parts: docs/in-the-way.md",
        )
    return SingleFile(path.absolute(), "checkpoint" if has_decoder else "denoiser", weights)


def load_denoiser(file: SingleFile, folder: Path, index: ModelIndex, **dtype: torch.dtype) -> Any:
    """Load the denoiser of a pipeline from a file; nothing is fetched.

    Args:
        file: A file with the denoiser alone.
        folder: The folder of its configuration.
        index: The pipeline's parts.
        dtype: The number format, by the name that this diffusers takes it by.

    Returns:
        The loaded denoiser, by the component's name.

    Raises:
        ModelError: This diffusers cannot read a single file of such a denoiser, or the file and
            the configuration are not of one model.
    """
    import diffusers

    part = next(part for part in index.components if part.name in DENOISERS)
    kind: Any = getattr(diffusers, part.class_name, None)
    if not hasattr(kind, "from_single_file"):
        raise ModelError(
            f"diffusers {diffusers.__version__} reads no single file of a {part.class_name}",
            got=file.path.name,
            expected="a denoiser with from_single_file",
            hint="give the folder that it was made from, or update diffusers",
        )
    named: dict[str, Any] = dict(dtype)
    if file.path.suffix.lower() == GGUF:
        (compute,) = dtype.values()
        configure: Any = diffusers.GGUFQuantizationConfig
        named["quantization_config"] = configure(compute_dtype=compute)
    try:
        network = kind.from_single_file(
            str(file.path), config=str(folder), subfolder=part.name, local_files_only=True, **named
        )
    except Exception as error:
        lacking = _explain_lacking(file, kind, folder / part.name, error)
        if lacking is None:
            raise
        raise lacking from error
    unread = _explain_unread(file, kind, folder / part.name, network.state_dict().keys())
    if unread is not None:
        raise unread
    return {part.name: network}


def _explain_unread(
    file: SingleFile, kind: Any, folder: Path, taken: Set[str]
) -> ModelError | None:
    """Say which weights of a file a network has no place for; diffusers only warns.

    The configuration is then that of a smaller model, which draws something else. Another layout,
    whose names diffusers converts while loading, is not checked.

    Args:
        file: The file.
        kind: The network's class.
        folder: The folder of its configuration.
        taken: The names of the network's weights.
    """
    where = f"the file {file.path.name}"
    names = _list_names(file, where)
    if not taken or not taken <= names:
        return None
    known = getattr(kind, "_keys_to_ignore_on_load_unexpected", None) or ()
    left = names - taken
    unread = sorted(name for name in left if not any(re.search(one, name) for one in known))
    if not unread:
        return None
    return ModelError(
        f"{where} has {len(unread)} of {len(names)} weights that the {file.holds} of the folder "
        "beside it has no place for",
        got=format_names(unread),
        expected=f"a file that was made from the model in {folder.parent}",
        hint="lay the folder of its own model beside it: the configuration is of another one",
    )


def _list_names(file: SingleFile, where: str) -> Set[str]:
    if file.path.suffix.lower() != GGUF:
        return read_tensor_names(file.path, where)
    import gguf

    return {tensor.name for tensor in gguf.GGUFReader(file.path).tensors}


def _explain_lacking(
    file: SingleFile, kind: Any, folder: Path, error: Exception
) -> ModelError | None:
    """Say which weights a file lacks in the layout of diffusers, or which it has too many.

    ``None`` where it has exactly those that its configuration asks for. Another layout,
    which diffusers converts while loading, is not checked.
    """
    import torch

    if file.path.suffix.lower() == GGUF or isinstance(error, MemoryError | torch.OutOfMemoryError):
        return None
    where = f"the file {file.path.name}"
    names = read_tensor_names(file.path, where)
    if _has(names, _ORIGINAL_PREFIXES):
        return None
    with torch.device("meta"):
        wanted = kind.from_config(kind.load_config(str(folder))).state_dict().keys()
    missing = sorted(wanted - names)
    if not missing:
        return _explain_unread(file, kind, folder, wanted)
    if len(missing) == len(wanted):
        return ModelError(
            f"{where} holds none of the {len(wanted)} weights of a {kind.__name__}",
            got=f"{format_names(sorted(names))}; diffusers: {' '.join(str(error).split())[:120]}",
            expected=f"weights such as {missing[0]}, or another layout that diffusers converts",
            hint="give the file of a denoiser that was made from the model beside it",
        )
    return ModelError(
        f"{where} lacks {len(missing)} of {len(wanted)} weights of the {file.holds}",
        got=f"no {format_names(missing)}",
        expected=f"a file that was made from the model in {folder.parent}",
        hint="download it again, or lay the folder of its own model beside it",
    )


def _find_alone(names: Collection[str]) -> str | None:
    """Name the one network of a file where it is not a denoiser."""
    for about, prefixes in _ALONE.items():
        if names and all(name.startswith(prefixes) for name in names):
            return about
    return None


def _has(names: Collection[str], prefixes: tuple[str, ...]) -> bool:
    return any(name.startswith(prefixes) for name in names)


def _check_gguf(path: Path, where: str) -> None:
    with path.open("rb") as file:
        start = file.read(len(_GGUF_MAGIC))
    if start != _GGUF_MAGIC:
        raise ModelError(
            f"{where} is no GGUF file", got=repr(start), expected=repr(_GGUF_MAGIC),
            hint="download the model again",
        )  # fmt: skip
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            f"{where} is a GGUF file, and the package that reads them is not installed",
            got="no gguf",
            hint="pip install 'sdperf[gguf]'",
        )
    import gguf

    try:
        gguf.GGUFReader(path)  # it maps each tensor, and fails where one ends after the file
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise anything inside a reader
        raise ModelError(
            f"{where} is truncated or damaged",
            got=f"{path.stat().st_size} bytes: {type(error).__name__}: {str(error)[:80]}",
            expected="a GGUF with all the tensors that it lists",
            hint="download the model again",
        ) from error
