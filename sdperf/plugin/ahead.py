"""Which processes a session wants, so that they can be started before they are wanted. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sdperf.workload import Variant


@dataclass(frozen=True)
class Wanted:
    """What a test will ask of the workers.

    Attributes:
        node_id: Id of the test.
        variant: What they load, and how many of them.
        is_timed: Whether it is a benchmark; the quality suite is not.
    """

    node_id: str
    variant: Variant
    is_timed: bool = True

    @property
    def pipeline(self) -> tuple[object, ...]:
        """What one worker loads; tests with equal ones share workers."""
        return self.variant.precision, self.variant.engine, self.variant.optimisations


@dataclass(frozen=True)
class Plan:
    """All tests in order; those with equal pipelines lie together.

    Attributes:
        tests: What each will ask.
    """

    tests: Sequence[Wanted] = ()

    def count_ahead(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> int:
        """Count the processes to have at hand when a test begins, so that none is waited for.

        A timed test has those of its pipeline start together, if it is the first to want them. One
        that is not has the next pipeline's start while it runs, and one for the fresh process it
        may ask for.
        """
        if not self.is_first_of_its_kind(node_id, is_skipped):
            return 0
        if next(one.is_timed for one in self.tests if one.node_id == node_id):
            return self.count_now(node_id, is_skipped)
        return 1 + self.count_next(node_id, is_skipped)

    def is_first_of_its_kind(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> bool:
        """Tell whether no test before, timed or not as this one is, asked for its pipeline.

        Args:
            node_id: The test.
            is_skipped: Whether a variant will be skipped.
        """
        group = self._divide(node_id)[0]
        kind = next((one.is_timed for one in group if one.node_id == node_id), None)
        alike = (one for one in group if one.is_timed is kind and not is_skipped(one.variant))
        return next((one.node_id for one in alike), None) == node_id

    def count_now(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> int:
        """Count the processes that the tests of this one's pipeline want."""
        return _most_workers(self._divide(node_id)[0], is_skipped)

    def count_next(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> int:
        """Count the processes that the next pipeline wants that is not skipped."""
        counts = (_most_workers(group, is_skipped) for group in self._divide(node_id)[1:])
        return next(filter(None, counts), 0)

    def _divide(self, node_id: str) -> list[list[Wanted]]:
        """Return the tests of this one's pipeline, then those of each pipeline after it."""
        groups = [
            list(group) for _, group in itertools.groupby(self.tests, key=lambda one: one.pipeline)
        ]
        after = itertools.dropwhile(
            lambda group: all(one.node_id != node_id for one in group), groups
        )
        return list(after) or [[]]


def _most_workers(group: Iterable[Wanted], is_skipped: Callable[[Variant], bool]) -> int:
    return max((one.variant.workers for one in group if not is_skipped(one.variant)), default=0)
