"""Workers in another interpreter: any Python 3.11 or newer with torch and diffusers.

sdperf need not be installed there. The worker's import path begins with a staged folder that has
only this sdperf's modules, so that packages of this interpreter do not leak into the other one.
Folders of a revision come with it. `sdperf.run.hosts.remote` is the other end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

from sdperf.errors import ConfigurationError, SdperfError, WorkerError
from sdperf.leftovers import sweep, temporary_folder
from sdperf.run.hosts.wire import WireError, decode, encode, read_frame, write_frame

T = TypeVar("T")

REMOTE_PACKAGE: Final = "sdperf_remote"
"""Module name of the other end on the worker's import path."""

_KEPT_LINES: Final = 200
_SHOWN_LINES: Final = 3
_EXIT_WAIT_S: Final = 5.0
_STRAY_VARIABLES: Final = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
"""Environment variables that would make another interpreter load this one's files."""


@dataclass(frozen=True)
class Launch:
    """How a worker's interpreter is started.

    Attributes:
        python: The interpreter.
        import_path: Folders that are searched before the interpreter's own, in order; the folder of
            `staged_harness` is among them.
        folder: Its working folder; ``None`` is the current folder.
    """

    python: Path
    import_path: tuple[str, ...]
    folder: Path | None = None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables of the worker."""
        kept = {name: value for name, value in base.items() if name not in _STRAY_VARIABLES}
        return kept | {"PYTHONPATH": os.pathsep.join(self.import_path)}


@contextlib.contextmanager
def staged_harness() -> Iterator[Path]:
    """Make a folder with a copy of this sdperf's modules and of the other end; it is removed later.

    It is a copy, so that files that change while workers are renewed are not measured.
    """
    package = Path(__file__).parents[2]
    sweep(kind="worker-")
    try:
        with temporary_folder("worker") as folder:
            _copy_modules(package, folder / package.name)
            far_end = folder / REMOTE_PACKAGE
            far_end.mkdir()
            (far_end / "__init__.py").touch()
            shutil.copyfile(package / "run" / "hosts" / "wire.py", far_end / "wire.py")
            shutil.copyfile(package / "run" / "hosts" / "remote.py", far_end / "__main__.py")
            yield folder
    except OSError as error:
        raise ConfigurationError(
            "the worker's modules cannot be copied",
            got=f"{error.strerror}: {error.filename}",
            hint="free some space, or set TMPDIR to a folder that has it",
        ) from error


def _copy_modules(package: Path, target: Path) -> None:
    """Copy a package's modules; folders without modules (weights) are linked."""
    target.mkdir()
    for entry in sorted(package.iterdir()):
        if entry.is_dir() and entry.name != "__pycache__":
            if any(entry.glob("*.py")):
                _copy_modules(entry, target / entry.name)
            else:
                (target / entry.name).symlink_to(entry)
        elif entry.suffix == ".py":
            shutil.copyfile(entry, target / entry.name)


