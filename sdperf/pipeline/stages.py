"""A pipeline bound to a workload: its noise and its plain call.

One thread at a time may be inside a stage; two different stages may run on two threads, except
on MPS, where one thread owns the device.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from sdperf.errors import ConfigurationError, GenerationError
from sdperf.images.input_files import InputFile
from sdperf.images.png import encode_png
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.sampling import find_guidance_argument
from sdperf.pipeline.input_pictures import bind_picture, drawing_in_float32
from sdperf.pipeline.own_noise import NoisePlan, learn_noise
from sdperf.record.workload import ImageRequest, Workload
from sdperf.settings import BY_FIELD, GUIDANCE
from sdperf.units import format_quantity

Pixels = npt.NDArray[np.floating[Any]]
"""Pixels: (B, H, W, 3) float32 in [0, 1], on the host; `to_uint8` turns them into bytes."""

OnStep = Callable[[int, torch.Tensor], None]
"""Called after each step of the scheduler with its index and the latents it left.

A scheduler can take more steps than were asked for: PNDM one more, Heun about twice as many.
"""

_GUIDANCE: Final = "guidance_scale"
"""Usual name of guidance; it also ends the names of a pipeline with one scale for each half."""

_SCHEDULE: Final = "guidance_schedule"
"""Argument with a scale for each step, which Ideogram 4 takes by default in place of one scale."""


@dataclass(frozen=True)
class Noise:
    """The starting noise of a batch; reused, it gives the same images again.

    Attributes:
        latents: (B, C, H/f, W/f) float in the pipeline's dtype, on its device, of unit variance
            (Flux: packed to (B, H/2f * W/2f, 4C); other pipelines: as their call takes it);
            ``None`` where the pipeline draws it itself.
        states: For each image, the state of its CPU generator after the latents were drawn; the
            noise that a scheduler adds in its steps continues from there.
    """

    latents: torch.Tensor | None
    states: tuple[torch.Tensor, ...]

    def generators(self) -> list[torch.Generator]:
        """Return fresh generators, one per image, in the state after the drawing."""
        return [torch.Generator("cpu").set_state(state) for state in self.states]


_OTHER_BATCH: Final = re.compile(
    r"list of generators of length (\d+), but requested an effective batch size of (\d+)"
)
"""diffusers' message where a call makes another number of images than it got noise for."""


def _other_number(pipeline: Any, made: int, asked: int) -> GenerationError:
    return GenerationError(
        f"{type(pipeline).__name__} makes {format_quantity(made, 'image')} where it was asked for "
        f"{asked}",
        expected="one image of each prompt",
        hint="leave num_images_per_prompt alone, and return what was generated",
    )


