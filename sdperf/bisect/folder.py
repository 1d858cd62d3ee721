"""What the work on one question has found so far, kept after each comparison.

Killed at any moment, it goes on after the last comparison that was finished: the state is written
whole or not at all, after the comparison and the images that it names.
"""

from __future__ import annotations

import abc
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from sdperf.ab.verdict.comparison import AbComparison, Compared
from sdperf.errors import ConfigurationError, RecordError
from sdperf.folders import open_lock
from sdperf.git.links import is_tracked, refuse_tracked_links
from sdperf.record.json import decode_object, format_record, parse_record
from sdperf.store.files import keep_out_of_git, write_atomically

S = TypeVar("S")


def hash_question(question: object) -> str:
    """Hash everything that is asked, a dataclass; 16 hexadecimal digits."""
    canonical = json.dumps(format_record(question), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class KeptFolder(abc.ABC, Generic[S]):
    """Where one question's state, comparisons and images lie.

    Attributes:
        parent: ``.sdperf/bisect``, say.
        key: The question's.
    """

    noun: ClassVar[str]
    """What the work on a question is called in messages."""

    parent: Path
    key: str

    @abc.abstractmethod
    def parse(self, document: dict[str, Any]) -> S:
        """Read the state out of plain JSON values.

        Raises:
            RecordError: It is damaged, or answers another question.
        """

    def check_question(self, key: str, known: Collection[str], named: Iterable[str | None]) -> None:
        """Refuse a state that answers another question than the one that is asked.

        Args:
            key: Of the question in the state.
            known: The steps of that question.
            named: Steps that the state names.

        Raises:
            RecordError: It is another question, or a step is none of its.
        """
        if key != self.key:
            raise RecordError("it answers another question", got=key, expected=self.key)
        for step in named:
            if step is not None and step not in known:
                raise RecordError("it names a step that was not asked for", got=ascii(step)[:80])

    @property
    def path(self) -> Path:
        """The state's file."""
        return self.parent / f"{self.key}.json"

    @property
    def folder(self) -> Path:
        """The folder of comparisons and images."""
        return self.parent / self.key

    @property
    def images(self) -> Path:
        """The folder of images."""
        return self.folder / "images"

    @property
    def lock_path(self) -> Path:
        """The file that is locked while the question is worked on."""
        return self.parent / f"{self.key}.lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep another process from asking the same question at the same time.

        Raises:
            ConfigurationError: One does, or the folder cannot be written, or a repository's link
                leads to it.
        """
        self._refuse_tracked_links()
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
            keep_out_of_git(self.parent)
            lock = open_lock(self.lock_path)
        except OSError as error:
            raise self._unwritable(Path(error.filename or self.parent), error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise ConfigurationError(
                    f"this {self.noun} is already running",
                    got=f"process {lock.read(20).strip() or 'unknown'}",
                    hint="wait for it, or end it: what it found so far is kept",
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def read(self) -> S | None:
        """Return the state that was kept; ``None`` where there is none.

        Raises:
            RecordError: The file is damaged, or is of another question.
            ConfigurationError: It cannot be read, or came with the repository.
        """
        self._refuse_tracked_links()
        if is_tracked(self.path):
            raise ConfigurationError(
                f"the {self.noun} kept here came with the repository: none of it was measured here",
                got=f"{self.path}, which git tracks",
                hint="take it out with git rm -r --cached .sdperf, then add --no-resume",
            )
        try:
            return self.parse(decode_object(self.path.read_bytes(), "it"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unwritable(self.path, error) from error
        except RecordError as error:
            raise RecordError(
                f"the {self.noun} kept in {self.path} cannot be read",
                got=str(error)[:200],
                hint="start again with --no-resume",
            ) from error

    def write(self, state: S) -> None:
        """Keep the state, whole or not at all.

        Raises:
            ConfigurationError: It cannot be written.
        """
        self._write(self.path, json.dumps(format_record(state), indent=1).encode())

    def write_comparison(self, name: str, compared: Compared) -> str:
        """Keep a comparison and its images; return the name of its file."""
        for sha256, png in compared.pngs.items():
            self._write(self.images / f"{sha256}.png", png)
        file_name = f"{name}.json"
        content = json.dumps(format_record(compared.record)).encode()
        self._write(self.folder / file_name, content)
        return file_name

    def read_comparison(self, file_name: str) -> AbComparison:
        """Read a comparison that the state names.

        Raises:
            RecordError: It is missing or damaged.
        """
        path = self.folder / Path(file_name).name
        try:
            return parse_record(AbComparison, decode_object(path.read_bytes(), "it"))
        except (OSError, RecordError) as error:
            raise RecordError(
                f"the comparison {path} cannot be read",
                got=str(error)[:200],
                hint="start again with --no-resume",
            ) from error

    def find_image(self, sha256: str) -> Path | None:
        """Return the file of an image by its content hash, where it was kept."""
        path = self.images / f"{sha256}.png"
        return path if path.is_file() else None

    def forget(self) -> None:
        """Remove the state and all that belongs to it."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _refuse_tracked_links(self) -> None:
        """Refuse places that a repository chose: files are written and removed there."""
        ignored = self.parent / ".gitignore"
        places = (self.path, self.lock_path, self.folder, self.images, ignored)
        refuse_tracked_links(self.noun, *places)

    def _write(self, path: Path, content: bytes) -> None:
        refuse_tracked_links(self.noun, path)
        try:
            write_atomically(path, content)
        except OSError as error:
            raise self._unwritable(path, error) from error

    def _unwritable(self, path: Path, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the {self.noun} cannot be kept in {path}",
            got=error.strerror,
            hint="make room and ask again",
        )
