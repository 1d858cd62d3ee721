"""Which comparisons a sweep makes, in which order, and what each may spend of the error. Pure.

The next comparison is a function of the answers so far: a sweep that was killed goes on where it
was, and none is made twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["neighbour", "anchor"]
"""A step against the one before it, or against the anchor. Where that is the same, it is made once
and called ``neighbour``."""

DENSE_SHARE: Final = 0.5
"""Share of the error that is kept for the steps between those that are measured first."""


@dataclass(frozen=True)
class PlannedPair:
    """One comparison.

    Attributes:
        a: The reference: the step before, or the anchor.
        b: The step that is judged.
        role: Which of them the reference is.
        is_dense: Whether it was chosen because something happened between two steps.
    """

    a: str
    b: str
    role: Role
    is_dense: bool = False


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep is about.

    Attributes:
        steps: Every step of the range, oldest first.
        chosen: Those that are measured whatever happens, in the same order.
        anchor: What every step is also compared with; ``None`` is the first that can be measured.
        is_dense: Whether steps between two chosen ones are measured where something happened.
    """

    steps: tuple[str, ...]
    chosen: tuple[str, ...]
    anchor: str | None = None
    is_dense: bool = False

    def __post_init__(self) -> None:
        places = [self.steps.index(one) for one in self.chosen]
        if len(places) < 2 or places != sorted(set(places)):
            raise ValueError(f"a sweep over {len(places)} steps, or in no order")
        if len(set(self.steps)) != len(self.steps) or self.anchor not in (None, *self.chosen):
            raise ValueError("a step comes twice, or the anchor is none of those that are measured")

    @property
    def most_chosen_pairs(self) -> int:
        """Comparisons of the chosen steps, if each can be measured; never more are made."""
        return sum(1 for _ in list_pairs(self.chosen, self.anchor))

    @property
    def most_dense_pairs(self) -> int:
        """Comparisons of the steps between, if something happened everywhere; never more."""
        if not self.is_dense:
            return 0
        gaps = (len(inner) for _, _, inner in self._list_gaps(self.chosen))
        return sum(2 * inner + 1 for inner in gaps if inner)

    def find_anchor(self, failed: Collection[str]) -> str | None:
        """Return the anchor; ``None`` where no step is left that can be one."""
        if self.anchor is not None:
            return self.anchor
        return next((step for step in self.chosen if step not in failed), None)

    def list_live(self, failed: Collection[str]) -> list[str]:
        """List the chosen steps but those that cannot be measured, oldest first."""
        return [step for step in self.chosen if step not in failed]

    def spend_alpha(self, alpha: float, pair: PlannedPair) -> float:
        """Return what a comparison may spend of the error of the whole sweep, for each direction.

        The comparisons of the chosen steps share the error equally; with ``is_dense`` they share
        half of it, and those between share the other half, as many as there can be at most. Each
        may call a step slower or faster, wrongly one as the other: its share is divided by two.

        Args:
            alpha: Chance of any false step in speed, over the whole sweep.
            pair: The comparison.

        Source: Bonferroni's inequality; which steps are looked at between may depend on all that
            was seen before, because the largest number of comparisons is fixed beforehand.
        """
        kept = DENSE_SHARE if self.most_dense_pairs else 0.0
        if pair.is_dense:
            return alpha * kept / self.most_dense_pairs / 2
        return alpha * (1 - kept) / self.most_chosen_pairs / 2

    def list_left(
        self,
        done: Collection[tuple[str, str]],
        failed: Collection[str],
        eventful: Iterable[tuple[str, str]] = (),
    ) -> Iterator[PlannedPair]:
        """Yield the comparisons that are left, as far as they are known now.

        Args:
            done: Pairs that were compared, or could not be.
            failed: Steps that cannot be measured.
            eventful: Neighbours among the chosen steps between which something happened.
        """
        anchor, live = self.find_anchor(failed), self.list_live(failed)
        if anchor is None:
            return
        for pair in list_pairs(live, anchor):
            if (pair.a, pair.b) not in done:
                yield pair
        if not self.is_dense:
            return
        between = set(eventful)
        kept = set(live)
        for left, right, inner in self._list_gaps(live):
            if (left, right) in between:
                kept |= {step for step in inner if step not in failed}
        known = {(one.a, one.b) for one in list_pairs(live, anchor)}
        for pair in list_pairs([step for step in self.steps if step in kept], anchor):
            if (pair.a, pair.b) not in known and (pair.a, pair.b) not in done:
                yield PlannedPair(pair.a, pair.b, pair.role, is_dense=True)

    def _list_gaps(self, live: Sequence[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield each two neighbours with the steps between that were not chosen."""
        place = {step: index for index, step in enumerate(self.steps)}
        chosen = set(self.chosen)
        for left, right in itertools.pairwise(live):
            between = self.steps[place[left] + 1 : place[right]]
            yield left, right, tuple(step for step in between if step not in chosen)


def list_pairs(steps: Sequence[str], anchor: str | None) -> Iterator[PlannedPair]:
    """Yield the comparisons of a row of steps: each with the one before it, then with the anchor.

    Args:
        steps: Oldest first.
        anchor: One of them; ``None`` is the first.

    >>> [(one.a, one.b) for one in list_pairs(["1", "2", "3"], "1")]
    [('1', '2'), ('2', '3'), ('1', '3')]
    """
    before: str | None = None
    for step in steps:
        if before is not None:
            yield PlannedPair(before, step, "neighbour")
        anchor = anchor or step
        if anchor not in (step, before):
            yield PlannedPair(anchor, step, "anchor")
        before = step


def choose_every(steps: Sequence[str], every: int, anchor: str | None = None) -> tuple[str, ...]:
    """Choose every n-th step, both ends and the anchor.

    >>> choose_every("abcdef", 2), choose_every("abcdef", 4, "b")
    (('a', 'c', 'e', 'f'), ('a', 'b', 'e', 'f'))
    """
    kept = {*range(0, len(steps), every), len(steps) - 1}
    return tuple(step for place, step in enumerate(steps) if place in kept or step == anchor)
