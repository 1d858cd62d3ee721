"""A pipeline bound to a workload: noise, the plain call, and the stages where they separate.

One thread at a time may be inside a stage; two different stages may run on two threads, except
on MPS, where one thread owns the device.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from sdperf.errors import ConfigurationError, GenerationError
from sdperf.images.png import encode_png
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.sampling import find_guidance_argument
from sdperf.pipeline.own_noise import NoisePlan, learn_noise
from sdperf.record.workload import ImageRequest, Workload
from sdperf.settings import BY_FIELD, GUIDANCE, SIZE
from sdperf.units import format_quantity

Pixels = npt.NDArray[np.floating[Any]]
"""(B, H, W, 3) float32 in [0, 1], on the host; `to_uint8` makes bytes of it."""

OnStep = Callable[[int, torch.Tensor], None]
"""Called after each step of the scheduler with its index and the latents it left.

A scheduler can take more steps than were asked for: PNDM one more, Heun about twice as many.
"""

_SCHEDULE: Final = "guidance_schedule"
"""A scale for each step, which Ideogram 4 has by default and takes in the place of one scale."""


@dataclass(frozen=True)
class Noise:
    """The starting noise of a batch; reused, it gives the same images again.

    Attributes:
        latents: (B, C, H/f, W/f) float in the pipeline's dtype, on its device, of unit variance
            (Flux: packed to (B, H/2f * W/2f, 4C); other pipelines: as their call takes it);
            ``None`` where the pipeline draws it itself.
        states: For each image, the state of its CPU generator after the latents were drawn:
            noise that a scheduler adds in its steps goes on from there.
    """

    latents: torch.Tensor | None
    states: tuple[torch.Tensor, ...]

    def generators(self) -> list[torch.Generator]:
        """Return fresh generators, one an image, each where the drawing left off."""
        return [torch.Generator("cpu").set_state(state) for state in self.states]


_OTHER_BATCH: Final = re.compile(
    r"list of generators of length (\d+), but requested an effective batch size of (\d+)"
)
"""diffusers' words where a call makes another number of images than it was given noise for."""


def _other_number(pipeline: Any, made: int, asked: int) -> GenerationError:
    return GenerationError(
        f"{type(pipeline).__name__} makes {format_quantity(made, 'image')} where it was asked for "
        f"{asked}",
        expected="one image of each prompt",
        hint="leave num_images_per_prompt alone, and return what was generated",
    )


@dataclass(frozen=True)
class PromptEmbeds:
    """What text encoding hands to denoising: opaque to callers.

    Attributes:
        arguments: Tensors by the name of the pipeline's argument; ``None`` where unused.
    """

    arguments: Mapping[str, torch.Tensor | None]


