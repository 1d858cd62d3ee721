"""Showing what workers convert for an engine while a case waits for them: it can take minutes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from sdperf.workload import TORCH


@contextlib.contextmanager
def conversions_shown(
    engine: str, announce: Callable[[str], None], poll_s: float = 0.5
) -> Iterator[None]:
    """Say once of each conversion that it runs, for as long as the context is open.

    Args:
        engine: Of the case; torch converts nothing.
        announce: Shows a text; called on a thread of its own.
        poll_s: Seconds between two looks.
    """
    if engine == TORCH:
        yield
        return
    from sdperf.engines.cache import EngineCache, locate_engine_cache

    cache, ended = EngineCache(locate_engine_cache()), threading.Event()

    def watch() -> None:
        shown: set[str] = set()
        while not ended.wait(poll_s):
            for text in cache.list_running():
                if text not in shown:
                    shown.add(text)
                    announce(text)

    thread = threading.Thread(target=watch, name="sdperf-conversions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
