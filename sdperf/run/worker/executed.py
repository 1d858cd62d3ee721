"""Counts what one whole round executes, without touching its work; inside the worker.

The scheduler's step and the denoiser's call are counted while a worker makes its first call, which
is no timed round. Afterwards nothing is left on the pipeline.
"""

from __future__ import annotations

import contextlib
import copy
import math
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import torch

from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.layout import DENOISERS
from sdperf.pipeline.borders import find_denoiser, stand_in
from sdperf.pipeline.input_pictures import plan_drawn_steps
from sdperf.pipeline.optimisations.catalogue import QUANTISATIONS
from sdperf.pipeline.stages import Stages
from sdperf.record.execution import AskedExecution, Execution
from sdperf.record.workload import TORCH, Workload

_PRECISIONS: Final = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
_DOUBLES_ITS_BATCH: Final = tuple(
    f"StableDiffusion{version}{task}Pipeline"
    for version in ("", "XL", "3")
    for task in ("", "Img2Img", "Inpaint")
)
"""Pipelines that guide by a batch of twice the images; others call twice, or were distilled."""

_PNG_SIZE: Final = struct.Struct(">II")
_PNG_SIZE_OFFSET: Final = 16
_CHANNELS_LAST: Final = {"channels_last": DENOISERS, "channels_last_vae": ("vae",)}


