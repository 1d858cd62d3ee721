"""One image, stage by stage, with something done around each stage; never part of a timed round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.stages import OnStep, Pixels, SeparableStages, Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.measurement import StageName
from sdperf.record.workload import ImageRequest

T = TypeVar("T")


class Around(Protocol):
    """Does a stage's work and something around it: reads clocks, counts, leaves a mark."""

    def __call__(self, stage: StageName, work: Callable[[], T]) -> T:
        """Call ``work`` once and return what it returned."""


def generate_stagewise(
    stages: Stages,
    ahead: TokenizeAhead,
    request: ImageRequest,
    around: Around,
    on_step: OnStep | None = None,
) -> bytes:
    """Generate and deliver one image, each stage inside ``around``.

    Args:
        stages: The pipeline, bound to its workload.
        ahead: Stand-ins for its tokenizers, entered, and taught how they are called.
        request: The image.
        around: Called once a stage, in order.
        on_step: Called after each denoising step.

    Returns:
        The PNG bytes.
    """
    prompts = [request.prompt]
    noise = around("draw_noise", lambda: stages.draw_noise([request]))
    pixels: Pixels
    if isinstance(stages, SeparableStages):
        around("tokenise", lambda: ahead.prime(prompts))
        embeds = around("encode_prompt", lambda: stages.encode_prompt(prompts))
        latents = around("denoise", lambda: stages.denoise(embeds, noise, on_step))
        pixels = around("decode_latents", lambda: stages.decode_latents(latents))
    else:
        pixels = around("whole", lambda: stages.run_whole(prompts, noise, on_step))
    return around("deliver", lambda: stages.encode_png(to_uint8(pixels)[0]))
