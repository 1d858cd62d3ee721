"""Stage times of one image, synchronised at every border; never part of a timed round."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sdperf.measure.clock import Clock, timed
from sdperf.measurement import StageTimes
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.stages import SeparableStages, Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.png import encode_png
from sdperf.workload import ImageRequest


def profile_image(
    stages: Stages,
    ahead: TokenizeAhead,
    request: ImageRequest,
    *,
    synchronize: Callable[[], None],
    clock: Clock,
) -> StageTimes:
    """Generate one image stage by stage and time each.

    A pipeline that cannot be divided is timed as a whole, apart from delivery.

    Args:
        stages: The pipeline, bound to its workload.
        ahead: Stand-ins for its tokenizers, entered, and taught how they are called.
        request: The image.
        synchronize: Returns when the device's queue is empty.
        clock: Returns seconds.
    """
    prompts = [request.prompt]
    noise = stages.draw_noise([request])
    if not isinstance(stages, SeparableStages):
        whole = timed(
            lambda: stages.run_whole(prompts, noise), synchronize=synchronize, clock=clock
        )
        delivered = timed(
            lambda: encode_png(to_uint8(whole.result)[0]), synchronize=synchronize, clock=clock
        )
        return StageTimes(total_s=delivered.end_s - whole.start_s, deliver_s=delivered.duration_s)

    step_ends_s: list[float] = []

    def note_step(_step: int, _latents: torch.Tensor) -> None:
        synchronize()
        step_ends_s.append(clock())

    tokenised = timed(lambda: ahead.prime(prompts), synchronize=synchronize, clock=clock)
    encoded = timed(lambda: stages.encode_prompt(prompts), synchronize=synchronize, clock=clock)
    denoised = timed(
        lambda: stages.denoise(encoded.result, noise, note_step),
        synchronize=synchronize,
        clock=clock,
    )
    decoded = timed(
        lambda: stages.decode_latents(denoised.result), synchronize=synchronize, clock=clock
    )
    delivered = timed(
        lambda: encode_png(to_uint8(decoded.result)[0]), synchronize=synchronize, clock=clock
    )
    starts_s = [denoised.start_s, *step_ends_s]
    return StageTimes(
        total_s=delivered.end_s - tokenised.start_s,
        tokenise_s=tokenised.duration_s,
        encode_prompt_s=encoded.duration_s,
        denoise_s=denoised.duration_s,
        decode_latents_s=decoded.duration_s,
        deliver_s=delivered.duration_s,
        steps_s=tuple(
            end_s - start_s for start_s, end_s in zip(starts_s, step_ends_s, strict=False)
        ),
    )
