"""What is done to a pipeline before it is recorded: a LoRA, another attention, compiling."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

import torch

from sdperf.errors import ConfigurationError
from sdperf.record.workload import Workload

SLICED: Final = "sliced"
"""Attention in slices, by diffusers' ``enable_attention_slicing``; other names are its backends."""

_STRENGTH: Final = 0.5


def load_lora(pipeline: Any, path: Path) -> None:
    """Load a LoRA from a safetensors file.

    Raises:
        ConfigurationError: It is no such file, or the pipeline cannot take it.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        raise ConfigurationError(
            "--lora is no file of weights", got=path, expected="a file that ends in .safetensors"
        )
    load = getattr(pipeline, "load_lora_weights", None)
    if load is None:
        raise ConfigurationError("this pipeline takes no LoRA", got=type(pipeline).__name__)
    try:
        load(str(path.parent), weight_name=path.name, use_safetensors=True, local_files_only=True)
    except Exception as error:
        raise ConfigurationError(
            "the LoRA cannot be loaded",
            got=f"{type(error).__name__}: {error}",
            hint="diffusers needs peft for it: pip install peft",
        ) from error


def choose_attention(pipeline: Any, name: str) -> None:
    """Let a pipeline attend otherwise.

    Args:
        pipeline: A diffusers pipeline.
        name: ``sliced``, or a backend of diffusers such as ``_native_math``.

    Raises:
        ConfigurationError: The pipeline or diffusers does not know it.
    """
    if name == SLICED:
        pipeline.enable_attention_slicing(1)
        return
    networks = [part for part in _networks(pipeline) if hasattr(part, "set_attention_backend")]
    if not networks:
        raise ConfigurationError("no network of this pipeline has attention backends", got=name)
    try:
        for network in networks:
            network.set_attention_backend(name)
    except Exception as error:
        raise ConfigurationError(
            "this attention cannot be taken here",
            got=f"{name} ({type(error).__name__}: {error})",
            expected=f"{SLICED}, native, _native_math, or another backend of diffusers",
        ) from error


def mark_compiled(pipeline: Any) -> None:
    """Compile the denoiser as ``pipeline.unet.compile()`` does, which waits for the first call.

    Raises:
        ConfigurationError: There is none.
    """
    found = [getattr(pipeline, name, None) for name in ("transformer", "unet")]
    denoisers = [part for part in found if isinstance(part, torch.nn.Module)]
    if not denoisers:
        raise ConfigurationError("this pipeline has no denoiser", got=type(pipeline).__name__)
    for denoiser in denoisers:
        denoiser.compile()


def takes_a_picture(pipeline: Any) -> bool:
    """Whether a pipeline changes a picture (img2img, inpainting) instead of starting from noise."""
    return {"image", "strength"} <= inspect.signature(pipeline.__call__).parameters.keys()


def change_picture(pipeline: Any, workload: Workload) -> tuple[int, int]:
    """Let such a pipeline change a grey picture, half of the way.

    Args:
        pipeline: It.
        workload: Its first prompt, steps and guidance are taken, and its size where it has one.

    Returns:
        Height and width of the picture in pixels.
    """
    from PIL import Image

    side = getattr(pipeline, "default_sample_size", None) or _sample_size(pipeline)
    own = side * pipeline.vae_scale_factor
    height, width = workload.height or own, workload.width or own
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    given: dict[str, Any] = {
        "prompt": workload.prompts[0],
        "image": picture,
        "mask_image": Image.new("L", (width, height), 255),
        "strength": _STRENGTH,
        "num_inference_steps": round(workload.num_inference_steps / _STRENGTH),
        "guidance_scale": workload.guidance_scale,
        "height": height,
        "width": width,
        "generator": torch.Generator("cpu").manual_seed(workload.seed),
        "output_type": "np",
    }
    known = inspect.signature(pipeline.__call__).parameters
    pipeline(**{name: value for name, value in given.items() if name in known})
    return height, width


def _sample_size(pipeline: Any) -> int:
    for network in _networks(pipeline):
        size = getattr(getattr(network, "config", None), "sample_size", None)
        if isinstance(size, int):
            return size
    raise ConfigurationError("this pipeline names no size of its own", hint="add --size")


def _networks(pipeline: Any) -> list[Any]:
    found = [getattr(pipeline, name, None) for name in ("transformer", "unet", "vae")]
    return [part for part in found if part is not None]
