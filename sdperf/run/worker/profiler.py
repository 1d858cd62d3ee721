"""Stage times of one image, synchronised at every border; never part of a timed round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import torch

from sdperf.device import DeviceKind
from sdperf.errors import GenerationError
from sdperf.measure.clock import Clock, timed_block
from sdperf.pipeline.stages import Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.stages import StageName, StageTimes
from sdperf.record.workload import ImageRequest
from sdperf.run.worker.stagewise import generate_stagewise
from sdperf.settings import TRACE

_DEVICE_ACTIVITIES: Final = {"cuda": torch.profiler.ProfilerActivity.CUDA}
"""What torch's profiler can see of a device; of an Apple GPU it sees the host's side only."""


def profile_image(
    stages: Stages,
    ahead: TokenizeAhead,
    request: ImageRequest,
    *,
    synchronize: Callable[[], None],
    clock: Clock,
) -> StageTimes:
    """Generate one image stage by stage and time each.

    A pipeline without a denoiser and a decoder to divide it by is timed as a whole, apart from
    noise and delivery.

    Args:
        stages: The pipeline, bound to its workload.
        ahead: Stand-ins for its tokenizers, entered, and taught how they are called.
        request: The image.
        synchronize: Returns when the device's queue is empty.
        clock: Returns seconds.
    """
    borders_s: dict[StageName, tuple[float, float]] = {}
    step_ends_s: list[float] = []

    def around(stage: StageName) -> AbstractContextManager[None]:
        def note(start_s: float, end_s: float) -> None:
            borders_s[stage] = (start_s, end_s)

        return timed_block(note, synchronize=synchronize, clock=clock)

    def note_step(_step: int, _latents: torch.Tensor) -> None:
        synchronize()
        step_ends_s.append(clock())

    on_step = note_step if stages.has_steps else None
    generate_stagewise(stages, ahead, request, around, on_step)
    seconds = {f"{stage}_s": end_s - start_s for stage, (start_s, end_s) in borders_s.items()}
    loop = borders_s.get("denoise") or borders_s.get("whole") or (0.0, 0.0)
    starts_s = [loop[0], *step_ends_s]
    return StageTimes(
        total_s=borders_s["deliver"][1] - borders_s["draw_noise"][0],
        steps_s=tuple(
            end_s - start_s for start_s, end_s in zip(starts_s, step_ends_s, strict=False)
        )
        if "denoise" in borders_s and stages.has_steps
        else (),
        **seconds,
    )


def trace_image(
    stages: Stages,
    ahead: TokenizeAhead,
    request: ImageRequest,
    *,
    synchronize: Callable[[], None],
    device_kind: DeviceKind,
    path: Path,
) -> None:
    """Write a Chrome trace of one image, its stages marked by name.

    Args:
        stages: As for `profile_image`.
        ahead: As for `profile_image`.
        request: The image.
        synchronize: Returns when the device's queue is empty; called at the stages' borders.
        device_kind: Whose activity is recorded beside the host's.
        path: Where to; compressed where it ends in ``.gz``. What is there is replaced.

    Raises:
        GenerationError: The trace cannot be written.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device_kind in _DEVICE_ACTIVITIES:
        activities.append(_DEVICE_ACTIVITIES[device_kind])

    @contextmanager
    def around(stage: StageName) -> Iterator[None]:
        with torch.profiler.record_function(stage):
            yield
            synchronize()

    path.unlink(missing_ok=True)
    # torch 2.9 to 2.12 else warn that events of other cycles are not kept, though there are none.
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        generate_stagewise(stages, ahead, request, around)
    try:
        profiler.export_chrome_trace(str(path))
    except OSError as error:
        raise _unwritable(path) from error
    if not path.is_file():  # the profiler only says so on standard error
        raise _unwritable(path)


def _unwritable(path: Path) -> GenerationError:
    return GenerationError(
        "the trace cannot be written", got=path, hint=f"give {TRACE} a file that can be written"
    )
