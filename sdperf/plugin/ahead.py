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
        has_plain_side: Whether it is measured in turns with the plain pipeline.
    """

    node_id: str
    variant: Variant
    is_timed: bool = True
    has_plain_side: bool = False

    @property
    def pipeline(self) -> tuple[object, ...]:
        """What one worker loads; tests with equal ones share workers."""
        return self.variant.pipeline


@dataclass(frozen=True)
class Plan:
    """All tests in order; those with equal pipelines lie together.

    Attributes:
        tests: What each will ask.
    """

    tests: Sequence[Wanted] = ()

    def is_first_of_its_pipeline(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> bool:
        """Tell whether no test before asked for the pipeline of this one.

        Args:
            node_id: The test.
            is_skipped: Whether a variant will be skipped.
        """
        asking = (one for one in self._find_group(node_id) if not is_skipped(one.variant))
        return next((one.node_id for one in asking), None) == node_id

    def count_now(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> int:
        """Count the processes that the tests of this one's pipeline want."""
        return _count(self._find_group(node_id), is_skipped)

    def count_all(self, is_skipped: Callable[[Variant], bool]) -> int:
        """Count the processes that the whole session wants."""
        return sum(_count(group, is_skipped) for group in self._divide())

    def _find_group(self, node_id: str) -> list[Wanted]:
        """Return the tests of this one's pipeline."""
        holding = (
            group for group in self._divide() if any(one.node_id == node_id for one in group)
        )
        return next(holding, [])

    def _divide(self) -> list[list[Wanted]]:
        """Return the tests of each pipeline."""
        return [
            list(group) for _, group in itertools.groupby(self.tests, key=lambda one: one.pipeline)
        ]


def _count(group: Iterable[Wanted], is_skipped: Callable[[Variant], bool]) -> int:
    """Count the processes of one pipeline: its workers, and one for each reason to want another.

    The quality suite asks for a fresh process; a second worker has been one. A gain has its plain
    side.
    """
    asking = [one for one in group if not is_skipped(one.variant)]
    workers = max((one.variant.workers for one in asking), default=0)
    wants_fresh = workers == 1 and not all(one.is_timed for one in asking)
    return workers + wants_fresh + any(one.has_plain_side for one in asking)
