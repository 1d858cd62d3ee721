"""What a search was asked and what it has found so far, kept after each step.

Killed at any moment, a search goes on after the last step that was finished: its state is written
whole or not at all, after the comparison and the images that it names.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import Compared, CompareOptions, Comparison
from sdperf.bisect.judging import Aspect, CaseAnswer, Target
from sdperf.bisect.search import Answer, History
from sdperf.errors import ConfigurationError, RecordError
from sdperf.record.json import (
    decode_object,
    format_record,
    parse_record,
)
from sdperf.record.workload import Workload
from sdperf.store.files import write_atomically

BISECT_FORMAT_VERSION: Final = 1
"""Version of the stored state; a state of another version is another question."""

Kind = Literal["revisions", "packages"]


@dataclass(frozen=True)
class Question:
    """What is asked. The same question, asked again, goes on where it was left.

    Attributes:
        kind: What the steps are.
        good: The good end: a commit, or requirements.
        history: The steps after it; the last is the bad end.
        aspects: What counts as bad.
        workload: What is generated.
        subject: ``module:function`` that makes the pipeline, or ``None``.
        device: A choice of the setting ``device``.
        cases: Cases of the matrix.
        options: How the bad end is compared with the good end; ``alpha`` is the whole search's.
        software: Versions that matter, by package; those that the steps do not change.
        pip_options: Given to ``pip install``.
        format_version: Version of the state.
    """

    kind: Kind
    good: str
    history: History
    aspects: tuple[Aspect, ...]
    workload: Workload
    subject: str | None
    device: str
    cases: tuple[MatrixCase, ...]
    options: CompareOptions
    software: Mapping[str, str] = field(default_factory=dict)
    pip_options: tuple[str, ...] = ()
    format_version: int = BISECT_FORMAT_VERSION

    @property
    def bad(self) -> str:
        """The bad end."""
        return self.history.steps[-1]

    def key(self) -> str:
        """Hash everything that is asked; 16 hexadecimal digits."""
        canonical = json.dumps(format_record(self), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StepRecord:
    """One step that was tested.

    Attributes:
        step: Which.
        answer: What testing it said.
        reason: Why it was skipped or left open; empty otherwise.
        cases: What each case said.
        comparisons: Files of the whole comparisons, in the search's folder.
        took_s: How long it took, seconds.
        finished: When, UTC, ISO 8601.
    """

    step: str
    answer: Answer
    reason: str = ""
    cases: tuple[CaseAnswer, ...] = ()
    comparisons: tuple[str, ...] = ()
    took_s: float = 0.0
    finished: str = ""


@dataclass(frozen=True)
class BisectState:
    """How far a search has come.

    Attributes:
        question: What was asked.
        started: When, UTC, ISO 8601.
        end: The bad end against the good end; ``None`` before that.
        targets: What is worse at the bad end.
        undecided: Whether the bad end's speed was asked for and could not be decided.
        steps: The steps in the order in which they were tested.
        closing: The first bad step against the step before it; ``None`` before that.
        closing_base: What it was compared with.
    """

    question: Question
    started: str
    end: StepRecord | None = None
    targets: tuple[Target, ...] = ()
    undecided: bool = False
    steps: tuple[StepRecord, ...] = ()
    closing: StepRecord | None = None
    closing_base: str | None = None

    @property
    def answers(self) -> dict[str, Answer]:
        """What each tested step said."""
        return {record.step: record.answer for record in self.steps}

    @property
    def tests(self) -> int:
        """How many tests were made; a skipped step is none."""
        return (self.end is not None) + sum(one.answer != "skipped" for one in self.steps)

    def with_step(self, record: StepRecord) -> BisectState:
        """Return the state after one more step."""
        return replace(self, steps=(*self.steps, record))


@dataclass(frozen=True)
class StateFolder:
    """Where one question's state, comparisons and images lie.

    Attributes:
        parent: ``.sdperf/bisect``.
        key: The question's.
    """

    parent: Path
    key: str

    @property
    def path(self) -> Path:
        """The state's file."""
        return self.parent / f"{self.key}.json"

    @property
    def folder(self) -> Path:
        """The folder of comparisons and images."""
        return self.parent / self.key

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep another process from asking the same question at the same time.

        Raises:
            ConfigurationError: One does, or the folder cannot be written.
        """
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
            lock = (self.parent / f"{self.key}.lock").open("a+")
        except OSError as error:
            raise _unwritable(self.parent, error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise ConfigurationError(
                    "this search is already running",
                    got=f"process {lock.read(20).strip() or 'unknown'}",
                    hint="wait for it, or end it: what it found so far is kept",
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def read(self) -> BisectState | None:
        """Return the state that was kept; ``None`` where there is none.

        Raises:
            RecordError: The file is damaged.
        """
        try:
            return parse_record(BisectState, decode_object(self.path.read_bytes(), "it"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unwritable(self.path, error) from error
        except RecordError as error:
            raise RecordError(
                f"the search kept in {self.path} cannot be read",
                got=str(error)[:200],
                hint="begin anew with --no-resume",
            ) from error

    def write(self, state: BisectState) -> None:
        """Keep the state, whole or not at all.

        Raises:
            ConfigurationError: It cannot be written.
        """
        self._write(self.path, json.dumps(format_record(state), indent=1).encode())

    def write_comparison(self, name: str, compared: Compared) -> str:
        """Keep a comparison and its images; return the name of its file."""
        for sha256, png in compared.pngs.items():
            self._write(self.folder / "images" / f"{sha256}.png", png)
        file_name = f"{name}.json"
        content = json.dumps(format_record(compared.record)).encode()
        self._write(self.folder / file_name, content)
        return file_name

    def read_comparison(self, file_name: str) -> Comparison:
        """Read a comparison that the state names.

        Raises:
            RecordError: It is missing or damaged.
        """
        path = self.folder / file_name
        try:
            return parse_record(Comparison, decode_object(path.read_bytes(), "it"))
        except (OSError, RecordError) as error:
            raise RecordError(
                f"the comparison {path} cannot be read",
                got=str(error)[:200],
                hint="begin anew with --no-resume",
            ) from error

    def find_image(self, sha256: str) -> Path | None:
        """Return the file of an image by its content hash, where it was kept."""
        path = self.folder / "images" / f"{sha256}.png"
        return path if path.is_file() else None

    @contextlib.contextmanager
    def noted(self, place: str) -> Iterator[None]:
        """Keep the place of a worktree on disk while it is there."""
        self.write_places((*self.read_places(), place))
        try:
            yield
        finally:
            self.write_places(tuple(one for one in self.read_places() if one != place))

    def read_places(self) -> tuple[str, ...]:
        """Return the places of worktrees that are there, or that a killed search left."""
        try:
            return tuple(os.fsdecode(self._places.read_bytes()).splitlines())
        except FileNotFoundError:
            return ()

    def write_places(self, places: Sequence[str]) -> None:
        """Keep the places of worktrees; none leaves no file."""
        if places:
            self._write(self._places, os.fsencode("".join(f"{place}\n" for place in places)))
        else:
            self._places.unlink(missing_ok=True)

    @property
    def _places(self) -> Path:
        return self.parent / f"{self.key}.worktrees"

    def forget(self) -> None:
        """Remove the state and all that belongs to it."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_atomically(path, content)
        except OSError as error:
            raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the search cannot be kept in {path}", got=error.strerror, hint="make room and ask again"
    )
