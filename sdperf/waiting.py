"""Runs what keeps no time limit of its own, and stops waiting for it after one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Final, TypeVar

LONGEST_SELECT_S: Final = 2_000_000.0
"""The longest that a selector is asked to wait, 23 days: it takes milliseconds of 31 bits."""

T = TypeVar("T")


def multiply_limit(limit_s: float, times: int) -> float:
    """Return so many time limits, but no more than a thread can wait, which is 292 years."""
    return min(limit_s * times, threading.TIMEOUT_MAX)


def run_within(limit_s: float, work: Callable[[], T], name: str) -> T:
    """Run a function in a thread, and wait for it no longer than a limit.

    Args:
        limit_s: Seconds to wait.
        work: Returns the result; what it raises is raised here.
        name: Name of the thread.

    Raises:
        TimeoutError: It took too long; it goes on in its thread, which nobody waits for.
    """
    done: Future[T] = Future()

    def finish() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  crosses to who waits
            with contextlib.suppress(InvalidStateError):
                done.set_exception(error)
        else:
            with contextlib.suppress(InvalidStateError):
                done.set_result(result)

    threading.Thread(target=finish, name=name, daemon=True).start()
    return done.result(timeout=limit_s)
