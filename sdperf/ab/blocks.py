"""ABBA and BAAB blocks over two arms, measured until they decide or the time is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sdperf.stats.paired import (
    DEFAULT_LOOKS,
    Decision,
    PairedResult,
    choose_block_order,
    compute_block_contrast,
    decide_by_blocks,
    is_null_control_sound,
)

RENEW_EVERY: Final = 3
"""Blocks after which both arms start over in fresh processes: memory layout and kernel choices
belong to a process, and one process's luck must not decide."""

CONTROL_BLOCKS: Final = DEFAULT_LOOKS[0]


class Arm(Protocol):
    """One side of a comparison: code that can be run on a warm worker."""

    def renew(self) -> None:
        """Start over in a fresh process, warmed up."""

    def measure_s(self) -> float:
        """Run once and return its seconds."""

    def close(self) -> None:
        """End the process."""


@dataclass(frozen=True)
class BlockRun:
    """What a series of blocks came to.

    Attributes:
        result: The decision so far.
        contrasts: Log ratio current over baseline of each block.
    """

    result: PairedResult
    contrasts: tuple[float, ...]


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
) -> BlockRun:
    """Measure blocks until a look decides, the last look is over, or time is.

    Args:
        baseline: The arm A.
        current: The arm B.
        limit_log: Tolerated slowdown, log ratio.
        alpha: Chance of a false FAIL over all looks.
        looks: Numbers of blocks after which the evidence is weighed.
        may_go_on: Asked before each block.
        on_block: Called with the blocks done and the most that may come.
        current_first: Whether the first block begins with B.
    """
    contrasts: list[float] = []
    result = PairedResult(Decision.CONTINUE, 0, None)
    while result.decision is Decision.CONTINUE and may_go_on():
        contrasts.append(_measure_block(baseline, current, len(contrasts), current_first))
        on_block(len(contrasts), looks[-1])
        result = decide_by_blocks(contrasts, limit_log, alpha=alpha, looks=looks)
    return BlockRun(result, tuple(contrasts))


def measure_null_control(
    one: Arm,
    other: Arm,
    *,
    limit_log: float,
    may_go_on: Callable[[], bool] = lambda: True,
    on_block: Callable[[int, int], None] = lambda *_: None,
) -> tuple[bool | None, float | None]:
    """Measure the same code against itself, as it would be measured against another.

    Args:
        one: An arm.
        other: A second arm of the same code.
        limit_log: As in `measure_until_decided`.
        may_go_on: Asked before each block.
        on_block: Called with the blocks done and the most that may come.

    Returns:
        Whether the machine is fit (``None`` where the time did not suffice to tell), and the mean
        log ratio that was seen.
    """
    contrasts: list[float] = []
    while len(contrasts) < CONTROL_BLOCKS and may_go_on():
        contrasts.append(_measure_block(one, other, len(contrasts), current_first=False))
        on_block(len(contrasts), CONTROL_BLOCKS)
    if len(contrasts) < CONTROL_BLOCKS:
        return None, None
    is_sound = is_null_control_sound(contrasts, limit_log, looks=(CONTROL_BLOCKS,))
    return is_sound, math.fsum(contrasts) / len(contrasts)


def _measure_block(baseline: Arm, current: Arm, block: int, current_first: bool) -> float:
    if block % RENEW_EVERY == 0:
        baseline.renew()
        current.renew()
    order = choose_block_order(block, current_first=current_first)
    arms = {"A": baseline, "B": current}
    return compute_block_contrast(order, [arms[name].measure_s() for name in order])