class InterpreterHost:
    """One worker in an interpreter that is started for it.

    Args:
        launch: How to start it.

    Raises:
        ConfigurationError: The program does not exist.
    """

    def __init__(self, launch: Launch) -> None:
        self._python = launch.python
        self._words: deque[str] = deque(maxlen=_KEPT_LINES)
        try:
            self._process = subprocess.Popen(
                [str(launch.python), "-P", "-m", REMOTE_PACKAGE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=launch.folder,
                env=launch.environment(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigurationError(
                "the interpreter cannot be started",
                got=f"{launch.python}: {error.strerror}",
                expected="the path of a Python 3.11 or newer",
            ) from error
        requests, replies, self._said = (
            cast("BinaryIO", pipe)
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        self._listener = threading.Thread(target=self._listen, name="sdperf-words", daemon=True)
        self._listener.start()
        self.executor: Executor = PipeExecutor(requests, replies)

    def exit_code(self) -> int | None:
        """Exit code of the worker, after a short wait; ``None`` when it has none yet."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_EXIT_WAIT_S)
        return None

    def last_words(self) -> str:
        """Return the end of what the worker printed, in one line."""
        if self._process.poll() is not None:
            self._listener.join(_EXIT_WAIT_S)
        return summarise_words(list(self._words))

    def kill(self) -> None:
        """Kill the worker and all that it started, and close the pipes."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.executor.shutdown(wait=True, cancel_futures=True)
        self._listener.join(_EXIT_WAIT_S)
        self._said.close()

    def _listen(self) -> None:
        for line in self._said:
            self._words.append(line.decode(errors="replace").rstrip())


class PipeExecutor(Executor):
    """Sends the functions of `sdperf.run.worker` over a pair of pipes, by name.

    Args:
        requests: The pipe for requests.
        replies: The pipe for replies.
    """

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests, self._replies = requests, replies
        self._lock = threading.Lock()
        self._pending: dict[int, Future[Any]] = {}
        self._made = 0
        self._is_gone = False
        self._reader = threading.Thread(target=self._read, name="sdperf-replies", daemon=True)
        self._reader.start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Request a call; the future fails with `BrokenProcessPool` when the worker dies.

        Raises:
            TypeError: An argument cannot be sent between interpreters.
        """
        if kwargs:
            raise TypeError("a worker's functions take no named arguments")
        future: Future[T] = Future()
        with self._lock:
            self._made += 1
            message = {"id": self._made, "call": f"{fn.__module__}:{fn.__name__}"}
            try:
                message["arguments"] = encode(args)
            except WireError as error:
                raise TypeError(str(error)) from error
            future.set_running_or_notify_cancel()
            try:
                if self._is_gone:
                    raise BrokenPipeError
                self._pending[self._made] = future
                write_frame(self._requests, message)
            except (OSError, ValueError):
                self._pending.pop(self._made, None)
                future.set_exception(BrokenProcessPool("the worker is gone"))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Close the request pipe, which ends the worker; pending calls fail."""
        with self._lock, contextlib.suppress(OSError):
            self._requests.close()
        if wait:
            self._reader.join()
            with contextlib.suppress(OSError):
                self._replies.close()

    def _read(self) -> None:
        """Hand each reply to its future; fail the waiting futures when no more reply can come."""
        with contextlib.suppress(OSError, ValueError, WireError):
            while (message := read_frame(self._replies)) is not None:
                with self._lock:
                    future = self._pending.pop(int(message["id"]), None)
                if future is not None:
                    _resolve(future, message)
        with self._lock:
            self._is_gone = True
            abandoned, self._pending = list(self._pending.values()), {}
        for future in abandoned:
            future.set_exception(BrokenProcessPool("the worker is gone"))


def _resolve(future: Future[Any], message: dict[str, Any]) -> None:
    try:
        if "value" in message:
            future.set_result(decode(message["value"]))
            return
        if "error" in message:
            future.set_exception(_as_own_error(message["error"]))
            return
    except WireError as error:
        message = {"failure": "WireError", "message": str(error)}
    future.set_exception(_explain_failure(message))


def _as_own_error(error: dict[str, Any]) -> Exception:
    """Turn an error into one of this sdperf; a class that only the other has becomes the base."""
    try:
        return decode(error)  # type: ignore[no-any-return]
    except WireError:
        return SdperfError(
            str(error.get("what")),
            got=error.get("got"),
            expected=error.get("expected"),
            hint=error.get("hint"),
        )


def _explain_failure(message: dict[str, Any]) -> WorkerError:
    if message["failure"] == "WireError":
        return WorkerError(
            "the worker's sdperf and this one do not understand each other",
            got=message["message"],
            expected="a revision whose sdperf has the same requests",
            hint="compare revisions that are closer to this one",
        )
    trace = [line.strip() for line in message.get("trace", ())]
    where = next((line for line in reversed(trace) if line.startswith("File ")), None)
    return WorkerError(
        "the worker could not do what it was asked",
        got=f"{message['failure']}: {message['message']}" + (f" ({where})" if where else ""),
    )


def summarise_words(lines: Sequence[str]) -> str:
    """Cut a worker's output to the most telling lines: where it crashed, or the end."""
    said = [line.strip() for line in lines if line.strip()]
    fatal = next((i for i, line in enumerate(said) if line.startswith("Fatal Python error")), None)
    if fatal is None:
        return " / ".join(said[-_SHOWN_LINES:])
    crashed = next((i for i, line in enumerate(said) if line.startswith("Current thread")), fatal)
    return " / ".join([said[fatal], *said[crashed + 1 : crashed + _SHOWN_LINES]])
