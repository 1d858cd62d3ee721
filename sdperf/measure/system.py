"""The operating system behind a small protocol, so that everything that asks it can be tested."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_MAX_TEXT_CHARACTERS: Final = 1 << 20


class System(Protocol):
    """What sdperf asks an operating system. Every answer may be missing; none raises for that."""

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

    def read_text(self, path: str) -> str | None:
        """Read a file such as ``/proc/meminfo``; ``None`` where it cannot be read."""

    def list_names(self, path: str) -> tuple[str, ...]:
        """List a folder's entries in order; empty where it cannot be listed."""

    def find_program(self, name: str) -> str | None:
        """Find a program's absolute path on the search path."""

    def package_version(self, name: str) -> str | None:
        """Version of an installed Python package, from its metadata, without importing it."""


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
        if not Path(program).is_absolute():
            raise ValueError(f"a program is run by its absolute path, got {program!r}")
        try:
            answer = subprocess.run(
                (program, *arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=timeout_s,
                env={**os.environ, "LC_ALL": "C"},
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.decode(errors="replace")

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


LIVE_SYSTEM: Final = LiveSystem()
