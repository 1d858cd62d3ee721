"""The other end of `sdperf.run.hosts.interpreter`: a worker in any Python 3.11 or newer.

A copy of this file runs outside its package, beside the sdperf of the measured revision. So it
imports only the standard library until the first request. Standard input and output carry frames;
the output of the code under test goes to standard error.
"""

from __future__ import annotations

import faulthandler
import hashlib
import importlib
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from .wire import WireError, decode, encode, read_frame, write_frame

ORPHANED: Final = 113
"""Exit code of a worker whose parent has ended; `sdperf.run.worker` has the same."""

_TRACE_LINES: Final = 12
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def list_modules_in(folders: Sequence[str]) -> dict[str, str]:
    """List the modules imported so far whose files lie in any of the folders.

    Installed modules do not count, although the environment may be in one of the folders.

    Returns:
        The start of the SHA-256 of each module's file, by the module's name.
    """
    roots = [Path(folder).resolve() for folder in folders]
    prefixes = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    found = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name == "__main__":
            continue
        path = Path(file).resolve()
        is_installed = _INSTALLED.intersection(path.parts) or any(
            map(path.is_relative_to, prefixes)
        )
        if not is_installed and path.is_file() and any(map(path.is_relative_to, roots)):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def locate_module(name: str) -> str | None:
    """Return the file of an imported module; ``None`` where it has none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return None if file is None else str(Path(file).resolve())


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests one after another until the other side closes its end.

    A separate thread reads requests, so that a worker ends as soon as its parent has ended,
    even while it works.
    """
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        try:
            while (message := read_frame(requests)) is not None:
                waiting.put(message)
        finally:
            os._exit(ORPHANED)

    threading.Thread(target=read, name="sdperf-requests", daemon=True).start()
    while True:
        write_frame(replies, answer(waiting.get()))


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Execute a request and return the reply, which may be an error."""
    number = message.get("id")
    try:
        module_name, _, name = str(message["call"]).partition(":")
        module = _here if module_name == "sdperf.run.hosts.remote" else _import_worker(module_name)
        function = getattr(module, name, None)
        if function is None:
            raise WireError(f"there is no {message['call']} here")
        return {"id": number, "value": encode(function(*decode(message["arguments"])))}
    except Exception as error:  # noqa: BLE001  whatever it is, the other side has to know
        if hasattr(error, "what"):
            return {"id": number, "error": encode(error)}
        trace = traceback.format_exception(error)
        return {
            "id": number,
            "failure": type(error).__name__,
            "message": str(error),
            "trace": "".join(trace).splitlines()[-_TRACE_LINES:],
        }


def _import_worker(name: str) -> Any:
    if name != "sdperf.run.worker":
        raise WireError(f"{name} answers no requests")
    return importlib.import_module(name)


def main() -> None:
    """Keep the pipes free of other code's output, then serve requests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    serve(requests, replies)


_here = sys.modules[__name__]

if __name__ == "__main__":
    main()
