"""Stages with the optimisations that change more than a pipeline's networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import torch

from sdperf.images.png import encode_fast_png, encode_png, encode_stored_png
from sdperf.pipeline.optimisations.caches.installed import bind_cache
from sdperf.pipeline.optimisations.caches.step_cache import StepCache
from sdperf.pipeline.optimisations.catalogue import count_images_per_call, find_cache_interval
from sdperf.pipeline.optimisations.compiling import compile_function
from sdperf.pipeline.optimisations.cuda_graphs import Graphed, RecordGraph
from sdperf.pipeline.optimisations.denoising import DenoisingLoop, check_recordable, make_loop
from sdperf.pipeline.optimisations.embeddings import keep_embeddings
from sdperf.pipeline.separable import PromptEmbeds, SeparableStages
from sdperf.pipeline.stages import Noise, OnStep, Pixels, Stages

KEPT_PROMPTS: Final = 256
_ENCODERS: Final = {"stored_png": encode_stored_png, "fast_png": encode_fast_png}
_STAGED: Final = ("device_loop", "loop_graph", "embed_cache", "resident_vae")


def optimise_stages(
    stages: Stages, names: Sequence[str], record: RecordGraph | None = None
) -> Stages:
    """Bind a pipeline's optimisations to its workload.

    Args:
        stages: The pipeline, bound to its workload; its networks are optimised already.
        names: All names that are on, checked.
        record: The function that records a graph; ``None`` records on the CUDA device.

    Returns:
        Stages that draw the same images.

    Raises:
        ConfigurationError: The scheduler or the denoiser does not suit one of them.
    """
    if isinstance(stages, SeparableStages) and set(names) & set(_STAGED):
        stages = OptimisedStages(stages, names, record)
    elif "embed_cache" in names:
        keep_embeddings(stages.pipeline)
    bind_cache(stages)
    stages.images_per_call = count_images_per_call(names)
    stages.encode_png = next((_ENCODERS[name] for name in names if name in _ENCODERS), encode_png)
    return stages


class OptimisedStages(SeparableStages):
    """Stages with their own loop, embeddings and decoding; the rest is the plain family's."""

    def __init__(
        self, plain: SeparableStages, names: Sequence[str], record: RecordGraph | None = None
    ) -> None:
        """Build on the plain stages.

        Raises:
            ConfigurationError: The scheduler or the denoiser does not suit an optimisation.
        """
        self._plain = plain
        super().__init__(plain.pipeline, plain.workload)
        self._embeds: _EmbedCache | None = _EmbedCache() if "embed_cache" in names else None
        self._loop: DenoisingLoop | None = None
        self._recorded: Graphed | None = None
        if {"device_loop", "loop_graph"} & set(names):
            self._loop = self._make_loop(names)
        if self._loop is not None and "loop_graph" in names:
            check_recordable(plain.pipeline.scheduler)
            self._recorded = Graphed(self._loop.run, record=record, warmups=1)
            self.has_steps = False

    def run_whole(
        self, prompts: Sequence[str], noise: Noise, on_step: OnStep | None = None
    ) -> Pixels:
        """Generate a batch stage by stage, since the plain call would not be optimised."""
        return self.decode_latents(self.denoise(self.encode_prompt(prompts), noise, on_step))

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Turn prompts into embeddings, or return kept ones."""
        if self._embeds is None:
            return self._plain.encode_prompt(prompts)
        missing = self._embeds.find_missing(prompts)
        if missing:
            self._embeds.keep(missing, self._plain.encode_prompt(missing))
        return self._embeds.gather(prompts)

    @torch.no_grad()
    def denoise(
        self, embeds: PromptEmbeds, noise: Noise, on_step: OnStep | None = None
    ) -> torch.Tensor:
        """Run all denoising steps; their recording is not used where each step is needed.

        Args:
            embeds: The result of `encode_prompt`.
            noise: The result of `draw_noise`, for the same number of images.
            on_step: Called after each step.
        """
        if self._loop is None or noise.latents is None:
            return self._plain.denoise(embeds, noise, on_step)
        conditioning = self._loop.condition(embeds)
        if self._recorded is not None and on_step is None:
            latents: torch.Tensor = self._recorded(conditioning, noise.latents)
            return latents
        return self._loop.run(conditioning, noise.latents, on_step)

    def _make_loop(self, names: Sequence[str]) -> DenoisingLoop:
        loop = make_loop(
            self._plain.family,
            self.pipeline,
            num_inference_steps=self.workload.num_inference_steps,
            guidance_scale=self.guidance_scale or 0.0,
            height=self.height,
            width=self.width,
        )
        interval = find_cache_interval(names)
        if interval is not None:
            wrap = {"wrap": compile_function} if "compile" in names else {}
            loop.predict = StepCache(self.pipeline.unet, interval, loop.pick_added, **wrap)
        return loop

    def _denoiser(self) -> Any:
        return self._plain._denoiser()

    def _own_size(self) -> tuple[int, int]:
        return self._plain._own_size()

    def _size_multiple(self) -> int:
        return self._plain._size_multiple()

    def _latent_channels(self) -> int:
        return self._plain._latent_channels()

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        return self._plain._pack(latents)

    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor | None]:
        return self._plain._encode(prompts)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode in the VAE's own format, which `resident_vae` may have made float32 for good."""
        vae = self.pipeline.vae
        if vae.dtype == torch.float32:
            latents = latents.to(torch.float32)
        return self._plain._decode(latents)


class _EmbedCache:
    """Keeps each prompt's embeddings; the oldest are dropped first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, torch.Tensor | None]] = OrderedDict()

    def find_missing(self, prompts: Sequence[str]) -> list[str]:
        return [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]

    def keep(self, prompts: Sequence[str], embeds: PromptEmbeds) -> None:
        for row, prompt in enumerate(prompts):
            self._kept[prompt] = {
                name: None if tensor is None else tensor[row : row + 1]
                for name, tensor in embeds.arguments.items()
            }
        while len(self._kept) > max(KEPT_PROMPTS, len(prompts)):
            self._kept.popitem(last=False)

    def gather(self, prompts: Sequence[str]) -> PromptEmbeds:
        rows = [self._kept[prompt] for prompt in prompts]
        return PromptEmbeds({name: _stack([row[name] for row in rows]) for name in rows[0]})


def _stack(tensors: list[torch.Tensor | None]) -> torch.Tensor | None:
    known = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(known) if len(known) == len(tensors) else None
