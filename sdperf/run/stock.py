"""Idle processes: they have imported what a model needs, and have loaded nothing.

Importing torch and diffusers takes seconds of processor time. A process that starts during a
generation takes the processor from it: on two cores the generation took several times as long. So
all processes are started together, before any generation, and waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final

import psutil

from sdperf.models.loader import ResolvedModel
from sdperf.run import worker

if TYPE_CHECKING:
    from sdperf.run.hosts.local import WorkerHost

IDLE_BYTES: Final = 450 * 2**20
"""Bytes that a process takes after importing torch and diffusers; 431 MiB were seen (CPU build)."""

SHARE_OF_MEMORY: Final = 1 / 8
"""Share of the machine's memory that idle processes may take."""


def count_that_fit(total_bytes: int | None = None) -> int:
    """Count the idle processes that a machine has memory for.

    Args:
        total_bytes: Its memory; this machine's by default.
    """
    total_bytes = psutil.virtual_memory().total if total_bytes is None else total_bytes
    return int(total_bytes * SHARE_OF_MEMORY / IDLE_BYTES)


class Stock:
    """The idle processes for the pools of a session.

    Args:
        make_host: Makes the host of a worker.
        is_open: Whether processes can be started ahead of need.

    Attributes:
        is_open: Whether processes can be started ahead of need.
    """

    def __init__(self, make_host: Callable[[], WorkerHost], *, is_open: bool = True) -> None:
        self._make_host = make_host
        self.is_open = is_open
        self._waiting: list[tuple[WorkerHost, Future[int]]] = []
        self._lock = threading.Lock()

    @property
    def pids(self) -> frozenset[int]:
        """The ids of processes that have imported everything and do nothing."""
        done = (imported for _, imported in self._waiting if imported.done())
        return frozenset(imported.result() for imported in done if imported.exception() is None)

    def fill(self, count: int, model: ResolvedModel) -> None:
        """Start processes until a number of them is idle.

        Args:
            count: The number of idle processes.
            model: The model that they will load.
        """
        for _ in range(count - len(self._waiting) if self.is_open else 0):
            host = self._make_host()
            self._waiting.append((host, host.executor.submit(worker.import_ahead, model)))

    def is_ready(self) -> bool:
        """Tell whether all of them have finished importing."""
        return all(imported.done() for _, imported in self._waiting)

    def wait(self, timeout_s: float) -> None:
        """Wait until all of them have finished importing."""
        wait([imported for _, imported in self._waiting], timeout=timeout_s)

    def peek(self) -> WorkerHost | None:
        """Return the process that will be taken next, for a question; it stays idle."""
        self._drop_dead()
        return self._waiting[0][0] if self._waiting else None

    def take(self) -> WorkerHost:
        """Return a host for a new worker: an idle one that is alive, else a new one."""
        self._drop_dead()
        return self._waiting.pop(0)[0] if self._waiting else self._make_host()

    def close(self) -> None:
        """End all idle processes. It may be called twice."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for host, _ in waiting:
            host.kill()

    def _drop_dead(self) -> None:
        while self._waiting:
            host, imported = self._waiting[0]
            if not imported.done() or imported.exception() is None:
                return
            del self._waiting[0]
            host.kill()
