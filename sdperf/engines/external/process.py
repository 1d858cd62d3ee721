"""A program as a process: started, spoken to within deadlines, ended with all that it started.

The program has a session of its own, so that one signal reaches everything that it starts. What
leaves the session and its parents (a daemon that forked twice) is known by a variable of its
environment, which is another one for each program. A keeper, a shell that waits on a pipe, ends
all of them when this process is killed without warning.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO, Final, cast

import psutil

from sdperf.errors import EngineError
from sdperf.streams import strip_controls
from sdperf.waiting import LONGEST_SELECT_S

EXIT_WAIT_S: Final = 10.0
"""Seconds that a program has to end itself after ``stop``."""

MARK: Final = "SDPERF_PROGRAM"
"""Variable of a program's environment, and of all that it starts: says whose they are."""

_KEEPER: Final = (
    'while read -r group; do last=$group; done; [ "${last:-0}" -gt 1 ] && kill -KILL "-$last"; '
    'for one in $(grep -lszxF -- "$0" /proc/[0-9]*/environ); do one=${one%/environ}; '
    'kill -KILL "${one#/proc/}"; done'
)
_MOST_SCANS: Final = 5
"""How often processes are looked for that started others before they were ended."""
_KEPT_LINES: Final = 200
_SHOWN_LINES: Final = 3
_LINE_BYTES: Final = 500
_PIECE_BYTES: Final = 1 << 16
_WORDS_WAIT_S: Final = 1.0
_HELPERS_WAIT_S: Final = 1.0


class GoneError(Exception):
    """The program closed its pipe or ended."""


class LateError(Exception):
    """The program did not answer in time."""


class TooLongError(Exception):
    """A line of the program is longer than any reply."""


