"""What measures the steps of a search: worktrees of commits, environments of package versions."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self

from sdperf.ab.sides.environments import EnvironmentStore
from sdperf.ab.sides.revisions import opened_revisions
from sdperf.ab.sides.sides import MatrixCase, Side, SideError
from sdperf.ab.sides.worktree import run_git
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.turns.comparing import compare
from sdperf.ab.turns.view import View
from sdperf.ab.verdict.comparison import Compared, CompareOptions
from sdperf.bisect.packages import label_step
from sdperf.bisect.state import Question, StateFolder
from sdperf.errors import ConfigurationError, PackageError

SHORT: Final = 12
"""Digits of a commit in labels."""

_TEMPORARY: Final = "sdperf-"
"""How the names of our own temporary folders begin; nothing else is removed."""

Compare = Callable[..., Compared]


class SideSource(Protocol):
    """Where the sides of steps come from."""

    def opened(self, step: str) -> contextlib.AbstractContextManager[Side]:
        """Make a step's side; what it needs is there until the context ends.

        Raises:
            PackageError: The step cannot be had.
            ConfigurationError: Something is in the way: no room, no network.
        """


@dataclass
class SideTester:
    """Compares steps whose sides come from a source. Use it as a context manager.

    Attributes:
        source: Makes the sides.
        good: The good end, which stays open for the whole sitting.
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
                a = self._open_base(base, stack)
            except PackageError as error:
                raise SideError("A", base, error) from error
            b = stack.enter_context(self.source.opened(step))
            return self.measure(a, b, cases, options, bench=self.bench, view=self.view_for(options))

    def _open_base(self, base: str, stack: contextlib.ExitStack) -> Side:
        if base != self.good:
            return stack.enter_context(self.source.opened(base))
        if self._good is None:
            self._good = self._stack.enter_context(self.source.opened(base))
        return self._good


@dataclass
class Commits:
    """Sides of commits: each has a worktree while it is open.

    Attributes:
        here: The current folder, in the repository.
        template: What all sides share.
        kept: Where the places of worktrees are noted, so that they are found after a kill.
    """

    here: Path
    template: Side
    kept: StateFolder

    @contextlib.contextmanager
    def opened(self, step: str) -> Iterator[Side]:
        """Check a commit out."""
        with opened_revisions((step,), self.here) as (code,):
            place = run_git(code.folder, "rev-parse", "--show-toplevel").strip()
            with self.kept.noted(place):
                yield dataclasses.replace(
                    self.template,
                    label=step[:SHORT],
                    code=code.code,
                    replaces_sdperf=code.replaces_sdperf,
                    folder=code.folder,
                    revision=code.commit,
                    repository=code.repository,
                )


@dataclass
class Versions:
    """Sides of package versions: each has an environment, which is locked while it is open.

    Attributes:
        store: The environments.
        template: What all sides share.
    """

    store: EnvironmentStore
    template: Side

    @contextlib.contextmanager
    def opened(self, step: str) -> Iterator[Side]:
        """Build an environment, or take the one that is there."""
        with self.store.opened(step.split()) as (python, _):
            yield dataclasses.replace(self.template, label=label_step(step), interpreter=python)


def make_template(question: Question) -> Side:
    """Return what all sides of a question share."""
    return Side("", question.workload, subject=question.subject, device=question.device)


def remove_abandoned(kept: StateFolder, repository: Path) -> int:
    """Remove the worktrees that a killed search left; nobody else may ask its question now.

    Returns:
        How many there were.
    """
    places = [Path(place) for place in kept.read_places()]
    for place in places:
        with contextlib.suppress(ConfigurationError):
            run_git(repository, "worktree", "remove", "--force", "--force", str(place))
        if place.parent.name.startswith(_TEMPORARY):
            shutil.rmtree(place.parent, ignore_errors=True)
    if places:
        with contextlib.suppress(ConfigurationError):
            run_git(repository, "worktree", "prune")
    kept.write_places(())
    return len(places)
