"""A pipeline's input picture: finds how the call takes it, fits it once, and passes it on.

One picture serves all images of a batch.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import torch

from sdperf.images.input_files import InputFile, find_pixels, fit_picture
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.tasks.calls import PictureCall, describe_call, settle_picture
from sdperf.pipeline.borders import find_denoiser
from sdperf.record.workload import InputPicture, Workload
from sdperf.settings import INPUT_IMAGE

_DRAW: Final = "randn_tensor"
"""Name of diffusers' function that draws noise."""

_LATENTS_MODULE: Final = "diffusers.models.autoencoders.vae"
"""The module in which the latents of an encoded picture are drawn from their distribution."""

_USUAL_EDGE_PX: Final = 1024
_OWN_PLAN: Final = "original_inference_steps"
"""Argument of a consistency model's call: its scheduler takes the strength, and draws all steps."""

_KEEPS_SIZE: Final = "_auto_resize"
"""Whether FLUX Kontext scales its picture to a size that it was trained on."""


@dataclass(frozen=True)
class BoundPicture:
    """An input picture in the form in which a pipeline's call takes it.

    Attributes:
        picture: The picture in the record.
        arguments: Arguments of the pipeline's call, for one image.
        each: Names of the arguments that a batch takes once for each image. A single picture would
            be encoded with the first image's noise, so that image k would differ from the same
            image drawn alone.
        height: Pixels of picture and images.
        width: Pixels of picture and images.
    """

    picture: InputPicture
    arguments: Mapping[str, Any]
    each: frozenset[str]
    height: int
    width: int

    def arguments_for(self, images: int) -> dict[str, Any]:
        """Return the call's arguments for a batch of a number of images."""
        if images == 1:
            return dict(self.arguments)
        return {
            name: [value] * images if name in self.each else value
            for name, value in self.arguments.items()
        }


def find_picture_call(pipeline: Any) -> PictureCall | None:
    """Describe how a pipeline takes pictures; ``None`` where it draws from the prompt alone.

    A user's own call that accepts any argument is described like the diffusers class below it, and
    needs no picture, since it may supply one itself.
    """
    kinds = [kind for kind in type(pipeline).__mro__ if "__call__" in vars(kind)]
    for kind in kinds:
        is_diffusers = kind.__module__.startswith("diffusers.")
        parameters = inspect.signature(kind.__call__).parameters
        takes_anything = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        if takes_anything and not is_diffusers:
            continue
        defaults = {
            name: None if one.default is one.empty else one.default
            for name, one in parameters.items()
        }
        call = describe_call(kind.__name__, defaults)
        if call is None or (is_diffusers and kind is kinds[0]):
            return call
        return PictureCall(**{**vars(call), "is_needed": False})
    return None


def bind_picture(
    pipeline: Any, workload: Workload, files: Sequence[InputFile] = ()
) -> BoundPicture | None:
    """Prepare the input of a pipeline's call beside the prompt; ``None`` where there is none.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
        workload: The workload; a pipeline that needs a picture takes the default one where the
            workload has none.
        files: Pixels beside those that ship.

    Raises:
        ConfigurationError: The pipeline cannot take the input, or its pixels are missing.
    """
    call = find_picture_call(pipeline)
    picture = settle_picture(workload.picture, call)
    if call is None or picture is None:
        return None
    height, width = (
        getattr(workload, name) or _find_own_edge(pipeline, name) for name in ("height", "width")
    )
    given = find_pixels(picture.sha256, files, str(INPUT_IMAGE))
    fitted = fit_picture(given.decode(), width, height)
    arguments: dict[str, Any] = dict.fromkeys(call.pictures, fitted)
    if call.mask is not None and picture.mask_sha256 is not None:
        mask = find_pixels(picture.mask_sha256, files, str(INPUT_IMAGE)).decode()
        arguments[call.mask] = fit_picture(mask, width, height)
    if call.takes_strength and picture.strength is not None:
        arguments["strength"] = picture.strength
    arguments |= dict.fromkeys(call.sizes, height * width)
    if _KEEPS_SIZE in inspect.signature(type(pipeline).__call__).parameters:
        arguments[_KEEPS_SIZE] = False
    # Elsewhere a list is several pictures of one image (Flux 2), or is refused.
    is_drawn_over = call.task in ("image-to-image", "inpaint") and "image" in arguments
    each = [name for name in ("image", call.mask) if name in arguments] if is_drawn_over else []
    return BoundPicture(picture, arguments, frozenset(filter(None, each)), height, width)


