"""What trials of a program say of the contract. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from sdperf.engines.external.check.nearness import Nearness
from sdperf.units import format_quantity, format_seconds

State = Literal["kept", "broken", "unknown"]

LEAST_REPEAT: Final = 0.5
"""A known picture may take this share of a new one; less is an answer from memory."""

LEAST_GROWTH: Final = 1.15
"""How much longer three times the steps take at least."""

MOST_AFTERWARDS: Final = 0.2
"""Share of a picture's processor seconds that may be spent after its delivery."""

MOST_RESTED: Final = 0.6
"""A picture after a rest may take this share of one right after another; less is hidden work."""

MOST_TOLD: Final = 1.05
"""A program's own figure over ours, at most: its work lies inside of what we time."""

SMALLEST_S: Final = 0.02
"""Seconds below which a difference of two figures is that of clocks and pipes."""

_STEPS_FACTOR: Final = 3


@dataclass(frozen=True)
class Trial:
    """One picture that was asked for.

    Attributes:
        prompt: Its prompt.
        seed: Its seed.
        steps: Steps that were asked for.
        sha256: Hash of its pixels.
        width: Pixels.
        height: Pixels.
        seconds: From the request to the decoded picture.
        told_s: The program's own figure; ``None`` unknown.
        told_steps: Steps that it says it executed; ``None`` where it does not tell.
        cpu_s: Processor seconds of its processes meanwhile; ``None`` unknown.
        enlarged: From which size it was scaled up, in words; ``None``: it was not, or nobody
            looked.
    """

    prompt: str
    seed: int
    steps: int
    sha256: str
    width: int
    height: int
    seconds: float
    told_s: float | None = None
    told_steps: int | None = None
    cpu_s: float | None = None
    enlarged: str | None = None


@dataclass(frozen=True)
class GivenTrial:
    """One picture of the first seed that was drawn from another picture.

    Attributes:
        trial: What came.
        start: Name of the picture that it started from.
        mask: Name of the mask; empty is none.
        strength: Share of the steps that was asked for; ``None`` where it cannot be told.
    """

    trial: Trial
    start: str
    mask: str = ""
    strength: float | None = None

    @property
    def words(self) -> str:
        """What it was drawn from, for messages."""
        mask = f" and {self.mask}" if self.mask else ""
        strength = "" if self.strength is None else f" at strength {self.strength:g}"
        return f"{self.start}{mask}{strength}"


@dataclass(frozen=True)
class Trials:
    """Everything that was tried.

    Attributes:
        fresh: Pictures of seeds that were never asked for before, right after one another.
        again: The same requests once more, in the same order.
        anew: The first of them in a fresh process.
        more_steps: The first of them with one, two, ... steps more.
        tripled: Fresh seeds with three times the steps.
        halved: Fresh seeds with half of the width and height; empty where no size can be told.
        rested: Fresh seeds, each after a rest.
        other_prompt: The first of them with another prompt.
        afterwards_cpu_s: Processor seconds in a rest after a picture; ``None`` unknown.
        exit_code: After ``stop``; ``None``: it went on.
        leftovers: Processes of its session that outlived it.
        asked_size: Width and height that were asked for; ``None`` is the program's own.
        is_started_each: Whether each picture is a process of its own.
        unknown_stages: Names of stages that sdperf does not know.
        given: The first of the fresh ones, each from something else; empty where no picture is
            taken.
        given_again: The same requests once more, in the same order.
        nearness: Distances of ``given`` from what they were drawn from.
        needs_picture: Whether all others started from one too.
    """

    fresh: Sequence[Trial]
    again: Sequence[Trial]
    anew: Trial
    more_steps: Sequence[Trial]
    tripled: Sequence[Trial]
    halved: Sequence[Trial]
    rested: Sequence[Trial]
    other_prompt: Trial
    afterwards_cpu_s: float | None = None
    exit_code: int | None = 0
    leftovers: int = 0
    asked_size: tuple[int, int] | None = None
    is_started_each: bool = False
    unknown_stages: Sequence[str] = field(default_factory=tuple)
    given: Sequence[GivenTrial] = ()
    given_again: Sequence[GivenTrial] = ()
    nearness: Sequence[Nearness] = ()
    needs_picture: bool = False

    @property
    def all_pictures(self) -> list[Trial]:
        """Every picture, in no order."""
        groups = (self.fresh, self.again, self.more_steps, self.tripled, self.halved, self.rested)
        return [*(one for group in groups for one in group), self.anew, self.other_prompt]


