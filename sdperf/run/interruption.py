"""Handles signals during work that has to clean up: worktrees, workers, unfinished studies."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from sdperf.measure.system import LIVE_SYSTEM, System


@contextlib.contextmanager
def ended_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM and a closed terminal like Ctrl-C: clean up, and report the results so far.

    Only the main thread receives signals; in other threads nothing changes. A signal that other
    code handles keeps its handler, also where that is set meanwhile, and an ignored signal stays
    ignored, so that ``nohup`` works. A second signal has no effect, since it would interrupt the
    cleaning up. A forked process is ended by the signal as usual.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    process = os.getpid()
    is_asked = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal is_asked
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif not is_asked:
            is_asked = True
            raise KeyboardInterrupt

    kinds = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    caught = read_caught_signals()
    free = [
        kind for kind in kinds if signal.getsignal(kind) is signal.SIG_DFL and kind not in caught
    ]
    before = {kind: signal.signal(kind, interrupt) for kind in free}
    try:
        yield
    finally:
        for kind, handler in before.items():
            if signal.getsignal(kind) is interrupt:
                signal.signal(kind, handler)


def read_caught_signals(system: System = LIVE_SYSTEM) -> frozenset[int]:
    """Read which signals this process catches, also those caught by C code.

    ``faulthandler.register`` is such code. Only Linux reports them; elsewhere the result is empty.
    """
    found = re.search(
        r"^SigCgt:\s*([0-9a-f]+)$", system.read_text("/proc/self/status") or "", re.MULTILINE
    )
    mask = 0 if found is None else int(found[1], 16)
    return frozenset(number for number in range(1, mask.bit_length() + 1) if mask >> number - 1 & 1)
