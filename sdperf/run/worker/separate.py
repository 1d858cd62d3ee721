"""One stage alone, on fixed inputs; inside the worker.

The inputs come from one untimed generation and are kept. What a timed stage gives is compared with
what it gave then: where it is equal, the image is the known one, else the stages after it run,
untimed, so that a stage that got faster and worse is seen in the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sdperf.measure.clock import Clock, Interval, timed
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.separable import PromptEmbeds, SeparableStages
from sdperf.pipeline.stages import Noise, Pixels
from sdperf.record.stages import SeparateStage
from sdperf.record.workload import ImageRequest
from sdperf.run.worker.synchronous import Generated


@dataclass(frozen=True)
class _Made:
    """Everything that one generation passes from stage to stage."""

    noise: Noise
    embeds: PromptEmbeds
    latents: torch.Tensor
    pixels: Pixels
    png: bytes


class SeparateStages:
    """Runs stages of one image alone.

    Args:
        stages: The pipeline, bound to its workload.
        request: The image.
    """

    def __init__(self, stages: SeparableStages, request: ImageRequest) -> None:
        self.stages = stages
        self.request = request
        self._prompts = [request.prompt]
        noise = stages.draw_noise([request])
        embeds = stages.encode_prompt(self._prompts)
        self._made = self._finish_embeds(noise, embeds)

    def run(
        self, stage: SeparateStage, *, synchronize: Callable[[], None], clock: Clock
    ) -> Interval[list[Generated]]:
        """Time one stage; finishing the image is outside the borders.

        ``encode_prompt`` includes tokenising, ``denoise`` is the whole loop.
        """
        interval = timed(self._work(stage), synchronize=synchronize, clock=clock)
        made = self._finish(stage, interval.result)
        generated = Generated(made.png, interval.duration_s, made.pixels)
        return Interval(interval.start_s, interval.end_s, [generated], interval.cpu_s)

    def _work(self, stage: SeparateStage) -> Callable[[], Any]:
        stages, made = self.stages, self._made
        works: dict[SeparateStage, Callable[[], Any]] = {
            "encode_prompt": lambda: stages.encode_prompt(self._prompts),
            "denoise": lambda: stages.denoise(made.embeds, made.noise),
            "decode_latents": lambda: stages.decode_latents(made.latents),
            "deliver": lambda: self._deliver(made.pixels),
        }
        return works[stage]

    def _finish(self, stage: SeparateStage, result: Any) -> _Made:
        made = self._made
        if stage == "encode_prompt":
            equal = _are_equal(result, made.embeds)
            return made if equal else self._finish_embeds(made.noise, result)
        if stage == "denoise":
            equal = torch.equal(result, made.latents)
            return made if equal else self._finish_latents(made.noise, made.embeds, result)
        pixels = result if stage == "decode_latents" else made.pixels
        if np.array_equal(pixels, made.pixels) and (stage != "deliver" or result == made.png):
            return made
        png = result if stage == "deliver" else self._deliver(pixels)
        return _Made(made.noise, made.embeds, made.latents, pixels, png)

    def _finish_embeds(self, noise: Noise, embeds: PromptEmbeds) -> _Made:
        return self._finish_latents(noise, embeds, self.stages.denoise(embeds, noise))

    def _finish_latents(self, noise: Noise, embeds: PromptEmbeds, latents: torch.Tensor) -> _Made:
        pixels = self.stages.decode_latents(latents)
        return _Made(noise, embeds, latents, pixels, self._deliver(pixels))

    def _deliver(self, pixels: Pixels) -> bytes:
        return self.stages.encode_png(to_uint8(pixels)[0])


def _are_equal(one: PromptEmbeds, other: PromptEmbeds) -> bool:
    return one.arguments.keys() == other.arguments.keys() and all(
        first is second or (first is not None and second is not None and torch.equal(first, second))
        for first, second in zip(one.arguments.values(), other.arguments.values(), strict=True)
    )
