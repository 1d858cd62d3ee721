"""A denoising loop that reads nothing back from the device.

It does the arithmetic of diffusers' own loop, operator by operator, with the pipeline's own
scheduler. Only the place of some values differs. The scheduler's timesteps stay on the host, so
that its bookkeeping (which step is this, is it the last) does not ask the device. Its coefficients
are numbers on the host that are passed to each kernel. The network reads its timestep from a table
on the device. So the host never waits, and all steps can be recorded as one graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch

from sdperf.errors import ConfigurationError
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.pipeline.optimisations.entries import LOOP_SCHEDULERS, RECORDED_SCHEDULERS
from sdperf.pipeline.separable import PromptEmbeds
from sdperf.pipeline.stages import OnStep
from sdperf.settings import SCHEDULER

Conditioning = Mapping[str, torch.Tensor]
"""Inputs of the denoiser beside latents and timestep, by name; (2 B, ...) with guidance."""


class Predict(Protocol):
    """Calls the denoiser."""

    def __call__(
        self,
        step: int,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        conditioning: Conditioning,
    ) -> torch.Tensor:
        """Predict the noise of a step."""


class DenoisingLoop:
    """The loop of Stable Diffusion 1.x and 2.x, bound to a pipeline and a number of steps.

    Source: `StableDiffusionPipeline.__call__` of diffusers 0.42.1.

    Args:
        pipeline: The `diffusers.DiffusionPipeline`.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.

    Attributes:
        predict: Calls the denoiser; at first the plain call.

    Raises:
        ConfigurationError: The scheduler draws noise or is unknown, or the denoiser is distilled
            to take the guidance scale as an input.
    """

    added: ClassVar[tuple[str, ...]] = ()
    """Names of the conditions that the UNet takes as added ones."""

    sets_begin_index: ClassVar[bool] = False
    """Whether the family's own loop tells the scheduler where its steps begin."""

    def __init__(self, pipeline: Any, num_inference_steps: int, guidance_scale: float) -> None:
        check_scheduler(pipeline.scheduler)
        if pipeline.unet.config.time_cond_proj_dim is not None:
            raise ConfigurationError(
                "this denoiser takes the guidance scale as an input, which the loop cannot give",
                got="a UNet with time_cond_proj_dim",
                hint="leave device_loop and loop_graph out",
            )
        self.pipeline = pipeline
        self._steps = num_inference_steps
        self._scale = guidance_scale
        self._guided = guidance_scale > 1
        self.predict: Predict = lambda _step, *inputs: self._call_unet(*inputs)
        self._timesteps: torch.Tensor | None = None

    def condition(self, embeds: PromptEmbeds) -> dict[str, torch.Tensor]:
        """Arrange the embeddings in the denoiser's form, outside any recording."""
        return {"encoder_hidden_states": self._with_negative(embeds, "prompt_embeds")}

    def pick_added(self, conditioning: Conditioning) -> dict[str, torch.Tensor] | None:
        """Pick the UNet's added conditions; ``None`` where it takes none."""
        return {name: conditioning[name] for name in self.added} or None

    def run(
        self, conditioning: Conditioning, latents: torch.Tensor, on_step: OnStep | None = None
    ) -> torch.Tensor:
        """Run all steps.

        Args:
            conditioning: The result of `condition`.
            latents: (B, C, H/f, W/f) float of unit variance, on the device.
            on_step: Called after each step.

        Returns:
            Latents of the same shape, which may still be computed on the device.
        """
        scheduler = self.pipeline.scheduler
        with known_warnings_ignored():
            scheduler.set_timesteps(self._steps, device="cpu")
        if self.sets_begin_index and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        on_device = self._timesteps_on(latents.device, scheduler.timesteps)
        latents = latents * scheduler.init_noise_sigma
        for step, timestep in enumerate(scheduler.timesteps):
            sample = torch.cat([latents] * 2) if self._guided else latents
            sample = scheduler.scale_model_input(sample, timestep)
            noise = self.predict(step, sample, on_device[step], conditioning)
            if self._guided:
                unguided, guided = noise.chunk(2)
                noise = unguided + self._scale * (guided - unguided)
            latents = scheduler.step(noise, timestep, latents, return_dict=False)[0]
            if on_step is not None:
                on_step(step, latents)
        return latents

    def _call_unet(
        self, sample: torch.Tensor, timestep: torch.Tensor, conditioning: Conditioning
    ) -> torch.Tensor:
        predicted: torch.Tensor = self.pipeline.unet(
            sample,
            timestep,
            encoder_hidden_states=conditioning["encoder_hidden_states"],
            added_cond_kwargs=self.pick_added(conditioning),
            return_dict=False,
        )[0]
        return predicted

    def _timesteps_on(self, device: torch.device, timesteps: torch.Tensor) -> torch.Tensor:
        """Keep one table of the timesteps, since a recording reads it at a fixed place."""
        if self._timesteps is None or self._timesteps.device != device:
            self._timesteps = timesteps.to(device)
        return self._timesteps

    def _with_negative(self, embeds: PromptEmbeds, name: str) -> torch.Tensor:
        positive, negative = embeds.arguments[name], embeds.arguments[f"negative_{name}"]
        if not self._guided:
            return _known(positive, name)
        return torch.cat([_known(negative, f"negative_{name}"), _known(positive, name)])


