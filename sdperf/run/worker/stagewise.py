"""One image, stage by stage, with something done around each stage; never part of a timed round."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from sdperf.pipeline.borders import find_borders
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.separable import SeparableStages
from sdperf.pipeline.stages import Noise, OnStep, Pixels, Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.stages import StageName
from sdperf.record.workload import ImageRequest

Around = Callable[[StageName], AbstractContextManager[None]]
"""Is entered where a stage begins and left where it ends: reads clocks, counts, leaves a mark."""


def generate_stagewise(
    stages: Stages,
    ahead: TokenizeAhead,
    request: ImageRequest,
    around: Around,
    on_step: OnStep | None = None,
) -> bytes:
    """Generate and deliver one image, each stage inside ``around``.

    A pipeline whose stages cannot be called one by one is called whole, and divided by the hooks of
    `sdperf.pipeline.borders`: what comes before the first encoding of an input picture, or
    before the denoiser's first call, is ``encode_prompt``.

    Args:
        stages: The pipeline, bound to its workload.
        ahead: Stand-ins for its tokenizers, entered, and taught how they are called.
        request: The image.
        around: Entered once a stage, in order.
        on_step: Called after each denoising step.

    Returns:
        The PNG bytes.
    """
    prompts = [request.prompt]
    with around("draw_noise"):
        noise = stages.draw_noise([request])
    pixels: Pixels
    if isinstance(stages, SeparableStages):
        with around("tokenise"):
            ahead.prime(prompts)
        with around("encode_prompt"):
            embeds = stages.encode_prompt(prompts)
        with around("denoise"):
            latents = stages.denoise(embeds, noise, on_step)
        with around("decode_latents"):
            pixels = stages.decode_latents(latents)
    else:
        pixels = _run_divided(stages, prompts, noise, around, on_step)
    with around("deliver"):
        return stages.encode_png(to_uint8(pixels)[0])


def _run_divided(
    stages: Stages, prompts: list[str], noise: Noise, around: Around, on_step: OnStep | None
) -> Pixels:
    borders = find_borders(stages.pipeline, encodes_image=stages.bound is not None)
    if borders is None:
        with around("whole"):
            return stages.run_whole(prompts, noise, on_step)
    with ExitStack() as stage:

        def enter(name: StageName) -> None:
            stage.close()
            stage.enter_context(around(name))

        enter("encode_prompt")
        with borders.watching(enter):
            return stages.run_whole(prompts, noise, on_step)