@dataclass(frozen=True)
class Clause:
    """One clause of the contract, and whether it is kept.

    Attributes:
        name: Such as ``seeds repeat``.
        state: Kept, broken, or not to be told.
        words: What was seen.
    """

    name: str
    state: State
    words: str


def judge_trials(trials: Trials) -> list[Clause]:
    """Compare what was seen with each clause of the contract."""
    return [
        _judge_repeats(trials),
        _judge_difference(trials),
        _judge_drawn_anew(trials),
        _judge_steps(trials),
        _judge_size(trials),
        _judge_finished(trials),
        _judge_told_time(trials),
        _judge_end(trials),
        *([_judge_given(trials)] if trials.given else []),
        Clause("standard output", "kept", "replies and pictures only"),
    ]


def _judge_repeats(trials: Trials) -> Clause:
    name = "a seed repeats"
    for one, other in zip(trials.fresh, trials.again, strict=True):
        if one.sha256 != other.sha256:
            return Clause(name, "broken", f"seed {one.seed} twice drew two pictures")
    if trials.anew.sha256 != trials.fresh[0].sha256:
        words = f"seed {trials.anew.seed} drew another picture in a fresh process"
        return Clause(name, "broken", words)
    count = format_quantity(len(trials.again), "seed")
    return Clause(name, "kept", f"{count} twice, and one in a fresh process, to the last pixel")


def _judge_difference(trials: Trials) -> Clause:
    name = "seeds and prompts differ"
    seen: dict[str, int] = {}
    for one in trials.fresh:
        if one.sha256 in seen:
            words = f"seeds {seen[one.sha256]} and {one.seed} drew one picture"
            return Clause(name, "broken", f"{words}: it draws with another seed than it was told")
        seen[one.sha256] = one.seed
    if trials.other_prompt.sha256 == trials.fresh[0].sha256:
        words = f"{trials.fresh[0].prompt!r} and {trials.other_prompt.prompt!r} drew one picture"
        return Clause(name, "broken", words)
    return Clause(
        name, "kept", f"{format_quantity(len(seen), 'seed')} and 2 prompts drew as many pictures"
    )


def _judge_drawn_anew(trials: Trials) -> Clause:
    name = "every picture is drawn"
    given, given_again = (
        [one.trial for one in group] for group in (trials.given, trials.given_again)
    )
    said = []
    groups: tuple[tuple[str, Sequence[Trial], Sequence[Trial]], ...] = (
        ("picture", trials.fresh, trials.again),
        ("one that starts from a picture", given, given_again),
    )
    for kind, fresh, again in groups:
        if not fresh:
            continue
        fresh_s, again_s = _median(fresh), _median(again)
        words = f"a new {kind} takes" if kind == "picture" else f"a new {kind}"
        words += f" {format_seconds(fresh_s)}, a known one {format_seconds(again_s)}"
        said.append(words)
        if again_s < LEAST_REPEAT * fresh_s and fresh_s - again_s > SMALLEST_S:
            return Clause(name, "broken", f"{words}: it is answered from memory")
    return Clause(name, "kept", "; ".join(said))


def _judge_steps(trials: Trials) -> Clause:
    name = "steps are executed"
    for one in trials.all_pictures:
        if one.told_steps is not None and one.told_steps != one.steps:
            words = (
                f"asked for {format_quantity(one.steps, 'step')}, executed {one.told_steps} by its "
                "own word"
            )
            return Clause(name, "broken", words)
    drawn = [trials.fresh[0], *trials.more_steps]
    for one, other in itertools.pairwise(drawn):
        if one.sha256 == other.sha256:
            words = f"{one.steps} and {other.steps} steps drew one picture: fewer are executed"
            return Clause(name, "broken", words)
    once_s, thrice_s = _median(trials.fresh), _median(trials.tripled)
    grown = thrice_s / once_s
    words = f"{_STEPS_FACTOR} times the steps take {grown:.2f} times as long"
    if grown >= LEAST_GROWTH:
        return Clause(name, "kept", f"{words}, and each step more draws another picture")
    if trials.is_started_each or thrice_s - once_s <= SMALLEST_S:
        return Clause(name, "unknown", f"{words}: what is the same for all hides it")
    return Clause(name, "broken", f"{words}: fewer are executed")


