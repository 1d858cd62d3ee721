"""Writes the trained parts as a standard diffusers folder, in float16 safetensors."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL

from .denoiser import Denoiser, build_scheduler

MAX_BYTES = 12_500_000
TEXT_PREFIX = "text_model."
_LENGTH_BYTES = 8
"""Bytes of a safetensors file that say how long its header is; headers end at a multiple of it."""


def export_pipeline(
    vae: AutoencoderKL, denoiser: Denoiser, tokenizer: Path, folder: Path
) -> dict[str, str]:
    """Writes the folder, replacing what is there, and a tar file of it beside it.

    Args:
        vae: With the latent normalisation folded in.
        denoiser: Text encoder and UNet.
        tokenizer: Folder of the tokenizer files.
        folder: The target; ``folder.tar`` holds the same.

    Returns:
        SHA-256 of each file, by its path inside the folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build_scheduler().save_pretrained(folder / "scheduler")
    for name, module in (
        ("vae", vae),
        ("unet", denoiser.unet),
        ("text_encoder", denoiser.text_encoder),
    ):
        _save_half(module, folder / name)
    prefix_tensors(folder / "text_encoder" / "model.safetensors", TEXT_PREFIX)
    shutil.copytree(tokenizer, folder / "tokenizer")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for config in folder.glob("*/config.json"):
        _tidy_config(config)
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        archive.add(folder, arcname=folder.name)
    return compute_digests(folder)


def compute_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``, by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def compute_size_bytes(folder: Path) -> int:
    """Size of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def prefix_tensors(path: Path, prefix: str) -> None:
    """Put a prefix before the names of a file's tensors; their bytes stay where they are.

    transformers 5 saves CLIP's text encoder without ``text_model.`` and reads it with or without;
    4.56 to 4.57 find only tensors that have it.

    Args:
        path: A safetensors file, replaced.
        prefix: What each name shall begin with; names that do stay as they are.
    """
    content = path.read_bytes()
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    named = {
        name if name.startswith((prefix, "__metadata__")) else prefix + name: entry
        for name, entry in json.loads(content[_LENGTH_BYTES:start]).items()
    }
    header = json.dumps(named, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH_BYTES)
    length = len(header).to_bytes(_LENGTH_BYTES, "little")
    path.write_bytes(length + header + content[start:])


def _save_half(module: torch.nn.Module, folder: Path) -> None:
    """Saves a float16 copy; the module itself stays as it is."""
    state = {key: value.clone() for key, value in module.state_dict().items()}
    module.half().to(memory_format=torch.contiguous_format)
    module.save_pretrained(folder, safe_serialization=True)
    module.float()
    module.load_state_dict(state)


def _tidy_config(config: Path) -> None:
    """Leave no path of this machine, and let a part load in float32 where no dtype is given.

    transformers takes the dtype of a configuration for its default, diffusers float32: a pipeline
    of float16 files would otherwise load in two formats and fail at its first call.
    """
    values = json.loads(config.read_text(encoding="utf-8"))
    values.pop("_name_or_path", None)
    if "dtype" in values:
        values["dtype"] = "float32"
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
