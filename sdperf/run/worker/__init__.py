"""The worker: one process with one loaded pipeline that answers requests.

The functions at module level are what the pool submits; they act on the one `LoadedPipeline` of
their process. Importing this module loads no torch: that happens in `load`, in the worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from typing import TYPE_CHECKING, TypeVar

from sdperf.device import DeviceInfo, select_device
from sdperf.errors import GenerationError, SdperfError
from sdperf.leftovers import leave_with_parent
from sdperf.measure.page_cache import describe_compile_cache, describe_page_cache
from sdperf.pipeline.kept_code import keep_compiled_code, stop_keeping_code
from sdperf.pipeline.optimisations.memory import give_freed_memory_back, refuse_changed_process
from sdperf.record.stages import StageCost, StageTimes
from sdperf.record.workload import is_external
from sdperf.run.messages import DeviceSpeed, RoundRequest, RoundResult, WorkerReport, WorkerSpec
from sdperf.run.quality.questions import Question
from sdperf.run.worker.loaded import LoadedPipeline

if TYPE_CHECKING:
    from sdperf.models.loader import ResolvedModel
    from sdperf.run.program.asked import AskedProgram

T = TypeVar("T")


def prepare_process() -> None:
    """Make a fresh child process safe to leave: deaf to Ctrl-C, gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_with_parent()
    _lock_progress_bars_for_threads_only()


def _lock_progress_bars_for_threads_only() -> None:
    """Keep tqdm from making a lock for several processes, which a killed process leaves behind.

    Such a lock is a named semaphore of the system. Workers are ended by a signal, and Python's
    resource tracker would then report "leaked semaphore objects" when the command ends.
    """
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())


def describe_device(choice: str) -> DeviceInfo:
    """Report a device's facts without loading a model.

    Raises:
        ConfigurationError: torch sees no such device.
    """
    return select_device(choice).describe()


def load(spec: WorkerSpec) -> WorkerReport:
    """Load the pipeline; must come before any other request.

    Raises:
        ModelError: The pipeline cannot be loaded.
        ConfigurationError: The device or the subject cannot be used, or an earlier
            case changed this process for good.
        GenerationError: The user's own subject raised.
        EngineError: The engine or program cannot be started or used.
        WorkerError: A program of the user's ended, was late, or said what is no reply.
    """
    global _loaded
    unload()
    if is_external(spec.engine):
        from sdperf.run.program.asked import AskedProgram

        _loaded = AskedProgram(spec)
        return _loaded.report
    refuse_changed_process(spec.optimisations)
    try:
        _loaded = _load_pipeline(spec)
    except BaseException:
        _put_back()
        raise
    return _loaded.report


def _load_pipeline(spec: WorkerSpec) -> LoadedPipeline:
    page_cache = describe_page_cache(spec.model.folder / name for name in spec.model.files)
    if "kept_code" in spec.optimisations:
        keep_compiled_code()  # before it is asked whether anything lies there
    compile_cache = describe_compile_cache()
    loaded = LoadedPipeline(spec)
    loaded.report = dataclasses.replace(
        loaded.report, page_cache=page_cache, compile_cache=compile_cache
    )
    return loaded


def _put_back() -> None:
    """Put back what optimisations set for the whole process."""
    stop_keeping_code()
    give_freed_memory_back()


def import_ahead(model: ResolvedModel) -> int:
    """Import what loading a model takes, before the process is wanted; load nothing.

    What cannot be imported is left to `load` to report.

    Returns:
        The process's id.
    """
    from sdperf.models.loader import import_components

    with contextlib.suppress(SdperfError, ImportError):
        import_components(model)
    return os.getpid()


def report() -> WorkerReport:
    """Return what was said when the pipeline had been loaded.

    Raises:
        GenerationError: There is none.
    """
    return _current().report


def unload() -> None:
    """Free the pipeline of this process, if there is one."""
    global _loaded
    try:
        if _loaded is not None:
            _loaded.free()
            _loaded = None
    finally:
        _put_back()


def run_round(request: RoundRequest) -> RoundResult:
    """Run one timed round.

    Raises:
        GenerationError: A generation failed.
    """
    return _current().run_round(request)


def profile_round(request: RoundRequest) -> StageTimes:
    """Profile the first image of a request.

    Raises:
        GenerationError: The generation failed.
    """
    return _current().profile(request)


def count_round(request: RoundRequest) -> tuple[StageCost, ...]:
    """Count what the stages of the first image of a request ask of the device.

    Raises:
        GenerationError: The generation failed, or cannot be counted.
    """
    return _current().count(request)


def trace_round(request: RoundRequest, path: str) -> None:
    """Write a Chrome trace of the first image of a request.

    Raises:
        GenerationError: The generation failed, or the trace cannot be written.
    """
    _current().trace(request, path)


def measure_speed(request: RoundRequest) -> DeviceSpeed:
    """Measure what the device can do with a request's threads, in the worker's precision."""
    return _current().measure_speed(request)


def ask(question: Question[T]) -> T:
    """Answer a question of the quality suite about the loaded pipeline.

    Raises:
        GenerationError: The pipeline failed, or cannot be asked this.
    """
    return _current().ask(question)


def _current() -> LoadedPipeline | AskedProgram:
    if _loaded is None:
        raise GenerationError("the worker has no pipeline", hint="load one first")
    return _loaded


_loaded: LoadedPipeline | AskedProgram | None = None