def _judge_size(trials: Trials) -> Clause:
    name = "pictures are drawn in their size"
    sizes = {(one.width, one.height) for one in trials.fresh}
    if len(sizes) > 1 or (trials.asked_size is not None and sizes != {trials.asked_size}):
        drawn = " and ".join(f"{width} x {height}" for width, height in sorted(sizes))
        return Clause(name, "broken", f"one size was asked for, {drawn} px were drawn")
    enlarged = [one.enlarged for one in trials.fresh]
    if all(one is not None for one in enlarged):
        return Clause(name, "broken", f"each is a smaller one, scaled up from {enlarged[0]}")
    ((width, height),) = sizes
    words = f"{width} x {height} px, not scaled up"
    if trials.halved:
        shrunk = _median(trials.fresh) / _median(trials.halved)
        words += f"; a quarter of the pixels is {shrunk:.2f} times as fast"
    return Clause(name, "kept", words)


def _judge_finished(trials: Trials) -> Clause:
    name = "the work ends before the answer"
    spent = [one.cpu_s for one in trials.rested if one.cpu_s is not None]
    after_s = trials.afterwards_cpu_s
    back_s, rested_s = _median(trials.fresh), _median(trials.rested)
    if rested_s < MOST_RESTED * back_s and back_s - rested_s > SMALLEST_S:
        words = f"{format_seconds(back_s)} right after another, {format_seconds(rested_s)} after a "
        return Clause(name, "broken", f"{words}rest: it answers before its work is done")
    if after_s is None or not spent:
        return Clause(name, "unknown", "its processor time cannot be read here")
    during_s = statistics.median(spent)
    words = f"{format_seconds(after_s)} of processor time after the answer"
    if after_s > MOST_AFTERWARDS * during_s and after_s > SMALLEST_S:
        words += f", {format_seconds(during_s)} before it: it answers before its work is done"
        return Clause(name, "broken", words)
    return Clause(name, "kept", f"{words} (what a GPU does then shows only in later pictures)")


def _judge_told_time(trials: Trials) -> Clause:
    name = "its own time is honest"
    pairs = [
        (one.told_s, one.seconds)
        for one in trials.all_pictures
        if one.told_s is not None and one.seconds > 0
    ]
    if not pairs:
        return Clause(name, "unknown", "it tells no time of its own")
    for told_s, ours_s in pairs:
        if told_s > MOST_TOLD * ours_s and told_s - ours_s > SMALLEST_S:
            words = f"it tells {format_seconds(told_s)} for what took {format_seconds(ours_s)}"
            return Clause(name, "broken", words)
    share = statistics.median(told_s / ours_s for told_s, ours_s in pairs)
    left = statistics.median(ours_s - told_s for told_s, ours_s in pairs)
    words = f"it tells {share:.0%} of ours; {format_seconds(left)} are delivery and what it leaves"
    return Clause(name, "kept", f"{words} out")


def _judge_given(trials: Trials) -> Clause:
    name = "the picture that it starts from is used"
    different = trials.given
    for one, again in zip(different, trials.given_again, strict=True):
        if again.trial.sha256 != one.trial.sha256:
            return Clause(name, "broken", f"{one.words} twice drew two pictures")
    for one in different:
        told, fewest = one.trial.told_steps, math.floor(one.trial.steps * (one.strength or 1.0))
        if told is not None and one.strength is not None and not fewest <= told <= one.trial.steps:
            words = f"asked for {fewest} to {one.trial.steps} steps from {one.words}"
            return Clause(name, "broken", f"{words}, executed {told} by its own word")
    drawn = {one.words: one.trial.sha256 for one in different}
    if not trials.needs_picture:
        drawn["the prompt alone"] = trials.fresh[0].sha256
    for (one_words, one_sha256), (other_words, other_sha256) in itertools.combinations(
        drawn.items(), 2
    ):
        if one_sha256 == other_sha256:
            words = f"{one_words} and {other_words} drew one picture: a part of it is ignored"
            return Clause(name, "broken", words)
    for compared in trials.nearness:
        if not compared.is_kept:
            distances = f"{compared.near:.1f} and {compared.far:.1f} of 255 away"
            return Clause(name, "broken", f"{compared.words}: {distances}")
    words = f"{', '.join(drawn)}: each drew another picture"
    return Clause(name, "kept", f"{words}, as near to what it was drawn from as it should be")


def _judge_end(trials: Trials) -> Clause:
    name = "it ends when it is told"
    if trials.exit_code is None:
        return Clause(name, "broken", "it went on after stop and was killed")
    if trials.exit_code:
        return Clause(name, "broken", f"exit code {trials.exit_code} after stop, 0 was expected")
    if trials.leftovers:
        return Clause(name, "broken", f"processes that went on after its end: {trials.leftovers}")
    return Clause(name, "kept", "exit code 0, and nothing of it goes on")


def _median(trials: Sequence[Trial]) -> float:
    return statistics.median(one.seconds for one in trials)