class ExecutionCount:
    """Counts while a pipeline runs; see `count_execution`.

    Attributes:
        steps: Calls of the scheduler's step since it last set its timesteps.
        calls: Calls of the denoiser since then.
        batch: Largest batch of a denoiser's call.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.calls = 0
        self.batch = 0

    def start(self) -> None:
        """Begin again: the scheduler sets its timesteps for another call of the pipeline."""
        self.steps = self.calls = 0


@contextlib.contextmanager
def count_execution(pipeline: Any) -> Iterator[ExecutionCount]:
    """Count what a pipeline executes meanwhile.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
    """
    counted = ExecutionCount()
    scheduler, denoiser = getattr(pipeline, "scheduler", None), find_denoiser(pipeline)
    with contextlib.ExitStack() as stack:
        if scheduler is not None:

            def step(*args: Any, **keywords: Any) -> Any:
                counted.steps += 1
                return plain_step(*args, **keywords)

            def set_timesteps(*args: Any, **keywords: Any) -> Any:
                counted.start()
                return plain_set_timesteps(*args, **keywords)

            # Signatures are looked at: diffusers asks whether a step takes eta or a generator.
            plain_step = stand_in(scheduler, "step", step, stack)
            plain_set_timesteps = stand_in(scheduler, "set_timesteps", set_timesteps, stack)
        if denoiser is not None:

            def note(_network: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
                counted.calls += 1
                counted.batch = max(counted.batch, _find_batch(args, keywords))

            stack.callback(denoiser.register_forward_pre_hook(note, with_kwargs=True).remove)
        yield counted


def describe_execution(
    counted: ExecutionCount,
    pipeline: Any,
    stages: Stages,
    names: tuple[str, ...],
    png: bytes,
    *,
    is_recorded: bool,
) -> Execution:
    """Put together what was counted and what the pipeline shows.

    Args:
        counted: From `count_execution`.
        pipeline: The pipeline that ran.
        stages: What it was bound to.
        names: Optimisations that are on.
        png: A delivered picture.
        is_recorded: Whether steps are replayed from a recording, which calls nothing of Python.
    """
    denoiser, scheduler = find_denoiser(pipeline), getattr(pipeline, "scheduler", None)
    width, height = read_png_size(png)
    seen = not is_recorded
    steps = counted.steps or counted.calls
    batch = counted.batch or None
    return Execution(
        steps=steps if steps and seen else None,
        denoiser_calls=counted.calls or None if seen else None,
        denoiser_batch=batch,
        guided=_is_guided(counted, stages.images_per_call, pipeline),
        precision=None if denoiser is None else find_precision(denoiser),
        scheduler=None if scheduler is None else type(scheduler).__name__,
        width=width,
        height=height,
        optimisations=_look_at_optimisations(pipeline, names),
        guidance_argument=None
        if stages.workload.guidance_scale is None
        else stages.guidance_argument,
        picture_arguments=() if stages.bound is None else tuple(stages.bound.arguments),
    )


def describe_asked(
    pipeline: Any,
    stages: Stages,
    precision: str,
    engine: str,
    names: tuple[str, ...],
    models_scheduler: str | None = None,
) -> AskedExecution:
    """Say what a worker was asked for, as far as it is held to it.

    Args:
        pipeline: The pipeline, its scheduler chosen.
        stages: What it is bound to.
        precision: Number format of the weights.
        engine: What runs the networks.
        names: Optimisations that are on.
        models_scheduler: Class name of the model's own scheduler, where a subject's pipeline is
            held to it unless the workload names another.
    """
    workload = stages.workload
    own = _name_own_scheduler(pipeline, models_scheduler) if workload.scheduler is None else None
    is_plain = engine == TORCH and not set(names) & set(QUANTISATIONS)
    strength = None if stages.bound is None else stages.bound.picture.strength
    if stages.bound is None:
        steps = _plan_steps(pipeline, workload)
    else:
        steps = plan_drawn_steps(pipeline, workload, strength)
    return AskedExecution(
        steps=steps,
        fewest_steps=math.floor(workload.num_inference_steps * (strength or 1.0)),
        width=stages.width,
        height=stages.height,
        guided=workload.is_guided if _doubles_its_batch(pipeline) else None,
        precision=precision if is_plain else None,
        scheduler=workload.scheduler or own,
        is_models_scheduler=own is not None,
        images_per_call=stages.images_per_call,
        strength=strength,
    )


def find_precision(network: torch.nn.Module) -> str | None:
    """Name the number format of most of a network's floating-point weights, by count.

    Some families keep a few weights in float32 on purpose.
    """
    counts: Counter[torch.dtype] = Counter()
    for weight in network.parameters():
        if weight.is_floating_point():
            counts[weight.dtype] += weight.numel()
    if not counts:
        return None
    dtype = max(counts, key=counts.__getitem__)
    return _PRECISIONS.get(dtype, str(dtype).removeprefix("torch."))


def read_png_size(png: bytes) -> tuple[int, int]:
    """Read width and height of a PNG file from its header, pixels."""
    width, height = _PNG_SIZE.unpack_from(png, _PNG_SIZE_OFFSET)
    return width, height


def _plan_steps(pipeline: Any, workload: Workload) -> int | None:
    """Ask a copy of the scheduler how many steps it takes; ``None`` where it will not say."""
    try:
        scheduler = copy.deepcopy(pipeline.scheduler)
        with known_warnings_ignored():
            scheduler.set_timesteps(workload.num_inference_steps)
        return len(scheduler.timesteps)
    except Exception:  # noqa: BLE001  some want the picture's size, or have no timesteps
        return None


def _name_own_scheduler(pipeline: Any, models: str | None) -> str | None:
    """Name the scheduler that is meant where nobody named one; a subclass of it is it too."""
    bases = type(getattr(pipeline, "scheduler", None)).__mro__
    return bases[0].__name__ if models in {base.__name__ for base in bases} else models


def _is_guided(counted: ExecutionCount, images_per_call: int, pipeline: Any) -> bool | None:
    """Tell whether each image was seen with and without its prompt; ``None`` cannot be told.

    Some pipelines double the batch, some call the denoiser twice a step; Ideogram 4 has a network
    of its own for the side without a prompt, which is not looked at.
    """
    if not counted.batch or getattr(pipeline, "unconditional_transformer", None) is not None:
        return None
    is_called_twice = counted.steps > 0 and counted.calls >= 2 * counted.steps
    return counted.batch > images_per_call or is_called_twice


def _doubles_its_batch(pipeline: Any) -> bool:
    names = {base.__name__ for base in type(pipeline).__mro__}
    if not names & set(_DOUBLES_ITS_BATCH):
        return False
    config = getattr(getattr(pipeline, "unet", None), "config", None)
    return getattr(config, "time_cond_proj_dim", None) is None


def _find_batch(args: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    named = (keywords.get(name) for name in ("sample", "hidden_states"))
    first = next((one for one in (*args[:1], *named) if one is not None), None)
    if isinstance(first, list | tuple):
        return len(first)
    return int(first.shape[0]) if isinstance(first, torch.Tensor) and first.ndim else 0


def _look_at_optimisations(pipeline: Any, names: tuple[str, ...]) -> dict[str, bool]:
    seen = {}
    for name in names:
        if name in _CHANNELS_LAST:
            networks = (getattr(pipeline, each, None) for each in _CHANNELS_LAST[name])
            seen[name] = any(map(_is_channels_last, networks))
        elif name == "fused_projections":
            denoiser = find_denoiser(pipeline)
            parts = [] if denoiser is None else denoiser.modules()
            seen[name] = any(getattr(part, "fused_projections", False) for part in parts)
        elif name == "cudnn_benchmark":
            seen[name] = bool(torch.backends.cudnn.benchmark)
    return seen


def _is_channels_last(network: Any) -> bool:
    """Tell whether a network's convolutions of more than one tap are in NHWC order."""
    if not isinstance(network, torch.nn.Module):
        return False
    weights = [
        part.weight
        for part in network.modules()
        if isinstance(part, torch.nn.Conv2d) and max(part.kernel_size) > 1
    ]
    return not weights or any(
        one.is_contiguous(memory_format=torch.channels_last) and not one.is_contiguous()
        for one in weights
    )
