"""Work that leaves something behind unless it is told to end: worktrees, workers, half a study."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def ended_like_interrupted() -> Iterator[None]:
    """Treat being asked to end (SIGTERM, a closed terminal) like Ctrl-C: clean up, say so far.

    Only the main thread can be asked; in any other nothing changes. A signal that somebody else
    takes already stays theirs, and one that is ignored stays so: ``nohup`` outlives a terminal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    kinds = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    free = [kind for kind in kinds if signal.getsignal(kind) is signal.SIG_DFL]
    before = {kind: signal.signal(kind, interrupt) for kind in free}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
