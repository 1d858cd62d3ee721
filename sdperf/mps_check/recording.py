"""One generation of a pipeline under a recorder, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from sdperf.errors import GenerationError, SdperfError
from sdperf.mps_check.calls import MpsRecording
from sdperf.mps_check.dispatch import DispatchTable
from sdperf.mps_check.preparing import (
    change_picture,
    make_video,
    makes_a_video,
    takes_a_picture,
)
from sdperf.mps_check.recorder import (
    Recorder,
    move_to_stand_ins,
    name_modules,
    undo_compiling,
)
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.scheduling import apply_scheduler
from sdperf.pipeline.separable import SeparableStages
from sdperf.record.stages import StageName
from sdperf.record.workload import Precision, Workload
from sdperf.settings import DEVICE

T = TypeVar("T")


def record_generation(
    pipeline: Any,
    workload: Workload,
    table: DispatchTable,
    *,
    precision: Precision,
    keeps_values: bool = False,
) -> MpsRecording:
    """Generate one image, or one video, and record every operator that MPS would be asked for.

    Args:
        pipeline: A diffusers pipeline on the CPU or on ``meta``; it cannot be used afterwards.
        workload: The workload.
        table: Routes of operators in the judged version.
        precision: The precision in which the pipeline was loaded.
        keeps_values: Whether to compute all values; else only small tensors have values.

    Raises:
        GenerationError: The pipeline failed.
    """
    apply_scheduler(pipeline, workload.scheduler)
    compiled = undo_compiling(pipeline)
    parts = dict(pipeline.components)
    recorder = Recorder(table, name_modules(parts), compiled, keeps_values=keeps_values)
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            move_to_stand_ins(part, recorder.computer)
    is_plain = takes_a_picture(pipeline) or makes_a_video(pipeline)
    stages = None if is_plain else stages_for(pipeline, workload)
    size: Sequence[int | None] = (None, None) if stages is None else (stages.height, stages.width)
    frames: int | None = None
    request = workload.image(0)

    def during(stage: StageName, work: Callable[[], T]) -> T:
        recorder.stage = stage
        return work()

    with recorder.listening():
        try:
            if takes_a_picture(pipeline):
                size = during("whole", lambda: change_picture(pipeline, workload))
            elif stages is None:
                *size, frames = during("whole", lambda: make_video(pipeline, workload))
            elif isinstance(stages, SeparableStages):
                separable = stages
                noise = during("draw_noise", lambda: separable.draw_noise([request]))
                embeds = during("encode_prompt", lambda: separable.encode_prompt([request.prompt]))
                latents = during("denoise", lambda: separable.denoise(embeds, noise))
                during("decode_latents", lambda: separable.decode_latents(latents))
            else:
                whole = stages
                noise = during("draw_noise", lambda: whole.draw_noise([request]))
                during("whole", lambda: whole.run_whole([request.prompt], noise))
        except SdperfError:
            raise
        except Exception as error:
            raise GenerationError(
                "the generation failed while it was recorded",
                got=f"{type(error).__name__}: {error}",
                hint=f"does it run with {DEVICE} cpu? If so, try --values",
            ) from error
    return MpsRecording(
        calls=recorder.calls,
        precision=precision,
        height=size[0],
        width=size[1],
        steps=workload.num_inference_steps,
        has_values=keeps_values,
        frames=frames,
    )