def plan_drawn_steps(pipeline: Any, workload: Workload, strength: float | None) -> int | None:
    """Find from the scheduler and from diffusers' rule for the strength how many steps are drawn.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`; a copy of its scheduler is asked.
        workload: The workload with the requested steps.
        strength: Share of them that is drawn; ``None`` draws all.

    Returns:
        The number of steps; ``None`` where it is unknown.
    """
    try:
        scheduler = copy.deepcopy(pipeline.scheduler)
        if _OWN_PLAN in inspect.signature(type(pipeline).__call__).parameters:
            scheduler.set_timesteps(workload.num_inference_steps, strength=strength)
            return len(scheduler.timesteps)
        shifted = getattr(scheduler.config, "use_dynamic_shifting", False)
        with known_warnings_ignored():
            scheduler.set_timesteps(
                workload.num_inference_steps, **({"mu": 1.0} if shifted else {})
            )
        if strength is None:
            return len(scheduler.timesteps)
        rule = next(
            vars(kind)["get_timesteps"]
            for kind in type(pipeline).__mro__
            if "get_timesteps" in vars(kind) and kind.__module__.startswith("diffusers.")
        )
        asked = (workload.num_inference_steps, strength, "cpu")
        return len(rule(SimpleNamespace(scheduler=scheduler), *asked)[0])
    except Exception:  # noqa: BLE001  # some want more, or plan in a way of their own
        return None


@contextlib.contextmanager
def drawing_in_float32(pipeline: Any) -> Iterator[None]:
    """Let a pipeline draw all its noise in float32 on the CPU, and round it to its own format.

    Otherwise two precisions would start from different noise: a picture's noise is drawn inside the
    call, which takes none from outside. In fp32 nothing changes. Use it on the device thread only.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
    """
    modules = _list_drawing_modules(pipeline)
    before = [getattr(module, _DRAW) for module in modules]
    for module in modules:
        setattr(module, _DRAW, _draw_in_float32)
    try:
        yield
    finally:
        for module, plain in zip(modules, before, strict=True):
            setattr(module, _DRAW, plain)


def _draw_in_float32(
    shape: Any,
    generator: Any = None,
    device: Any = None,
    dtype: Any = None,
    layout: Any = None,
) -> torch.Tensor:
    """Replace diffusers' `randn_tensor`: draw one image at a time, where each has a generator."""
    each = generator if isinstance(generator, list) else [generator]
    rows = shape if len(each) == 1 else (1, *shape[1:])
    layout = layout or torch.strided
    drawn = torch.cat(
        [
            torch.randn(tuple(rows), generator=one, dtype=torch.float32, layout=layout)
            for one in each
        ]
    )
    return drawn.to(dtype).to(device)


def _list_drawing_modules(pipeline: Any) -> list[ModuleType]:
    names = {kind.__module__ for kind in type(pipeline).__mro__} | {_LATENTS_MODULE}
    modules = (sys.modules.get(name) for name in sorted(names))
    return [module for module in modules if module is not None and hasattr(module, _DRAW)]


def _find_own_edge(pipeline: Any, name: str) -> int:
    """Return a pipeline's default height or width, pixels."""
    factor = getattr(pipeline, "vae_scale_factor", 8)
    config = getattr(find_denoiser(pipeline), "config", None)
    default = inspect.signature(type(pipeline).__call__).parameters.get(name)
    if default is not None and isinstance(default.default, int):
        return default.default
    latents = getattr(pipeline, "default_sample_size", None)
    latents = latents or getattr(config, "sample_size", None)
    if isinstance(latents, list | tuple):
        latents = latents[0 if name == "height" else -1]
    return int(latents * factor) if isinstance(latents, int) else _USUAL_EDGE_PX
