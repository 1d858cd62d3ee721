"""Another pipeline in a process that holds one already, for devices that know their own peak.

Starting a process with CUDA takes some ten seconds, loading a pipeline one or two. What the first
pipeline left behind in the process is put back; its host memory is not, because a process's
resident peak never falls. Nor is glibc's allocator where freed memory was kept: the pool takes a
new process then, see `sdperf.pipeline.optimisations.memory`.
"""

from __future__ import annotations

import gc
import sys

from sdperf.device import select_device
from sdperf.pipeline.optimisations.memory import changes_process
from sdperf.record.workload import is_external
from sdperf.run import worker
from sdperf.run.messages import WorkerReport, WorkerSpec


def can_load_in_place(spec: WorkerSpec, loaded: WorkerSpec | None) -> bool:
    """Tell whether a spec may be loaded into a process that holds another one.

    Not where the other one changed its process for good, and a program has its own.
    """
    if is_external(spec.engine):
        return False
    before = () if loaded is None else loaded.optimisations
    return changes_process(spec.optimisations) or not changes_process(before)


def load_in_place(spec: WorkerSpec) -> WorkerReport:
    """Free this process's pipeline, forget what it switched on, and load another.

    Raises:
        ModelError: The pipeline cannot be loaded.
        ConfigurationError: The device or the subject cannot be used.
        GenerationError: The user's own subject raised.
    """
    worker.unload()
    forget_switches()
    gc.collect()  # networks and their wrapped calls refer to each other
    select_device(spec.device).empty_cache()
    return worker.load(spec)


def forget_switches() -> None:
    """Put back what optimisations switch for a whole process: cuDNN's search, compiled code."""
    import torch

    torch.backends.cudnn.benchmark = False
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
