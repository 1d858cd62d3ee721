"""Python environments with other versions of some packages, built once and kept.

An environment is a virtual environment over the present one: the requested packages are installed
into it, and all others are found in the present one. So another version of one package does not
download all the others again. A folder is an environment once it has its marker. A folder without a
marker was left by a killed build: it is removed and built again. Locks keep two processes from
building or removing an environment that the other one uses. What writes into an environment holds
its lock too: pip goes on for a while after ``kill -9`` of the process that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from sdperf.ab.sides.pip_messages import explain_pip_failure, find_conflicts
from sdperf.ab.sides.present import Overlaid, read_present_environment
from sdperf.errors import ConfigurationError, PackageError, RecordError, SdperfError
from sdperf.folders import (
    list_folder,
    measure_bytes,
    remove_marked,
    remove_unused,
    wait_for_lock,
)
from sdperf.models.hashing import default_cache_dir
from sdperf.record.json import format_record, parse_record
from sdperf.store.files import write_atomically

MARKER: Final = "sdperf-environment.json"
OVERLAY: Final = "sdperf-overlay.pth"
_PIP_VARIABLES: Final = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON")
"""Options of pip that would install the packages elsewhere."""

_TELLING: Final = (
    *("Collecting", "Downloading", "Processing", "Building", "Installing", "Successfully"),
    "ERROR",
)
"""Beginnings of pip's lines that are shown; the log has all lines."""

_ATTEMPTS: Final = 3
"""Times that an environment is looked for: another process may clean it between two locks."""

_ASK_VERSIONS: Final = (
    "import importlib.metadata, json, sys; "
    "print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))"
)


@dataclass(frozen=True)
class EnvironmentRecord:
    """The marker of a finished environment.

    Attributes:
        requirements: The requirements that were installed over the present environment.
        versions: The versions in it, by the names of the requirements.
        python: Version of the interpreter.
        below: Hash of the packages of the environment below at that time.
        conflicts: pip's notes on packages that no longer fit each other.
        built_at: When it was built, ISO 8601, UTC.
    """

    requirements: tuple[str, ...]
    versions: dict[str, str]
    python: str
    below: str
    conflicts: tuple[str, ...]
    built_at: str


@dataclass(frozen=True)
class StoredEnvironment:
    """A folder of the store.

    Attributes:
        folder: Its path.
        record: Its marker; ``None`` for an unfinished build.
        size_bytes: Bytes of its own files.
    """

    folder: Path
    record: EnvironmentRecord | None
    size_bytes: int


RunProgram = Callable[[Sequence[str], Callable[[str], None]], int]
"""Runs a program, passes on each line that it prints, and returns its exit status."""

RunInstaller = Callable[[Sequence[str], Callable[[str], None], Collection[int]], int]
"""Runs a program that inherits some descriptors, such as that of a lock."""