class ProgramProcess:
    """One started program.

    Args:
        command: The program and its arguments; no shell reads them.
        environment: Its variables; ``None`` are ours.

    Attributes:
        words: What it prints on standard error.

    Raises:
        EngineError: There is no such program, or it cannot be run.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._mark = make_mark()
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=mark_environment(environment, self._mark),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise refuse_command(command, error) from error
        self._stdin, self._stdout, stderr = (
            cast("IO[bytes]", pipe)
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        self._keeper = ProcessKeeper(self._mark)
        self._keeper.keep(self._process.pid)
        self.words = LastWords(stderr)
        self._buffer = bytearray()
        self._helpers: list[psutil.Process] = []
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    def write(self, message: bytes, deadline_s: float, most_bytes: int) -> None:
        """Write a request.

        Args:
            message: The bytes.
            deadline_s: Reading of `time.monotonic` after which the program is late.
            most_bytes: What it may have answered meanwhile and is not read yet.

        Raises:
            GoneError: The program reads no more.
            LateError: It does not take them in time.
            TooLongError: It prints more meanwhile.
        """
        left = memoryview(message)
        while left:
            self._await_room(deadline_s, most_bytes)
            try:
                left = left[os.write(self._stdin.fileno(), left[:_PIECE_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise GoneError from error

    def read_line(self, most_bytes: int, deadline_s: float) -> bytes:
        """Read a line.

        Raises:
            GoneError: The program ended or closed its pipe.
            LateError: There is no whole line in time.
            TooLongError: There is none in so many bytes.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > most_bytes:
                raise TooLongError
            self._read_piece(deadline_s)
        return self._take(end + 1)

    def read_exactly(self, count: int, deadline_s: float) -> bytes:
        """Read so many bytes.

        Raises:
            GoneError: The program ended or closed its pipe before.
            LateError: They do not come in time.
        """
        while len(self._buffer) < count:
            self._read_piece(deadline_s)
        return self._take(count)

    def read_stray(self) -> bytes:
        """Return what was printed that nobody has asked for; never waits."""
        with contextlib.suppress(GoneError, LateError):
            while len(self._buffer) < _PIECE_BYTES:
                self._read_piece(0.0)
        return self._take(len(self._buffer))

    def close_input(self) -> None:
        """Let the program read the end of its input."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def wait(self, seconds: float) -> int | None:
        """Wait for its end; return its exit code, or ``None`` where it goes on."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def note_helpers(self) -> None:
        """Note what it has started so far; once it has ended, nothing leads to them any more."""
        with contextlib.suppress(psutil.Error):
            self._helpers = psutil.Process(self.pid).children(recursive=True)

    def count_leftovers(self) -> int:
        """Count what has outlived it: of its session, and what has left it."""
        left = {*self._helpers, *_list_session(self.pid), *_list_marked(self._mark)}
        left = {one for one in left if one.pid != self.pid and _lives(one)}
        _, alive = psutil.wait_procs(left, timeout=_HELPERS_WAIT_S)
        return sum(map(_lives, alive))

    def last_words(self) -> str:
        """Return the end of what it printed on standard error, in one line."""
        if self._process.poll() is not None:
            self.words.finish()
        return self.words.summarise()

    def kill(self) -> None:
        """End it and all that it started, at once; safe to call twice."""
        self._keeper.close()  # before the number of what it keeps can be given away
        kill_tree(self._process.pid, self._mark, is_reaped=self._process.returncode is not None)
        self._process.wait()
        for helper in self._helpers:
            with contextlib.suppress(psutil.Error):
                helper.kill()  # not where its number was given away
        self.words.finish()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _read_piece(self, deadline_s: float) -> None:
        self._await(self._stdout, selectors.EVENT_READ, deadline_s)
        try:
            piece = os.read(self._stdout.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise GoneError from error
        if not piece:
            raise GoneError
        self._buffer += piece

    def _await_room(self, deadline_s: float, most_bytes: int) -> None:
        """Wait until the program reads on; what it prints meanwhile is taken, or it never would."""
        while True:
            with selectors.DefaultSelector() as selector:
                try:
                    room = selector.register(self._stdin.fileno(), selectors.EVENT_WRITE)
                    selector.register(self._stdout.fileno(), selectors.EVENT_READ)
                except ValueError as error:  # closed
                    raise GoneError from error
                ready = [key for key, _ in selector.select(_left_s(deadline_s))]
            if room in ready:
                return
            if not ready:
                raise LateError
            if len(self._buffer) > most_bytes:
                raise TooLongError
            self._read_piece(deadline_s)

    def _await(self, pipe: IO[bytes], event: int, deadline_s: float) -> None:
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(pipe.fileno(), event)
            except ValueError as error:  # closed
                raise GoneError from error
            if not selector.select(_left_s(deadline_s)):
                raise LateError


def _left_s(deadline_s: float) -> float:
    """Return how long to wait for a pipe; no program is waited for longer than 23 days."""
    return min(max(0.0, deadline_s - time.monotonic()), LONGEST_SELECT_S)


class LastWords:
    """Keeps the end of what a program prints on standard error, without ever making it wait.

    The pipe belongs to the thread that reads it: to close it from another one would wait for
    whatever process holds it open.

    Args:
        pipe: Its standard error.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._pipe = pipe
        self._reader = threading.Thread(target=self._read, name="sdperf-words", daemon=True)
        self._reader.start()

    def summarise(self) -> str:
        """Return the last lines in one; what a living program has just said may be missing."""
        said = [line for line in list(self._lines) if line.strip()]
        return strip_controls(" | ".join(said[-_SHOWN_LINES:]))

    def finish(self) -> None:
        """Wait until all was read; a process that holds the pipe open is not waited for."""
        self._reader.join(_WORDS_WAIT_S)

    def _read(self) -> None:
        with self._pipe, contextlib.suppress(OSError, ValueError):
            while line := self._pipe.readline(_LINE_BYTES):
                self._lines.append(line.decode("utf-8", "replace").rstrip())


def refuse_command(command: Sequence[str], error: Exception) -> EngineError:
    """Say that a command cannot be started."""
    reason = getattr(error, "strerror", None) or str(error)
    return EngineError(
        "the external program cannot be started",
        got=f"{command[0] if command else ''}: {reason}",
        expected="a program on the search path, or the path of one",
        hint="type the command alone to see whether it starts",
    )


def explain_end(code: int | None) -> str:
    """Say how a process ended, from its exit code. Pure."""
    if code is None:
        return "it still runs"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class ProcessKeeper:
    """Ends a program's session as soon as this process is gone, also by ``kill -9``.

    It is a shell that reads the number of the session to end until its input ends; where the system
    shows the environments of processes as files, it ends those that left the session too.

    Args:
        mark: Of the program's environment, see `make_mark`.
    """

    def __init__(self, mark: str) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, f"{MARK}={mark}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def keep(self, group: int) -> None:
        """End this session when the time comes; 0 ends none."""
        if self._shell.stdin is not None and not self._shell.stdin.closed:
            with contextlib.suppress(OSError):
                self._shell.stdin.write(b"%d\n" % group)
                self._shell.stdin.flush()

    def close(self) -> None:
        """End the keeper, and nothing else; safe to call twice."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            with contextlib.suppress(OSError):
                self._shell.stdin.close()


def make_mark() -> str:
    """Return a value of `MARK` that no other program has."""
    return uuid.uuid4().hex


def mark_environment(environment: Mapping[str, str] | None, mark: str) -> dict[str, str]:
    """Return variables of a program, ours where none are given, that say whose it is."""
    return {**(os.environ if environment is None else environment), MARK: mark}


def kill_tree(pid: int, mark: str, *, is_reaped: bool) -> None:
    """Kill a program, its session, and what it started that has left the session.

    Args:
        pid: The program, which leads its session.
        mark: Of its environment.
        is_reaped: Whether it has ended and was waited for: only what it started is left then.
    """
    found = list(_list_session(pid))
    if not is_reaped:
        with contextlib.suppress(psutil.Error):
            found += psutil.Process(pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    for one in found:
        with contextlib.suppress(psutil.Error):
            one.kill()
    for _ in range(_MOST_SCANS):
        left = [one for one in _list_marked(mark) if _lives(one)]
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        if not left:
            return


def _list_marked(mark: str) -> list[psutil.Process]:
    """List the processes with a mark in their environment, whoever their parents are."""
    found = []
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (OSError, psutil.Error):  # gone, or another user's
            continue
    return found


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _list_session(pid: int) -> list[psutil.Process]:
    """List the other processes of a session; a number that was given away has another session."""
    found = []
    for other in psutil.pids():
        try:
            if other != pid and os.getsid(other) == pid:
                found.append(psutil.Process(other))
        except (OSError, psutil.Error):
            continue
    return found
