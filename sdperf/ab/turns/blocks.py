"""ABBA and BAAB blocks over two arms, measured until they decide or the time is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sdperf.ab.sides.sides import SideName
from sdperf.ab.verdict.comparison import Block, SideTurn
from sdperf.judging.latency import DEFAULT_FAMILY_ERROR
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.stats.paired import (
    DEFAULT_LOOKS,
    Decision,
    PairedResult,
    choose_block_order,
    decide_by_blocks,
    is_null_control_sound,
)

RENEW_EVERY: Final = 3
"""How many blocks share a pair of processes: memory layout and kernel choices belong to a process,
and chance of a single process must not decide."""

CONTROL_BLOCKS: Final = DEFAULT_LOOKS[0]

SHORTEST_EXECUTION_S: Final = 0.25
MOST_ROUNDS: Final = 25
"""An execution of a short case is the median of so many rounds that they take a quarter of a
second, at most 25: three milliseconds alone would measure the operating system's scheduler."""


class Arm(Protocol):
    """One side of a comparison: code that can be run on a warm worker."""

    def renew(self) -> None:
        """Start over in a fresh process, warmed up."""

    def measure_s(self) -> float:
        """Run once and return its seconds."""

    def close(self) -> None:
        """End the process."""


class BlockWatch(Protocol):
    """Tells whether the machine was steady during a block."""

    def begin(self) -> None:
        """Begin a block."""

    def end(self) -> str | None:
        """End a block, and say why it does not count; ``None`` where it does."""


@dataclass(frozen=True)
class BlockRun:
    """The result of a series of blocks.

    Attributes:
        result: The decision so far.
        contrasts: Log ratio current over baseline of each block.
    """

    result: PairedResult
    contrasts: tuple[float, ...]


@dataclass
class BlockSeries:
    """Blocks of two arms, measured one at a time, with the decision so far.

    Attributes:
        baseline: The arm A.
        current: The arm B.
        limit_log: Tolerated slowdown, log ratio.
        alpha: Chance of a false FAIL over all looks.
        looks: Numbers of blocks after which a decision is tried.
        current_first: Whether the first block begins with B.
        rounds: Number of rounds of each execution; their median is its duration.
        cycles: Number of cycles of four executions in a block.
        is_two_sided: Whether blocks go on until a gain is decided as surely as a loss.
        clock: Returns seconds, for the executions' starts.
        watch: Tells which blocks do not count; ``None`` counts all.
        renew_every: How many blocks share a pair of processes.
        blocks: All measured blocks, including discarded ones.
    """

    baseline: Arm
    current: Arm
    limit_log: float
    alpha: float
    looks: Sequence[int] = DEFAULT_LOOKS
    current_first: bool = False
    rounds: int = 1
    clock: Clock = monotonic_clock
    watch: BlockWatch | None = None
    renew_every: int = RENEW_EVERY
    cycles: int = 1
    is_two_sided: bool = False
    blocks: list[Block] = field(default_factory=list)
    _renewed_for: int = -1

    @property
    def contrasts(self) -> tuple[float, ...]:
        """Log ratios B over A of the blocks that count."""
        return tuple(block.contrast for block in self.blocks if block.discarded is None)

    @property
    def result(self) -> PairedResult:
        """The decision of the looks so far."""
        return decide_by_blocks(
            self.contrasts,
            self.limit_log,
            alpha=self.alpha,
            looks=self.looks,
            is_two_sided=self.is_two_sided,
        )

    @property
    def is_decided(self) -> bool:
        """Whether no further block is needed."""
        return self.result.decision is not Decision.CONTINUE

    def measure_block(self) -> Block:
        """Measure one more block, in fresh processes where they are due."""
        number = len(self.contrasts)
        if number % self.renew_every == 0 and number != self._renewed_for:
            self.baseline.renew()
            self.current.renew()
            self._renewed_for = number
        order = choose_block_order(number, current_first=self.current_first, cycles=self.cycles)
        if self.watch is not None:
            self.watch.begin()
        sides = {"A": self.baseline.measure_s, "B": self.current.measure_s}
        executions = take_turns(order, sides, rounds=self.rounds, clock=self.clock)
        discarded = None if self.watch is None else self.watch.end()
        self.blocks.append(Block(order, executions, discarded))
        return self.blocks[-1]

    def measure(
        self, may_go_on: Callable[[], bool], on_block: Callable[[Block], None] = lambda _: None
    ) -> None:
        """Measure blocks until a look decides, the last look is over, or the time is over.

        Args:
            may_go_on: Asked before each block.
            on_block: Called with each block that was measured.
        """
        while not self.is_decided and may_go_on():
            on_block(self.measure_block())


