"""How each family of diffusers pipelines divides into stages.

The decoding halves repeat the last lines of each pipeline's call in diffusers 0.42.1, the only part
that diffusers has no method for. Tests compare them with the plain call byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import torch

from sdperf.device.mps import is_mps_available
from sdperf.errors import ConfigurationError
from sdperf.images.input_files import InputFile
from sdperf.pipeline.separable import SeparableStages
from sdperf.pipeline.stages import Stages
from sdperf.record.workload import Workload
from sdperf.settings import NEGATIVE_PROMPT

_GUIDED_EMBEDS: Final = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)


class StableDiffusionStages(SeparableStages):
    """Stable Diffusion 1.x and 2.x: one text encoder, a UNet."""

    family: ClassVar[str] = "sd"

    def _denoiser(self) -> Any:
        return self.pipeline.unet

    def _own_size(self) -> tuple[int, int]:
        size, factor = self.pipeline.unet.config.sample_size, self.pipeline.vae_scale_factor
        height, width = (size, size) if isinstance(size, int) else size
        return height * factor, width * factor

    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor | None]:
        embeds = self.pipeline.encode_prompt(
            prompts,
            self._device,
            1,
            self.pipeline.do_classifier_free_guidance,
            **self._negative_prompt(len(prompts)),
        )
        return dict(zip(_GUIDED_EMBEDS, embeds, strict=False))

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return _run_vae(self.pipeline.vae, latents / self.pipeline.vae.config.scaling_factor)


class StableDiffusionXLStages(SeparableStages):
    """Stable Diffusion XL: two text encoders, a UNet, a VAE that overflows in float16."""

    family: ClassVar[str] = "sdxl"

    def _denoiser(self) -> Any:
        return self.pipeline.unet

    def _own_size(self) -> tuple[int, int]:
        return _square_size(self.pipeline)

    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor | None]:
        embeds = self.pipeline.encode_prompt(
            prompt=prompts,
            device=self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=self.pipeline.do_classifier_free_guidance,
            **self._negative_prompt(len(prompts)),
        )
        return dict(zip(_GUIDED_EMBEDS, embeds, strict=True))

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self.pipeline.vae
        upcast = vae.dtype == torch.float16 and vae.config.force_upcast
        if upcast:
            vae.to(dtype=torch.float32)
            latents = latents.to(torch.float32)
        elif latents.dtype != vae.dtype and is_mps_available():
            vae.to(latents.dtype)
        try:
            return _run_vae(vae, self._unscaled(latents))
        finally:
            if upcast:
                vae.to(dtype=torch.float16)

    def _unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.pipeline.vae.config
        moments = [getattr(config, name, None) for name in ("latents_mean", "latents_std")]
        unscaled: torch.Tensor
        if None in moments:
            unscaled = latents / config.scaling_factor
        else:
            mean, deviation = (
                torch.tensor(values).view(1, 4, 1, 1).to(latents.device, latents.dtype)
                for values in moments
            )
            unscaled = latents * deviation / config.scaling_factor + mean
        return unscaled


class StableDiffusion3Stages(SeparableStages):
    """Stable Diffusion 3: two CLIP encoders, T5 where present, a transformer."""

    family: ClassVar[str] = "sd3"

    def _denoiser(self) -> Any:
        return self.pipeline.transformer

    def _own_size(self) -> tuple[int, int]:
        return _square_size(self.pipeline)

    def _size_multiple(self) -> int:
        return int(self.pipeline.vae_scale_factor * self.pipeline.patch_size)

    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor | None]:
        embeds = self.pipeline.encode_prompt(
            prompt=prompts,
            prompt_2=None,
            prompt_3=None,
            device=self._device,
            do_classifier_free_guidance=self.pipeline.do_classifier_free_guidance,
            **self._negative_prompt(len(prompts)),
        )
        return dict(zip(_GUIDED_EMBEDS, embeds, strict=True))

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return _run_vae(self.pipeline.vae, _unshifted(self.pipeline.vae.config, latents))


class FluxStages(SeparableStages):
    """Flux: CLIP for the pooled vector, T5 for the tokens, packed latents, distilled guidance."""

    family: ClassVar[str] = "flux"

    def __init__(self, pipeline: Any, workload: Workload) -> None:
        """Bind the two.

        Raises:
            ConfigurationError: The workload asks for a negative prompt or another size.
        """
        super().__init__(pipeline, workload)
        if workload.negative_prompt:
            raise ConfigurationError(
                f"{type(pipeline).__name__} ignores a negative prompt: its guidance is distilled",
                got=workload.negative_prompt,
                hint=f"leave {NEGATIVE_PROMPT} out",
            )

    def _denoiser(self) -> Any:
        return self.pipeline.transformer

    def _own_size(self) -> tuple[int, int]:
        return _square_size(self.pipeline)

    def _size_multiple(self) -> int:
        return int(self.pipeline.vae_scale_factor * 2)

    def _latent_channels(self) -> int:
        return int(self.pipeline.transformer.config.in_channels) // 4

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        packed: torch.Tensor = self.pipeline._pack_latents(latents, *latents.shape)
        return packed

    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor | None]:
        prompt_embeds, pooled_prompt_embeds, _ = self.pipeline.encode_prompt(
            prompt=prompts, prompt_2=None, device=self._device
        )
        return {"prompt_embeds": prompt_embeds, "pooled_prompt_embeds": pooled_prompt_embeds}

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        unpacked = self.pipeline._unpack_latents(
            latents, self.height, self.width, self.pipeline.vae_scale_factor
        )
        return _run_vae(self.pipeline.vae, _unshifted(self.pipeline.vae.config, unpacked))


_FAMILIES: Final[dict[str, type[SeparableStages]]] = {
    "StableDiffusionPipeline": StableDiffusionStages,
    "StableDiffusionXLPipeline": StableDiffusionXLStages,
    "StableDiffusion3Pipeline": StableDiffusion3Stages,
    "FluxPipeline": FluxStages,
}


def stages_for(pipeline: Any, workload: Workload, pictures: Sequence[InputFile] = ()) -> Stages:
    """Bind a pipeline to a workload, with separate stages where its family is known.

    The class that defines the pipeline's call decides. A subclass with its own call runs whole,
    since the stages would not be those of its call.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
        workload: What it generates.
        pictures: Pixels that the workload names, beside those that ship.

    Raises:
        ConfigurationError: The pipeline cannot generate what the workload asks for.
    """
    family = _family_of(pipeline)
    return Stages(pipeline, workload, pictures) if family is None else family(pipeline, workload)


def family_of(pipeline: Any) -> str:
    """Name the family of `stages_for`'s stages; ``whole`` where a pipeline cannot be divided."""
    kind = _family_of(pipeline)
    return Stages.family if kind is None else kind.family


def is_separable(pipeline: Any) -> bool:
    """Tell whether `stages_for` would divide a pipeline into stages."""
    return _family_of(pipeline) is not None


def _family_of(pipeline: Any) -> type[SeparableStages] | None:
    kind = next((base for base in type(pipeline).__mro__ if "__call__" in vars(base)), None)
    known = kind is not None and kind.__module__.startswith("diffusers.")
    return _FAMILIES.get(kind.__name__) if kind is not None and known else None


def _square_size(pipeline: Any) -> tuple[int, int]:
    size = pipeline.default_sample_size * pipeline.vae_scale_factor
    return size, size


def _unshifted(config: Any, latents: torch.Tensor) -> torch.Tensor:
    unshifted: torch.Tensor = (latents / config.scaling_factor) + config.shift_factor
    return unshifted


def _run_vae(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    image: torch.Tensor = vae.decode(latents, return_dict=False)[0]
    return image
