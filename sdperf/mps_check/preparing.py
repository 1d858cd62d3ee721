"""Prepares a pipeline for recording: loading, a LoRA, another attention, compiling.

Pipelines without the stages of a picture, since they change a picture or make a video, are called
from here.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

import torch

from sdperf.errors import ConfigurationError
from sdperf.models.added.lora import find_loras, load_loras
from sdperf.record.workload import Workload

SLICED: Final = "sliced"
"""Attention in slices, by diffusers' ``enable_attention_slicing``; other names are its backends."""

_STRENGTH: Final = 0.5
_OF_NETWORKS: Final = ("diffusers.models.", "diffusers.schedulers.", "transformers.models.")
"""Modules of networks and schedulers that choose number formats by the machine's devices."""


@contextlib.contextmanager
def made_as_on_a_mac() -> Iterator[None]:
    """Make networks and schedulers of diffusers in their form for MPS.

    For example, the rotary tables of Lumina 2 and of Wan are float32 there and float64 elsewhere,
    from the creation of the network on. A subject's code still sees this machine's devices.
    """
    available = torch.backends.mps.is_available

    def is_available() -> bool:
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        return caller.startswith(_OF_NETWORKS) or available()

    with mock.patch.object(torch.backends.mps, "is_available", is_available):
        yield


def load_lora(pipeline: Any, text: str) -> None:
    """Load the LoRAs of the setting ``lora``, with the same checks as a model's weights.

    Raises:
        ConfigurationError: A file does not exist, or peft is not installed.
        ModelError: A file is damaged, or the pipeline cannot take it.
    """
    load_loras(pipeline, find_loras(text, None))


def choose_attention(pipeline: Any, name: str) -> None:
    """Change the attention of a pipeline.

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
        ConfigurationError: There is no denoiser.
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
    """Let such a pipeline change a grey picture at half strength.

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


def makes_a_video(pipeline: Any) -> bool:
    """Whether a pipeline makes frames of a video from words alone."""
    parameters = inspect.signature(pipeline.__call__).parameters
    return "num_frames" in parameters and "image" not in parameters


def make_video(pipeline: Any, workload: Workload) -> tuple[int, int, int]:
    """Let such a pipeline make a video of its own length.

    Args:
        pipeline: It.
        workload: Its first prompt, steps and guidance are taken, and its size where it has one.

    Returns:
        Height and width in pixels, and the number of frames.

    Raises:
        ConfigurationError: Neither the pipeline's call nor the workload names a size.
    """
    known = inspect.signature(pipeline.__call__).parameters
    height, width = (getattr(workload, name) or known[name].default for name in ("height", "width"))
    frames = known["num_frames"].default
    if not all(isinstance(one, int) for one in (height, width)):
        raise ConfigurationError("this pipeline names no size of its own", hint="add --size")
    given: dict[str, Any] = {
        "prompt": workload.prompts[0],
        "num_inference_steps": workload.num_inference_steps,
        "guidance_scale": workload.guidance_scale,
        "height": height,
        "width": width,
        "generator": torch.Generator("cpu").manual_seed(workload.seed),
        "output_type": "pt",
    }
    pipeline(
        **{name: value for name, value in given.items() if name in known and value is not None}
    )
    return height, width, frames


def _sample_size(pipeline: Any) -> int:
    for network in _networks(pipeline):
        size = getattr(getattr(network, "config", None), "sample_size", None)
        if isinstance(size, int):
            return size
    raise ConfigurationError("this pipeline names no size of its own", hint="add --size")


def _networks(pipeline: Any) -> list[Any]:
    found = [getattr(pipeline, name, None) for name in ("transformer", "unet", "vae")]
    return [part for part in found if part is not None]
