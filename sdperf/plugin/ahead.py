"""Which processes a session wants next, so that they can be started before they are. Pure."""

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
class Processes:
    """How many processes are wanted.

    Attributes:
        now: By the tests that share this one's pipeline.
        next: By those after them, which load another.
        begins: Whether the test is the first of its kind, timed or not, that asks this pipeline.
    """

    now: int
    next: int
    begins: bool


def count_processes(
    plan: Sequence[Wanted], node_id: str, is_skipped: Callable[[Variant], bool]
) -> Processes:
    """Count the processes that a test and those after it want.

    Args:
        plan: All tests in order; those with equal pipelines lie together.
        node_id: The test.
        is_skipped: Whether a variant will be skipped.
    """
    groups = [
        list(group)
        for _, group in itertools.groupby(
            (one for one in plan if one.node_id == node_id or not is_skipped(one.variant)),
            key=lambda one: one.pipeline,
        )
    ]
    place = next((i for i, group in enumerate(groups) if _has(group, node_id)), None)
    if place is None:
        return Processes(now=1, next=0, begins=False)
    after = groups[place + 1] if place + 1 < len(groups) else []
    return Processes(
        now=_most_workers(groups[place]),
        next=_most_workers(after),
        begins=_is_first_of_its_kind(groups[place], node_id),
    )


def _is_first_of_its_kind(group: Sequence[Wanted], node_id: str) -> bool:
    kind = next(one.is_timed for one in group if one.node_id == node_id)
    return next(one.node_id for one in group if one.is_timed is kind) == node_id


def _has(group: Iterable[Wanted], node_id: str) -> bool:
    return any(one.node_id == node_id for one in group)


def _most_workers(group: Iterable[Wanted]) -> int:
    return max((one.variant.workers for one in group), default=0)