class Stages:
    """A pipeline bound to a workload and run whole, without known stages.

    This class serves any diffusers pipeline that draws images; `SeparableStages` serves those with
    known stages. Errors of diffusers pass through.

    Attributes:
        family: Name of the pipeline's family, which decides how it is divided.
        pipeline: The `diffusers.DiffusionPipeline`.
        workload: What it generates.
        height: Pixels; ``None`` where only the pipeline knows its own size.
        width: Pixels; ``None`` where only the pipeline knows its own size.
        images_per_call: How many images of a stream are generated together.
        encode_png: Encodes (H, W, 3) uint8 pixels as the delivered file; safe on any thread.
        guidance_scale: The scale of the call: the workload's, else the call's default.
        guidance_argument: The pipeline's name of the strength of guidance; ``None`` where it takes
            none.
        bound: The picture that its call gets beside the prompt; ``None`` without one.
        has_steps: Whether steps can be timed one by one, since they are not parts of one recording.
    """

    family: ClassVar[str] = "whole"
    images_per_call: int = 1
    has_steps: bool = True

    def __init__(
        self, pipeline: Any, workload: Workload, pictures: Sequence[InputFile] = ()
    ) -> None:
        """Bind the two.

        Args:
            pipeline: A `diffusers.DiffusionPipeline`.
            workload: What it generates.
            pictures: Pixels that the workload names, beside those that ship.

        Raises:
            ConfigurationError: The pipeline cannot generate what the workload asks for.
        """
        self.pipeline = pipeline
        self.workload = workload
        self.bound = bind_picture(pipeline, workload, pictures)
        self.height = workload.height if self.bound is None else self.bound.height
        self.width = workload.width if self.bound is None else self.bound.width
        self.encode_png: Callable[[npt.NDArray[np.uint8]], bytes] = encode_png
        parameters = inspect.signature(type(pipeline).__call__).parameters
        self._accepts_anything = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
        self._accepted = frozenset(parameters)
        self._noise_plan: NoisePlan | None = None
        defaults = {name: item.default for name, item in parameters.items()}
        self.guidance_argument = find_guidance_argument(defaults)
        names_none = not any(name.endswith(_GUIDANCE) for name in parameters)
        if self.guidance_argument is None and self._accepts_anything and names_none:
            self.guidance_argument = _GUIDANCE
        self.guidance_scale: float | None = workload.guidance_scale
        if self.guidance_scale is None:
            self.guidance_scale = defaults.get(self.guidance_argument or "")
        self._check_accepted()

    @torch.no_grad()
    def learn(self, prompts: Sequence[str]) -> None:
        """Find how the pipeline takes starting noise, once, before anything is timed.

        Its call is run up to the denoiser, two or three times.

        Args:
            prompts: One prompt.
        """

        def call(latents: torch.Tensor | None, generators: list[torch.Generator]) -> object:
            arguments = self._sampling(Noise(latents, ()), None)
            return self._call(
                prompt=list(prompts),
                **self._negative_prompt(len(prompts)),
                **arguments | {"generator": generators},
                output_type="np",
            )

        if self.bound is not None:  # its noise is drawn inside the call, from the generators
            return
        if self._accepts("latents") and self._accepts("generator"):
            self._noise_plan = learn_noise(self.pipeline, call)

    def draw_noise(self, requests: Sequence[ImageRequest]) -> Noise:
        """Prepare the starting noise of a batch from each image's own seed.

        With an input picture, all noise is drawn inside the call, in float32 too. Where
        `learn` found how the pipeline takes noise, it is drawn in float32 on the CPU, one
        image at a time: equal for every device, precision, mode and place in a batch, apart from
        the rounding. Otherwise the pipeline draws its latents itself, in its own dtype, so that
        its images of two precisions start from different noise.
        """
        generators = [make_generator(request.seed) for request in requests]
        plan = self._noise_plan
        latents = None if plan is None else plan.draw(generators)
        return Noise(latents, tuple(generator.get_state() for generator in generators))

    def run_whole(
        self, prompts: Sequence[str], noise: Noise, on_step: OnStep | None = None
    ) -> Pixels:
        """Generate a batch by the plain diffusers call.

        Args:
            prompts: One prompt per image of the noise.
            noise: The result of `draw_noise`.
            on_step: Called after each step, where the pipeline can.

        Raises:
            GenerationError: The pipeline returned no images.
        """
        drawing = (
            contextlib.nullcontext() if self.bound is None else drawing_in_float32(self.pipeline)
        )
        with drawing:
            output = self._call(
                prompt=list(prompts),
                **self._negative_prompt(len(prompts)),
                **self._sampling(noise, on_step),
                output_type="np",
            )
        images = getattr(output, "images", None)
        if isinstance(images, list | np.ndarray) and len(images) != len(prompts):
            raise _other_number(self.pipeline, len(images), len(prompts))
        if not isinstance(images, np.ndarray) or images.shape[0] != len(prompts):
            raise GenerationError(
                f"{type(self.pipeline).__name__} returned no images",
                got=type(output if images is None else images).__name__,
                expected=f"an array of {len(prompts)} images",
            )
        return images

    def _call(self, **arguments: Any) -> Any:
        try:
            with known_warnings_ignored():
                return self.pipeline(**arguments)
        except ValueError as error:
            found = _OTHER_BATCH.search(str(error))
            if found is None:
                raise
            asked, made = map(int, found.groups())
            raise _other_number(self.pipeline, made, asked) from error

    def _check_accepted(self) -> None:
        wanted = {
            "num_inference_steps": True,
            "negative_prompt": bool(self.workload.negative_prompt),
            "height": self.workload.height is not None and self.bound is None,
            "width": self.workload.width is not None and self.bound is None,
        }
        for argument, is_wanted in wanted.items():
            if is_wanted and not self._accepts(argument):
                raise ConfigurationError(
                    f"{type(self.pipeline).__name__} cannot be told the {argument}",
                    got=getattr(self.workload, argument),
                    hint=f"leave {BY_FIELD[argument]} out",
                )
        if self.workload.guidance_scale is not None and self.guidance_argument is None:
            raise ConfigurationError(
                f"{type(self.pipeline).__name__} takes no guidance scale",
                got=f"guidance {self.workload.guidance_scale:g}",
                hint=f"leave guidance to the pipeline: {GUIDANCE} none (guidance=none)",
            )

    def _accepts(self, argument: str) -> bool:
        return self._accepts_anything or argument in self._accepted

    def _negative_prompt(self, images: int) -> dict[str, list[str]]:
        """Return the argument; an empty one where guidance would be off without it."""
        workload = self.workload
        needs_one = self.guidance_argument == "true_cfg_scale" and workload.is_guided
        if not workload.negative_prompt and not needs_one:
            return {}
        return {"negative_prompt": [workload.negative_prompt] * images}

    def _sampling(self, noise: Noise, on_step: OnStep | None) -> dict[str, Any]:
        """Collect the call's arguments without prompts, and without those it does not accept."""
        arguments: dict[str, Any] = {
            "num_inference_steps": self.workload.num_inference_steps,
            "height": self.height,
            "width": self.width,
            "latents": noise.latents,
            "generator": noise.generators(),
            "callback_on_step_end": None if on_step is None else _StepCallback(on_step),
        }
        if self.guidance_argument is not None:
            arguments[self.guidance_argument] = self.workload.guidance_scale
        given = {
            name: value
            for name, value in arguments.items()
            if value is not None and self._accepts(name)
        }
        if self.workload.guidance_scale is not None and _SCHEDULE in self._accepted:
            given[_SCHEDULE] = None
        if self.bound is None:
            return given
        return given | self.bound.arguments_for(len(noise.states))


class _StepCallback:
    """Adapts `OnStep` to diffusers' callback, changing nothing in the loop."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def __call__(
        self, _pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self._on_step(step, tensors["latents"])
        return tensors


def make_generator(seed: int) -> torch.Generator:
    """Make a generator on the CPU, which draws the same numbers for every device."""
    return torch.Generator("cpu").manual_seed(seed)