class Stages:
    """A pipeline bound to a workload, run whole: nothing is known of its stages.

    This class serves any diffusers text-to-image pipeline; `SeparableStages` those that divide.
    What diffusers raises passes through.

    Attributes:
        family: Name of the way the pipeline is divided.
        pipeline: The `diffusers.DiffusionPipeline`.
        workload: What it generates.
        height: Pixels; ``None`` where only the pipeline knows its own size.
        width: Pixels; the same.
        images_per_call: Images of a stream that are generated together.
        encode_png: Makes the delivered file of (H, W, 3) uint8 pixels; safe on any thread.
        guidance_scale: The scale that the call works with: the workload's, else the call's default.
        guidance_argument: What the pipeline calls the strength of guidance; ``None`` where it takes
            none.
        has_steps: Whether steps can be timed one by one: they are not parts of one recording.
    """

    family: ClassVar[str] = "whole"
    images_per_call: int = 1
    has_steps: bool = True

    def __init__(self, pipeline: Any, workload: Workload) -> None:
        """Bind the two.

        Raises:
            ConfigurationError: The pipeline cannot generate what the workload asks for.
        """
        self.pipeline = pipeline
        self.workload = workload
        self.height = workload.height
        self.width = workload.width
        self.encode_png: Callable[[npt.NDArray[np.uint8]], bytes] = encode_png
        parameters = inspect.signature(type(pipeline).__call__).parameters
        self._accepts_anything = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
        self._accepted = frozenset(parameters)
        self._noise_plan: NoisePlan | None = None
        defaults = {name: item.default for name, item in parameters.items()}
        self.guidance_argument = find_guidance_argument(defaults)
        if self.guidance_argument is None and self._accepts_anything:
            self.guidance_argument = "guidance_scale"
        self.guidance_scale: float | None = workload.guidance_scale
        if self.guidance_scale is None:
            self.guidance_scale = defaults.get(self.guidance_argument or "")
        self._check_accepted()

    @torch.no_grad()
    def learn(self, prompts: Sequence[str]) -> None:
        """Find out how the pipeline takes starting noise; once, before anything is timed.

        Its call is made up to the denoiser, two or three times.

        Args:
            prompts: One.
        """

        def call(latents: torch.Tensor | None, generators: list[torch.Generator]) -> object:
            arguments = self._sampling(Noise(latents, ()), None)
            return self._call(
                prompt=list(prompts),
                **self._negative_prompt(len(prompts)),
                **arguments | {"generator": generators},
                output_type="np",
            )

        if self._accepts("latents") and self._accepts("generator"):
            self._noise_plan = learn_noise(self.pipeline, call)

    def draw_noise(self, requests: Sequence[ImageRequest]) -> Noise:
        """Prepare the starting noise of a batch from each image's own seed.

        Where `learn` found how the pipeline takes noise, it is drawn in float32 on the CPU, one
        image at a time: equal for every device, precision, mode and place in a batch, apart from
        the rounding. Otherwise the pipeline draws its latents itself, in its own dtype, so that
        its images of two precisions start from different noise.
        """
        generators = [_seeded(request.seed) for request in requests]
        plan = self._noise_plan
        latents = None if plan is None else plan.draw(generators)
        return Noise(latents, tuple(generator.get_state() for generator in generators))

    def run_whole(
        self, prompts: Sequence[str], noise: Noise, on_step: OnStep | None = None
    ) -> Pixels:
        """Generate a batch by the plain diffusers call.

        Args:
            prompts: One an image of the noise.
            noise: From `draw_noise`.
            on_step: Called after each step, where the pipeline can.

        Raises:
            GenerationError: The pipeline returned no images.
        """
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
            "height": self.workload.height is not None,
            "width": self.workload.width is not None,
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
        """Return the argument; an empty one where guidance would be dropped without it."""
        workload = self.workload
        needs_one = self.guidance_argument == "true_cfg_scale" and workload.is_guided
        if not workload.negative_prompt and not needs_one:
            return {}
        return {"negative_prompt": [workload.negative_prompt] * images}

    def _sampling(self, noise: Noise, on_step: OnStep | None) -> dict[str, Any]:
        """Collect the call's arguments apart from prompts; what is not accepted stays out."""
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
        return given


