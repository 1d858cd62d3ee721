"""What measures the steps of a question: worktrees of commits, environments of package versions."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self

from sdperf.ab.sides.environments import EnvironmentStore
from sdperf.ab.sides.revisions import opened_revisions
from sdperf.ab.sides.sides import MatrixCase, Side, SideError
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.turns.comparing import compare
from sdperf.ab.turns.view import View
from sdperf.ab.verdict.comparison import Compared, CompareOptions
from sdperf.bisect.packages import label_step
from sdperf.errors import PackageError
from sdperf.record.workload import Workload

SHORT: Final = 12
"""Digits of a commit in labels."""

Compare = Callable[..., Compared]


class SideSource(Protocol):
    """Where the sides of steps come from."""

    def opened(self, step: str) -> contextlib.AbstractContextManager[Side]:
        """Make a step's side; what it needs is there until the context ends.

        Raises:
            PackageError: The step cannot be had.
            ConfigurationError: Something is in the way: no room, no network.
        """

    def list_conflicts(self, step: str) -> tuple[str, ...]:
        """List what pip named that does not fit together at a step that was opened."""


@dataclass
class SideTester:
    """Compares steps whose sides come from a source. Use it as a context manager.

    Attributes:
        source: Makes the sides.
        good: A search's good end, or a sweep's anchor: it stays open for the whole sitting.
        bench: Makes arms.
        view_for: Makes what shows how a test goes.
        measure: Compares two sides.
    """

    source: SideSource
    good: str
    bench: LiveBench
    view_for: Callable[[CompareOptions], View]
    measure: Compare = compare
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _good: Side | None = None

    def __enter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the good end."""
        self._good = None
        self._stack.close()

    def compare(
        self, base: str, step: str, cases: Sequence[MatrixCase], options: CompareOptions
    ) -> Compared:
        """Measure a step (B) against another (A)."""
        with contextlib.ExitStack() as stack:
            try:
                a = self._open(base, stack)
            except PackageError as error:
                raise SideError("A", base, error) from error
            b = self._open(step, stack)
            return self.measure(a, b, cases, options, bench=self.bench, view=self.view_for(options))

    def list_conflicts(self, step: str) -> tuple[str, ...]:
        """List what pip named that does not fit together at a step that was measured."""
        return self.source.list_conflicts(step)

    def _open(self, step: str, stack: contextlib.ExitStack) -> Side:
        """Open a step's side until the stack ends; the good end's once, whichever side it is."""
        if step != self.good:
            return stack.enter_context(self.source.opened(step))
        if self._good is None:
            self._good = self._stack.enter_context(self.source.opened(step))
        return self._good


@dataclass
class Commits:
    """Sides of commits: each has a worktree while it is open.

    Attributes:
        here: The current folder, in the repository.
        template: What all sides share.
    """

    here: Path
    template: Side

    @contextlib.contextmanager
    def opened(self, step: str) -> Iterator[Side]:
        """Check a commit out."""
        with opened_revisions((step,), self.here) as (code,):
            yield dataclasses.replace(
                self.template,
                label=step[:SHORT],
                code=code.code,
                replaces_sdperf=code.replaces_sdperf,
                folder=code.folder,
                revision=code.commit,
                repository=code.repository,
            )

    def list_conflicts(self, _step: str) -> tuple[str, ...]:
        """List none: commits run in the environment that is there."""
        return ()


@dataclass
class Versions:
    """Sides of package versions: each has an environment, which is locked while it is open.

    Attributes:
        store: The environments.
        template: What all sides share.
        companions: Requirements that every environment holds too.
    """

    store: EnvironmentStore
    template: Side
    companions: tuple[str, ...] = ()
    _conflicts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def list_conflicts(self, step: str) -> tuple[str, ...]:
        """List what pip named when the step's environment was built."""
        return self._conflicts.get(step, ())

    @contextlib.contextmanager
    def opened(self, step: str) -> Iterator[Side]:
        """Build an environment, or take the one that is there."""
        with self.store.opened([*step.split(), *self.companions]) as (python, record):
            self._conflicts[step] = record.conflicts
            yield self.make_side(step, python)

    def make_side(self, step: str, interpreter: Path) -> Side:
        """Let the workers of a step run in its environment."""
        return dataclasses.replace(self.template, label=label_step(step), interpreter=interpreter)


class AskedSide(Protocol):
    """What a question says of all of its sides."""

    @property
    def workload(self) -> Workload:
        """What is generated."""

    @property
    def subject(self) -> str | None:
        """``module:function`` that makes the pipeline, or ``None``."""

    @property
    def device(self) -> str:
        """A choice of the setting ``device``."""


def make_template(question: AskedSide) -> Side:
    """Return what all sides of a question share."""
    return Side("", question.workload, subject=question.subject, device=question.device)