class StableDiffusionXLLoop(DenoisingLoop):
    """The loop of Stable Diffusion XL.

    Source: `StableDiffusionXLPipeline.__call__` of diffusers 0.42.1.
    """

    added: ClassVar[tuple[str, ...]] = ("text_embeds", "time_ids")
    sets_begin_index: ClassVar[bool] = True

    def __init__(self, *args: Any, height: int, width: int, **keywords: Any) -> None:
        """Bind the loop to a size as well, pixels.

        Raises:
            ConfigurationError: For the reasons of `DenoisingLoop`.
        """
        super().__init__(*args, **keywords)
        self._size = (height, width)
        self._time_ids: dict[tuple[int, torch.dtype], torch.Tensor] = {}

    def condition(self, embeds: PromptEmbeds) -> dict[str, torch.Tensor]:
        """Stack embeddings, pooled embeddings and the sizes that the model was trained to know."""
        prompt_embeds = self._with_negative(embeds, "prompt_embeds")
        pooled = self._with_negative(embeds, "pooled_prompt_embeds")
        return {
            "encoder_hidden_states": prompt_embeds,
            "text_embeds": pooled,
            "time_ids": self._sizes(prompt_embeds, pooled),
        }

    def _sizes(self, prompt_embeds: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        rows, dtype = prompt_embeds.shape[0], prompt_embeds.dtype
        if (rows, dtype) not in self._time_ids:
            encoder = self.pipeline.text_encoder_2
            dimension = pooled.shape[-1] if encoder is None else encoder.config.projection_dim
            row = self.pipeline._get_add_time_ids(
                self._size, (0, 0), self._size, dtype=dtype, text_encoder_projection_dim=dimension
            )
            self._time_ids[rows, dtype] = row.to(prompt_embeds.device).repeat(rows, 1)
        return self._time_ids[rows, dtype]


def check_scheduler(scheduler: Any) -> None:
    """Check that a scheduler's steps can run without reading from the device.

    Raises:
        ConfigurationError: It draws noise in its steps, or has not been checked.
    """
    draws = "sde" in str(getattr(scheduler.config, "algorithm_type", ""))
    if type(scheduler).__name__ not in LOOP_SCHEDULERS or draws:
        raise _refuse(
            "device_loop and loop_graph need a scheduler whose steps add no noise",
            f"{type(scheduler).__name__}{' with an SDE algorithm' if draws else ''}",
            LOOP_SCHEDULERS,
        )


def check_recordable(scheduler: Any) -> None:
    """Check that all steps of a scheduler can be recorded as one graph.

    Raises:
        ConfigurationError: Its steps contain work that CUDA cannot record.
    """
    if type(scheduler).__name__ not in RECORDED_SCHEDULERS:
        raise _refuse(
            "loop_graph needs a scheduler whose steps CUDA can record",
            type(scheduler).__name__,
            RECORDED_SCHEDULERS,
        )


def _refuse(what: str, got: str, expected: tuple[str, ...]) -> ConfigurationError:
    return ConfigurationError(
        what,
        got=got,
        expected=", ".join(expected),
        hint=f"{SCHEDULER} DPMSolverMultistepScheduler",
    )


def make_loop(
    family: str,
    pipeline: Any,
    *,
    num_inference_steps: int,
    guidance_scale: float,
    height: int,
    width: int,
) -> DenoisingLoop:
    """Make the loop of a family.

    Args:
        family: ``sd`` or ``sdxl``.
        pipeline: The pipeline.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        height: Pixels.
        width: Pixels.

    Raises:
        ConfigurationError: As for `DenoisingLoop`.
    """
    if family == "sdxl":
        return StableDiffusionXLLoop(
            pipeline, num_inference_steps, guidance_scale, height=height, width=width
        )
    return DenoisingLoop(pipeline, num_inference_steps, guidance_scale)


def _known(tensor: torch.Tensor | None, name: str) -> torch.Tensor:
    if tensor is None:
        raise ConfigurationError("an embedding is missing", got=name)
    return tensor