def run_aloud(
    command: Sequence[str], note: Callable[[str], None], held: Collection[int] = ()
) -> int:
    """Run a program to its end, or end it when interrupted.

    Args:
        command: The program and its words.
        note: Called with each line that it prints.
        held: Descriptors that it inherits. A lock among them stays taken until it ends, also when
            this process is killed.

    Returns:
        Its exit status.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=_clean_environment(),
        pass_fds=tuple(held),
    )
    with process:
        try:
            for line in process.stdout or ():
                note(line)
            return process.wait()
        finally:
            process.kill()


@dataclass
class EnvironmentStore:
    """Environments below one folder, each named after the hash of what makes it.

    Attributes:
        folder: The folder of all environments.
        below: The environment that they are made over.
        pip_options: Given to ``pip install``, such as ``--index-url``.
        say: Shows what happens now.
        wait_s: Waits a number of seconds while another process builds.
        run: Runs pip, which inherits the lock.
    """

    folder: Path
    below: Overlaid
    pip_options: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda _: None
    wait_s: Callable[[float], None] = time.sleep
    run: RunInstaller = run_aloud

    @classmethod
    def of_user(
        cls,
        pip_options: Sequence[str],
        say: Callable[[str], None],
        below: Overlaid | None = None,
    ) -> Self:
        """Open the user's own store.

        Args:
            pip_options: Given to ``pip install``.
            say: Shows what happens now.
            below: The environment that all are laid over; ``None`` is that of this process.

        Raises:
            ConfigurationError: No folder for environments is known.
        """
        below = read_present_environment() if below is None else below
        return cls(locate_environments(), below, tuple(pip_options), say=say)

    @contextlib.contextmanager
    def opened(self, requirements: Sequence[str]) -> Iterator[tuple[Path, EnvironmentRecord]]:
        """Yield the interpreter of an environment, which is built where it does not exist.

        While it is open, no other process removes it.

        Raises:
            PackageError: These versions cannot be installed here.
            ConfigurationError: There is no network, room or pip, the folder cannot be written, or
                others remove the environment again and again.
        """
        key = self._compute_key(requirements)
        folder = self.folder / key
        with contextlib.ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context((self.folder / f"{key}.lock").open("w"))
            except OSError as error:
                raise _unwritable(self.folder, error) from error
            record = self._open_locked(lock, folder, requirements)
            yield _python_of(folder), record

    def list_environments(self) -> list[StoredEnvironment]:
        """Return the environments of the store, oldest first, unfinished builds last."""
        folders = [path for path in list_folder(self.folder) if path.is_dir()]
        found = [
            StoredEnvironment(path, _read_marker(path), measure_bytes(path)) for path in folders
        ]
        return sorted(
            found, key=lambda one: (one.record is None, one.record.built_at if one.record else "")
        )

    def clean(self) -> tuple[int, list[Path]]:
        """Remove every environment that no process uses.

        Returns:
            Bytes that were freed, and the folders that are in use and were kept.

        Raises:
            ConfigurationError: A folder cannot be removed.
        """

        def remove(folder: Path) -> None:
            _remove(folder)
            folder.with_suffix(".log").unlink(missing_ok=True)

        folders = [stored.folder for stored in self.list_environments()]
        return remove_unused(folders, lambda path: path.with_suffix(".lock").open("w"), remove)

    def _compute_key(self, requirements: Sequence[str]) -> str:
        parts = {
            "requirements": sorted(requirements),
            "pip": self.pip_options,
            "python": [platform.python_implementation(), self.below.version, self.below.python],
            "machine": [sys.platform, platform.machine()],
            "below": self.below.folders,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _open_locked(
        self, lock: IO[str], folder: Path, requirements: Sequence[str]
    ) -> EnvironmentRecord:
        """Return the marker of an environment that stays while the lock is shared.

        A lock cannot be turned from exclusive into shared without a moment between, in which
        another process may remove what was built: so it is looked at again under the shared one.
        """
        for _ in range(_ATTEMPTS):
            self._wait_for(lock, requirements, fcntl.LOCK_SH)
            record = self._find_ready(folder, requirements)
            if record is not None:
                return record
            fcntl.flock(lock, fcntl.LOCK_UN)  # two that both hold it would wait for ever
            self._wait_for(lock, requirements, fcntl.LOCK_EX)
            if self._find_ready(folder, requirements) is None:  # none built it meanwhile
                self._build(folder, requirements, lock)
        raise ConfigurationError(
            f"the environment with {' '.join(requirements)} does not stay",
            got=f"{folder} was gone or changed {_ATTEMPTS} times",
            hint="end what cleans this folder, such as sdperf bisect --clean-environments",
        )

    def _wait_for(self, lock: IO[str], requirements: Sequence[str], mode: int) -> None:
        wait_for_lock(
            lock,
            mode,
            on_wait=lambda: self.say(
                f"{' '.join(requirements)}: another process has it open, waiting"
            ),
            wait_s=self.wait_s,
        )

    def _find_ready(self, folder: Path, requirements: Sequence[str]) -> EnvironmentRecord | None:
        """Return the marker of an environment that works, if the one below has not changed."""
        record = _read_marker(folder)
        if record is None or record.below != self.below.packages:
            return None
        return record if _ask_versions(folder, requirements) == record.versions else None

    def _build(self, folder: Path, requirements: Sequence[str], lock: IO[str]) -> None:
        """Install into an environment, or into a fresh folder where none was finished."""
        wanted = " ".join(requirements)
        self.say(f"{wanted}: making an environment")
        try:
            was_whole = _read_marker(folder) is not None and _ask_versions(folder, ()) is not None
            (folder / MARKER).unlink(missing_ok=True)
            if not was_whole:
                _remove(folder)
                self._make_empty(folder, lock)
            output = self._install(folder, requirements, lock)
            versions = _ask_versions(folder, requirements)
            if versions is None:
                raise PackageError(f"{wanted} was installed, but is not found", got=str(folder))
            record = EnvironmentRecord(
                requirements=tuple(requirements),
                versions=versions,
                python=self.below.version.split()[0],
                below=self.below.packages,
                conflicts=find_conflicts(output),
                built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            )
            content = json.dumps(format_record(record), indent=1).encode()
            write_atomically(folder / MARKER, content)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def _make_empty(self, folder: Path, lock: IO[str]) -> None:
        """Make a virtual environment that finds the packages of the one below after its own.

        Raises:
            ConfigurationError: The interpreter cannot make virtual environments.
            OSError: The folder cannot be written.
        """
        made = subprocess.run(
            [self.below.python, "-m", "venv", "--without-pip", str(folder)],
            capture_output=True,
            text=True,
            check=False,
            env=_clean_environment(),
            pass_fds=(lock.fileno(),),
        )
        if made.returncode:
            raise ConfigurationError(
                "no virtual environment can be made",
                got=made.stderr.strip().splitlines()[-1:] or f"exit status {made.returncode}",
                hint=f"{self.below.python} -m venv /tmp/try",
            )
        (own,) = folder.glob("lib/python*/site-packages")
        lines = [f"import site; site.addsitedir({below!r})" for below in self.below.folders]
        (own / OVERLAY).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _install(self, folder: Path, requirements: Sequence[str], lock: IO[str]) -> str:
        """Run pip and return its output, which is also kept beside the environment."""
        command = [
            *(str(_python_of(folder)), "-m", "pip", "install"),
            *("--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
            *self.pip_options,
            *requirements,
        ]
        log = folder.with_suffix(".log")
        lines: list[str] = []

        def note(line: str) -> None:
            lines.append(line)
            if line.strip().startswith(_TELLING):
                self.say(f"{' '.join(requirements)}: {line.strip()}")

        try:
            status = self.run(command, note, (lock.fileno(),))
        finally:
            log.write_text("".join(lines), encoding="utf-8")
        output = "".join(lines)
        if status:
            failure: SdperfError = explain_pip_failure(output, requirements, str(log))
            raise failure
        return output


def locate_environments() -> Path:
    """Return the user's folder of environments.

    Raises:
        ConfigurationError: The user has no home and ``XDG_CACHE_HOME`` is not set.
    """
    cache = default_cache_dir()
    if cache is None:
        raise ConfigurationError(
            "there is no folder to keep environments in", hint="set XDG_CACHE_HOME or HOME"
        )
    return cache / "environments"


def _python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _clean_environment() -> dict[str, str]:
    hidden = {*_PIP_VARIABLES, "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _ask_versions(folder: Path, names: Sequence[str]) -> dict[str, str] | None:
    """Ask an environment's own interpreter which versions it finds; ``None`` where it cannot."""
    from packaging.requirements import Requirement

    python = _python_of(folder)
    if not python.exists():
        return None
    try:
        asked = subprocess.run(
            [str(python), "-c", _ASK_VERSIONS, *(Requirement(name).name for name in names)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env=_clean_environment(),
        )
        answer = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return {str(name): str(version) for name, version in answer.items()}


def _read_marker(folder: Path) -> EnvironmentRecord | None:
    try:
        document = json.loads((folder / MARKER).read_bytes())
        return parse_record(EnvironmentRecord, document)
    except (OSError, ValueError, RecordError):
        return None


def _remove(folder: Path) -> None:
    try:
        remove_marked(folder, MARKER)
    except OSError as error:
        raise ConfigurationError(
            f"the environment {folder} cannot be removed", got=error.strerror
        ) from error


def _unwritable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"no environment can be written to {folder}",
        got=error.strerror or str(error),
        hint="sdperf bisect --clean-environments, or point XDG_CACHE_HOME to another disk",
    )
