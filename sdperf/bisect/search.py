"""Where did it begin? Binary search over commits or versions, as ``git bisect`` does it. Pure.

The steps form a directed acyclic graph with one tip: commits with their parents, or a list of
versions, which is a chain. Every step is either like the good end or like the bad end, and what
comes after a bad step is bad. The search is a function of the answers so far: it holds no state, so
that a search that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

Answer = Literal["good", "bad", "skipped", "open"]
"""What testing a step said: like the good end, like the bad end, it cannot be tested (it does not
import, install or generate), or it was tested and the machine was too noisy to tell."""

UNANSWERED: Final = ("skipped", "open")


@dataclass(frozen=True)
class History:
    """The steps among which the first bad one is.

    Attributes:
        steps: Every step once, what it comes from before it; the last is the bad end. The good end
            is not among them.
        parents: What each step comes from, as far as it is a suspect too.
    """

    steps: tuple[str, ...]
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known: set[str] = set()
        for step in self.steps:
            if step in known or not known.issuperset(self.parents.get(step, ())):
                raise ValueError(f"step {step} comes twice, or before what it comes from")
            known.add(step)
        if not self.steps or self._reach(len(self.steps) - 1).bit_count() != len(self.steps):
            raise ValueError("the last step must come after all others")

    def _reach(self, index: int) -> int:
        return self.reach[index]

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """For each step, the bits of all steps it contains, itself included."""
        place = {step: index for index, step in enumerate(self.steps)}
        reach: list[int] = []
        for index, step in enumerate(self.steps):
            bits = 1 << index
            for parent in self.parents.get(step, ()):
                bits |= reach[place[parent]]
            reach.append(bits)
        return tuple(reach)


def make_chain(steps: Sequence[str]) -> History:
    """Make the history of a list in which each step follows the one before.

    Args:
        steps: Different names, without the good end.
    """
    following = zip(steps[1:], steps, strict=False)
    return History(tuple(steps), {step: (before,) for step, before in following})


@dataclass(frozen=True)
class Standing:
    """How far a search has come.

    Attributes:
        suspects: Steps of which each may still be the first bad one, oldest first.
        next_step: The step to test next; ``None`` when nothing is left to test.
        tests_left: Tests that the search takes at most, if each gives an answer.
    """

    suspects: tuple[str, ...]
    next_step: str | None
    tests_left: int

    @property
    def first_bad(self) -> str | None:
        """The first bad step, when it is known."""
        return self.suspects[0] if len(self.suspects) == 1 else None


def weigh_answers(history: History, answers: Mapping[str, Answer]) -> Standing:
    """Say what the answers leave to suspect, and what to test next.

    The next step is the one that halves the suspects best: of the two parts that an answer can
    leave, the smaller one is largest. Where steps were left without an answer, their neighbours
    may well share the reason: then the choice falls, among the steps that cut off at least half as
    much as the best, on the one farthest from them.

    Args:
        history: The steps; the last is known to be bad.
        answers: Of the steps tested so far.

    Source: the choice without skipped steps is that of ``git rev-list --bisect``.
    """
    suspects = (1 << len(history.steps)) - 1
    for index, step in enumerate(history.steps):
        answer = answers.get(step)
        if answer == "good":
            suspects &= ~history.reach[index]
        elif answer == "bad":
            suspects &= history.reach[index]
    unanswered = 0
    for index in _bits(suspects):
        if answers.get(history.steps[index]) in UNANSWERED:
            unanswered |= 1 << index
    chosen = _choose(history, suspects, unanswered)
    return Standing(
        suspects=tuple(history.steps[index] for index in _bits(suspects)),
        next_step=None if chosen is None else history.steps[chosen],
        tests_left=_count_tests(history, suspects),
    )


def _choose(history: History, suspects: int, unanswered: int) -> int | None:
    """Return the step to test, of the suspects but the bad tip and those without an answer."""
    size = suspects.bit_count()
    scores: dict[int, int] = {}
    for index in _bits(suspects & ~unanswered):
        kept = (history.reach[index] & suspects).bit_count()
        if kept < size:
            scores[index] = min(kept, size - kept)
    if not scores:
        return None
    best = max(scores.values())
    if not unanswered:
        return next(index for index, score in scores.items() if score == best)
    order = {index: place for place, index in enumerate(_bits(suspects))}
    avoided = [order[index] for index in _bits(unanswered)]
    worthwhile = [index for index, score in scores.items() if 2 * score >= best]
    return max(
        worthwhile,
        key=lambda index: (
            min(abs(order[index] - place) for place in avoided),
            scores[index],
            -index,
        ),
    )


def _count_tests(history: History, suspects: int) -> int:
    """Count the tests on the longest path of the search; a chain of n takes ceil(log2(n))."""
    longest, parts = 0, [(suspects, 0)]
    while parts:
        part, depth = parts.pop()
        longest = max(longest, depth)
        chosen = _choose(history, part, 0)
        if chosen is not None:
            reach = history.reach[chosen]
            parts += [(part & reach, depth + 1), (part & ~reach, depth + 1)]
    return longest


def _bits(mask: int) -> Iterator[int]:
    """Yield the places of the bits that are set, lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