def take_turns(
    order: str,
    sides: Mapping[str, Callable[[], float]],
    *,
    rounds: int = 1,
    clock: Clock = monotonic_clock,
) -> tuple[SideTurn, ...]:
    """Run two sides in turns: only one works at any moment.

    Args:
        order: The order of the sides' turns, such as ``ABBA``.
        sides: By letter, a function that runs a round of the side and returns its seconds.
        rounds: Number of rounds of each turn.
        clock: Returns seconds, for the start of each turn.
    """
    taken = []
    for letter in order:
        side: SideName = "A" if letter == "A" else "B"
        rounds_s = tuple(sides[side]() for _ in range(rounds))
        taken.append(SideTurn(side, clock() - math.fsum(rounds_s), rounds_s))
    return tuple(taken)


def count_rounds(round_s: float) -> int:
    """Return how many rounds an execution of a case takes. Pure.

    >>> count_rounds(0.02), count_rounds(2.0), count_rounds(0.001)
    (13, 1, 25)
    """
    return max(1, min(MOST_ROUNDS, math.ceil(SHORTEST_EXECUTION_S / round_s)))


def measure_until_decided(
    baseline: Arm,
    current: Arm,
    *,
    limit_log: float,
    alpha: float,
    looks: Sequence[int] = DEFAULT_LOOKS,
    may_go_on: Callable[[], bool] = lambda: True,
    on_block: Callable[[int, int], None] = lambda *_: None,
    current_first: bool = False,
    rounds: int = 1,
    renew_every: int = RENEW_EVERY,
) -> BlockRun:
    """Measure blocks until a look decides, the last look is over, or the time is over.

    Args:
        baseline: The arm A.
        current: The arm B.
        limit_log: Tolerated slowdown, log ratio.
        alpha: Chance of a false FAIL over all looks.
        looks: Numbers of blocks after which the evidence is weighed.
        may_go_on: Asked before each block.
        on_block: Called with the blocks done and the most that may come.
        current_first: Whether the first block begins with B.
        rounds: Rounds of each execution.
        renew_every: Blocks that share a pair of processes.
    """
    series = BlockSeries(
        baseline,
        current,
        limit_log,
        alpha,
        looks,
        current_first,
        rounds,
        renew_every=renew_every,
    )
    series.measure(may_go_on, lambda _: on_block(len(series.contrasts), looks[-1]))
    return BlockRun(series.result, series.contrasts)


def measure_null_control(
    one: Arm,
    other: Arm,
    *,
    limit_log: float,
    rounds: int = 1,
    renew_every: int = RENEW_EVERY,
    may_go_on: Callable[[], bool] = lambda: True,
    on_block: Callable[[int, int], None] = lambda *_: None,
) -> tuple[bool | None, tuple[float, ...]]:
    """Measure the same code against itself, in the same way as against another.

    Args:
        one: An arm.
        other: A second arm of the same code.
        limit_log: Tolerated slowdown, log ratio.
        rounds: Rounds of each execution.
        renew_every: Blocks that share a pair of processes.
        may_go_on: Asked before each block.
        on_block: Called with the blocks done and the most that may come.

    Returns:
        Whether the machine is fit (``None`` where the time was too short to tell), and the log
        ratio of each block.
    """
    series = make_null_control(
        one, other, limit_log=limit_log, rounds=rounds, renew_every=renew_every
    )
    series.measure(may_go_on, lambda _: on_block(len(series.blocks), CONTROL_BLOCKS))
    return judge_null_control(series.contrasts, limit_log), series.contrasts


def make_null_control(
    one: Arm,
    other: Arm,
    *,
    limit_log: float,
    rounds: int = 1,
    renew_every: int = RENEW_EVERY,
    cycles: int = 1,
    clock: Clock = monotonic_clock,
    watch: BlockWatch | None = None,
) -> BlockSeries:
    """Make the series of a null control: the same code on both arms."""
    return BlockSeries(
        one,
        other,
        limit_log,
        DEFAULT_FAMILY_ERROR,
        (CONTROL_BLOCKS,),
        rounds=rounds,
        clock=clock,
        watch=watch,
        renew_every=renew_every,
        cycles=cycles,
    )


def judge_null_control(contrasts: Sequence[float], limit_log: float) -> bool | None:
    """Tell whether the machine is fit; ``None`` with too few blocks to tell. Pure."""
    if len(contrasts) < CONTROL_BLOCKS:
        return None
    return is_null_control_sound(contrasts, limit_log, looks=(CONTROL_BLOCKS,))