class SeparableStages(Stages, ABC):
    """A pipeline whose stages can be run one by one, with the bytes of `Stages.run_whole`.

    Attributes:
        height: Pixels.
        width: Pixels.
    """

    height: int
    width: int

    def __init__(self, pipeline: Any, workload: Workload) -> None:
        """Bind the two.

        Raises:
            ConfigurationError: The pipeline cannot generate what the workload asks for.
        """
        super().__init__(pipeline, workload)
        # Both walk through all modules of a pipeline: milliseconds, too many for every image.
        self._device: torch.device = pipeline._execution_device
        self._dtype: torch.dtype = self._denoiser().dtype
        height, width = self._own_size()
        self.height = workload.height or height
        self.width = workload.width or width
        multiple = self._size_multiple()
        fitting = [max(1, round(one / multiple)) * multiple for one in (self.width, self.height)]
        for name, size in (("height", self.height), ("width", self.width)):
            if size % multiple:
                raise ConfigurationError(
                    f"{type(pipeline).__name__} cannot generate this {name}",
                    got=size,
                    expected=f"a multiple of {multiple} pixels",
                    hint=f"{SIZE} {fitting[0]}x{fitting[1]}",
                )

    def draw_noise(self, requests: Sequence[ImageRequest]) -> Noise:
        """Draw the starting noise of a batch from each image's own seed.

        It is drawn in float32 on the CPU, one image at a time, and then cast and moved: equal
        for every device, precision, mode and place in a batch, apart from the rounding.
        """
        generators = [_seeded(request.seed) for request in requests]
        shape = (1, self._latent_channels(), *self._latent_size())
        latents = torch.cat(
            [
                torch.randn(shape, generator=generator, dtype=torch.float32)
                for generator in generators
            ]
        )
        placed = _move(latents.to(self._dtype), self._device)
        return Noise(self._pack(placed), tuple(generator.get_state() for generator in generators))

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Turn prompts into embeddings: tokenising and all text encoders.

        Args:
            prompts: One an image of the batch.
        """
        # The pipeline's own rule for guidance reads the scale of the call that is under way.
        self.pipeline._guidance_scale = self.guidance_scale
        return PromptEmbeds(self._encode(list(prompts)))

    @torch.no_grad()
    def denoise(
        self, embeds: PromptEmbeds, noise: Noise, on_step: OnStep | None = None
    ) -> torch.Tensor:
        """Run all denoising steps, through the pipeline's own call.

        Args:
            embeds: From `encode_prompt`.
            noise: From `draw_noise`, of as many images.
            on_step: Called after each step.

        Returns:
            Latents of the noise's shape, float, on the device; maybe still being computed.
        """
        output = self._call(
            **embeds.arguments, **self._sampling(noise, on_step), output_type="latent"
        )
        latents: torch.Tensor = output.images
        return latents

    def decode_latents(self, latents: torch.Tensor) -> Pixels:
        """Turn latents into pixels on the host; waits for the device.

        Args:
            latents: From `denoise`.
        """
        return self.start_decoding(latents)()

    @torch.no_grad()
    def start_decoding(self, latents: torch.Tensor) -> Callable[[], Pixels]:
        """Queue everything that turns latents into pixels; on CUDA without waiting for it.

        Args:
            latents: From `denoise`.

        Returns:
            What waits and returns the pixels, on any thread, and calls no operator of torch: a
            second thread that does opens a second team of OpenMP threads, and the device thread's
            team works at half its speed from then on (`docs/what-a-case-leaves-behind.md`). On
            other devices than CUDA the pixels are there already: only one thread may touch an Apple
            GPU.
        """
        image = self.pipeline.image_processor.postprocess(self._decode(latents), output_type="pt")
        self.pipeline.maybe_free_model_hooks()
        wait: Callable[[], None] = _noop
        if image.device.type == "cuda":
            host = torch.empty(image.shape, dtype=image.dtype, pin_memory=True)
            image = host.copy_(image, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
            wait = copied.synchronize
        else:
            image = image.cpu()
        widen = _view_as_numpy(image)

        def fetch() -> Pixels:
            wait()
            return widen().transpose(0, 2, 3, 1)

        return fetch

    @abstractmethod
    def _denoiser(self) -> Any:
        """Return the network that denoises."""

    @abstractmethod
    def _own_size(self) -> tuple[int, int]:
        """Return the height and width that the pipeline generates unasked, pixels."""

    @abstractmethod
    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor | None]:
        """Run the text encoders as the pipeline's call does."""

    @abstractmethod
    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Undo the latents' scaling and run the VAE: (B, 3, H, W) float in [-1, 1]."""

    def _size_multiple(self) -> int:
        return int(self.pipeline.vae_scale_factor)

    def _latent_channels(self) -> int:
        return int(self._denoiser().config.in_channels)

    def _latent_size(self) -> tuple[int, int]:
        factor = self.pipeline.vae_scale_factor
        return self.height // factor, self.width // factor

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


class _StepCallback:
    """Adapts `OnStep` to diffusers' callback, changing nothing in the loop."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def __call__(
        self, _pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self._on_step(step, tensors["latents"])
        return tensors


def _noop() -> None:
    """Wait for nothing."""


def _view_as_numpy(image: torch.Tensor) -> Callable[[], npt.NDArray[np.float32]]:
    """Let numpy read a host tensor; the conversion waits until it is called, on any thread.

    Args:
        image: Float tensor of any shape on the host, maybe still being filled.

    Returns:
        What converts the values to float32, exactly; numpy does it and torch takes no part.
    """
    if image.dtype == torch.bfloat16:
        # numpy has no bfloat16: it is the upper half of a float32.
        halves = image.view(torch.int16).numpy().view(np.uint16)
        return lambda: (halves.astype(np.uint32) << 16).view(np.float32)
    values = image.numpy()
    return lambda: values.astype(np.float32, copy=False)


def _move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a host tensor; to CUDA through pinned memory, without waiting for what is queued."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)
