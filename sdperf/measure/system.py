"""The operating system behind a small protocol, so that all code that asks it can be tested."""

from __future__ import annotations

import codecs
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_MAX_TEXT_CHARACTERS: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16
_PRIO_DARWIN_PROCESS: Final = 4
"""``os.PRIO_DARWIN_PROCESS``, which Python names from 3.12 on (``<sys/resource.h>``)."""


class Stream(Protocol):
    """The output of a program that keeps running."""

    def read_new(self) -> str:
        """Return the output since the last call; never wait."""

    def stop(self) -> None:
        """End the program and discard its output."""


class System(Protocol):
    """The operating system as sdperf needs it. Any answer may be missing, without an error."""

    @property
    def platform(self) -> str:
        """``darwin``, ``linux``, ... as ``sys.platform`` has it."""

    @property
    def machine(self) -> str:
        """Architecture this interpreter runs as, such as ``arm64``."""

    @property
    def environ(self) -> Mapping[str, str]:
        """Environment variables."""

    def run(self, program: str, *arguments: str, timeout_s: float = 2.0) -> str | None:
        """Run a program by its absolute path and return its standard output.

        Returns:
            The output; ``None`` where the program is missing, fails or outlives ``timeout_s``.
        """

    def start(self, program: str, *arguments: str) -> Stream | None:
        """Start a program by its absolute path; ``None`` where it cannot be started."""

    def read_text(self, path: str) -> str | None:
        """Read a file such as ``/proc/meminfo``; ``None`` where it cannot be read."""

    def list_names(self, path: str) -> tuple[str, ...]:
        """List a folder's entries in order; empty where it cannot be listed."""

    def find_program(self, name: str) -> str | None:
        """Find a program's absolute path on the search path."""

    def package_version(self, name: str) -> str | None:
        """Version of an installed Python package, from its metadata, without importing it."""

    def read_niceness(self) -> int | None:
        """This process's nice value: 0 is usual, higher yields to others."""

    def is_background(self) -> bool | None:
        """Whether macOS keeps this process on slow cores (``taskpolicy -b``); unknown elsewhere."""


class LiveStream:
    """A running program whose output goes to a nameless file, so that it never waits for sdperf.

    Args:
        command: Absolute path and arguments.

    Raises:
        OSError: The program cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._read_bytes = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._file,
                stderr=subprocess.DEVNULL,
                env=_plain_environment(),
            )
        except OSError:
            self._file.close()
            raise

    def read_new(self) -> str:
        """Return the output since the last call; an incomplete character waits for its rest."""
        fresh = bytearray()
        while piece := os.pread(self._file.fileno(), _PIECE_BYTES, self._read_bytes):
            fresh += piece
            self._read_bytes += len(piece)
        return self._decoder.decode(bytes(fresh))

    def stop(self) -> None:
        """Ask the program to end, kill it after two seconds, and close the file."""
        self._process.terminate()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._file.close()


@dataclass(frozen=True)
class LiveSystem:
    """The machine this process runs on."""

    @property
    def platform(self) -> str:
        """``sys.platform``."""
        return sys.platform

    @property
    def machine(self) -> str:
        """``platform.machine()``."""
        return platform.machine()

    @property
    def environ(self) -> Mapping[str, str]:
        """``os.environ``."""
        return os.environ

    def run(self, program: str, *arguments: str, timeout_s: float = 2.0) -> str | None:
        """Run ``program`` in the C locale, without input.

        Raises:
            ValueError: ``program`` is not an absolute path.
        """
        _require_absolute(program)
        try:
            answer = subprocess.run(
                (program, *arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=timeout_s,
                env=_plain_environment(),
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.decode(errors="replace")

    def start(self, program: str, *arguments: str) -> Stream | None:
        """Start ``program`` in the C locale, without input.

        Raises:
            ValueError: ``program`` is not an absolute path.
        """
        _require_absolute(program)
        try:
            return LiveStream((program, *arguments))
        except OSError:
            return None

    def read_text(self, path: str) -> str | None:
        """Read at most 1 Mi characters; undecodable bytes become replacement characters."""
        try:
            with Path(path).open(errors="replace") as file:
                return file.read(_MAX_TEXT_CHARACTERS)
        except OSError:
            return None

    def list_names(self, path: str) -> tuple[str, ...]:
        """List ``path``, sorted by name."""
        try:
            return tuple(sorted(entry.name for entry in Path(path).iterdir()))
        except OSError:
            return ()

    def find_program(self, name: str) -> str | None:
        """Search ``PATH``."""
        found = shutil.which(name)
        return None if found is None else str(Path(found).absolute())

    def package_version(self, name: str) -> str | None:
        """Ask ``importlib.metadata``."""
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def read_niceness(self) -> int | None:
        """Ask ``getpriority``."""
        return None if sys.platform == "win32" else os.getpriority(os.PRIO_PROCESS, 0)

    def is_background(self) -> bool | None:
        """Ask ``getpriority`` as macOS extends it."""
        if sys.platform != "darwin":
            return None
        try:
            return os.getpriority(_PRIO_DARWIN_PROCESS, 0) == 1
        except OSError:
            return None


def _require_absolute(program: str) -> None:
    if not Path(program).is_absolute():
        raise ValueError(f"a program is run by its absolute path, got {program!r}")


def _plain_environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


LIVE_SYSTEM: Final = LiveSystem()
