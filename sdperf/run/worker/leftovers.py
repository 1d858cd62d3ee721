"""What one request can leave changed in a worker: read, named and put back before the next.

Only what is cheap to read is looked at, between two requests. `docs/what-a-case-leaves-behind.md`
lists what else there is, and why it does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

import torch

_UNSEEN: Final = object()


@dataclass(frozen=True)
class WorkerState:
    """The state of a process that a figure depends on, as it is when a request may begin.

    Attributes:
        threads: torch's threads for one operator.
        scheduler: The pipeline's scheduler, the object itself.
        scheduler_config: Its configuration.
        default_dtype: What torch makes floating-point tensors of.
        matmul_precision: What torch allows products of float32 to be rounded to.
        deterministic: Whether torch is told to use deterministic kernels only.
        cudnn_benchmark: Whether cuDNN times its kernels for each new shape.
        cudnn_tf32: Whether cuDNN may round factors to TF32.
        onednn: Whether torch uses oneDNN.
        grad: Whether torch records for gradients.
    """

    threads: int
    scheduler: Any
    scheduler_config: dict[str, Any]
    default_dtype: torch.dtype
    matmul_precision: str
    deterministic: bool
    cudnn_benchmark: bool
    cudnn_tf32: bool
    onednn: bool
    grad: bool


_NAMES: Final = {
    "threads": "torch's threads",
    "scheduler": "the pipeline's scheduler",
    "scheduler_config": "the scheduler's configuration",
    "default_dtype": "torch's default dtype",
    "matmul_precision": "torch's precision of float32 products",
    "deterministic": "torch's deterministic kernels",
    "cudnn_benchmark": "cuDNN's benchmark",
    "cudnn_tf32": "cuDNN's TF32",
    "onednn": "torch's use of oneDNN",
    "grad": "torch's gradients",
}


def read_state(pipeline: Any) -> WorkerState:
    """Read the state; on the thread that owns the device, whose number of threads is its own."""
    scheduler = getattr(pipeline, "scheduler", None)
    return WorkerState(
        threads=torch.get_num_threads(),
        scheduler=scheduler,
        scheduler_config=dict(getattr(scheduler, "config", {})),
        default_dtype=torch.get_default_dtype(),
        matmul_precision=torch.get_float32_matmul_precision(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        cudnn_tf32=torch.backends.cudnn.allow_tf32,
        onednn=bool(torch.backends.mkldnn.enabled),
        grad=torch.is_grad_enabled(),
    )


def put_back(pipeline: Any, state: WorkerState) -> tuple[str, ...]:
    """Put the process back into a state.

    Args:
        pipeline: The worker's pipeline.
        state: As `read_state` read it when the last request began.

    Returns:
        What had changed since, in words with both values; empty where nothing had.
    """
    now = read_state(pipeline)
    changed = [
        item.name
        for item in fields(WorkerState)
        if (
            now.scheduler is not state.scheduler
            if item.name == "scheduler"
            else getattr(now, item.name) != getattr(state, item.name)
        )
    ]
    if not changed:
        return ()
    if "scheduler" in changed and "scheduler_config" in changed:
        changed.remove("scheduler_config")
    said = tuple(_describe_change(name, state, now) for name in changed)
    _restore(pipeline, state, changed)
    return said


def _restore(pipeline: Any, state: WorkerState, changed: list[str]) -> None:
    setters: dict[str, Callable[[Any], None]] = {
        "threads": torch.set_num_threads,
        "default_dtype": torch.set_default_dtype,
        "matmul_precision": torch.set_float32_matmul_precision,
        "deterministic": torch.use_deterministic_algorithms,
        "cudnn_benchmark": lambda value: setattr(torch.backends.cudnn, "benchmark", value),
        "cudnn_tf32": lambda value: setattr(torch.backends.cudnn, "allow_tf32", value),
        "onednn": lambda value: setattr(torch.backends.mkldnn, "enabled", value),
        "grad": _switch_gradients,
    }
    for name, put in setters.items():
        if name in changed:
            put(getattr(state, name))
    if "scheduler" in changed:
        pipeline.scheduler = state.scheduler
    if state.scheduler is not None and {"scheduler", "scheduler_config"} & set(changed):
        config = type(state.scheduler.config)(state.scheduler_config)
        state.scheduler._internal_dict = config


def _switch_gradients(is_on: bool) -> None:
    torch.set_grad_enabled(is_on)


def _describe_change(name: str, before: WorkerState, now: WorkerState) -> str:
    if name == "scheduler":
        kinds = (type(one.scheduler).__name__ for one in (before, now))
        return f"{_NAMES[name]} was {' and is another '.join(kinds)}"
    if name == "scheduler_config":
        ones, others = before.scheduler_config, now.scheduler_config
        keys = [
            key
            for key in dict.fromkeys((*ones, *others))
            if ones.get(key, _UNSEEN) != others.get(key, _UNSEEN)
        ]
        values = ", ".join(f"{key} was {ones.get(key)} and is {others.get(key)}" for key in keys)
        return f"{_NAMES[name]}: {values}"
    return f"{_NAMES[name]} was {getattr(before, name)} and is {getattr(now, name)}"
