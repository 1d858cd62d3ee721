"""Workers on this machine: a spawned process, or this one."""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Protocol

from sdperf.run import worker
from sdperf.settings import IN_PROCESS, PRECISION, SIZE, WORKERS

_EXIT_WAIT_S = 5.0


class WorkerHost(Protocol):
    """The place where one worker lives."""

    executor: Executor

    def exit_code(self) -> int | None:
        """Exit code of a worker that died; ``None`` when unknown."""

    def last_words(self) -> str:
        """Its last output, where that is not on the terminal already."""

    def kill(self) -> None:
        """End the worker at once, even while it works."""


class _RecordingContext(SpawnContext):
    """A spawn context that remembers the process it starts, for its exit code."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []

    def Process(self, *arguments: Any, **named: Any) -> SpawnProcess:  # type: ignore[override] # noqa: N802
        process = SpawnProcess(*arguments, **named)
        self.started.append(process)
        return process


class SpawnedHost:
    """One spawned child process with a `ProcessPoolExecutor` of one."""

    def __init__(self) -> None:
        self._context = _RecordingContext()
        self.executor: Executor = ProcessPoolExecutor(
            max_workers=1, mp_context=self._context, initializer=worker.prepare_process
        )

    def exit_code(self) -> int | None:
        """Exit code of the child, after a short wait; ``None`` when it has none yet."""
        for process in self._context.started:
            # The executor's own thread may be reaping the child: until it has, `join` returns at
            # once and there is no code yet.
            give_up_s = time.monotonic() + _EXIT_WAIT_S
            while process.exitcode is None and time.monotonic() < give_up_s:
                process.join(0.05)
                time.sleep(0.01)
            return process.exitcode
        return None

    def last_words(self) -> str:
        """Return an empty text: the child prints to the terminal of this process."""
        return ""

    def kill(self) -> None:
        """Kill the child and free the executor."""
        for process in self._context.started:
            with contextlib.suppress(ValueError):
                process.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)


class InProcessHost:
    """The test process itself, with one thread that owns the pipeline; for debuggers."""

    def __init__(self) -> None:
        self.executor: Executor = ThreadPoolExecutor(1, thread_name_prefix="sdperf-in-process")

    def exit_code(self) -> int | None:
        """Return ``None``: the exit code would be that of this process."""
        return None

    def last_words(self) -> str:
        """Return an empty text: it prints to the terminal of this process."""
        return ""

    def kill(self) -> None:
        """Free the pipeline; a generation that hangs in this process cannot be ended."""
        with contextlib.suppress(RuntimeError):
            self.executor.submit(worker.unload)
        self.executor.shutdown(wait=False, cancel_futures=True)


def explain_exit(code: int | None) -> str:
    """Say what most likely ended a worker, from its exit code. Pure."""
    if code is None:
        return "unknown cause"
    if code >= 0:
        return "the process ended itself, see its messages"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"killed by signal {-code}"
    causes = {
        "SIGKILL": "killed; on Linux most often the out-of-memory killer, else somebody's kill -9",
        "SIGABRT": "aborted by a native library; on MPS two threads using the GPU at once do this",
        "SIGSEGV": "memory fault in a native library",
        "SIGBUS": "bus error: often no space left on /dev/shm or a truncated mapped file",
        "SIGILL": "illegal instruction: a build for another processor",
        "SIGTERM": "asked to end by another process",
    }
    return f"{name}: {causes.get(name, 'killed by a signal')}"


def suggest_after(exit_code: int | None) -> str:
    """Say what to do about a worker that died, such as using less memory. Pure.

    Args:
        exit_code: The exit code from `multiprocessing`; ``None`` is unknown.
    """
    if exit_code == -signal.SIGKILL:
        return (
            f"if memory was short, {PRECISION} bf16, {WORKERS} 1 or a smaller {SIZE} takes less; "
            "docs/in-the-way.md has offloading"
        )
    return f"run the case alone with {IN_PROCESS} to see the crash in a debugger"
