"""A case while it is measured, and small decisions about it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sdperf.ab.sides.sides import MatrixCase, Side, SideName
from sdperf.ab.turns.blocks import CONTROL_BLOCKS, BlockSeries, count_rounds
from sdperf.ab.turns.pairing import Pairing
from sdperf.ab.verdict.comparison import (
    CaseComparison,
    EnergyPair,
    ImagePair,
    ProfiledPair,
    SideMemory,
)
from sdperf.record.floors import Floors
from sdperf.record.measurement import FreshRounds
from sdperf.record.usage import ResourceUsage
from sdperf.stats.paired import CYCLE

BLOCK_S: Final = 8.0
"""Seconds: a block of short generations has as many cycles as fill them, or `MOST_CYCLES`."""

MOST_CYCLES: Final = 5

QUIET_SPREAD: Final = 0.7
"""Spread of the blocks, as a multiple of the limit, with which nine blocks exclude a slowdown of
the limit in half of all cases."""

MOST_LENGTHENING: Final = 3
"""The most times that blocks are lengthened on a noisy machine."""

STAGE_ROUNDS: Final = 5


@dataclass(frozen=True)
class BlockPlan:
    """The division of a block.

    Attributes:
        rounds: Number of rounds of one turn, whose median counts.
        cycles: Number of cycles of four turns.
    """

    rounds: int = 1
    cycles: int = 1


@dataclass
class CaseState:
    """A case while it is measured; it can become a `CaseComparison` at any moment."""

    case: MatrixCase
    a: Side
    b: Side
    alpha: float
    image_s: float | None = None
    pairing: Pairing | None = None
    series: BlockSeries | None = None
    profiles: list[ProfiledPair] = field(default_factory=list)
    images: tuple[ImagePair, ...] = ()
    energy: EnergyPair | None = None
    floors: Floors | None = None
    unjudged: str | None = None
    plan: BlockPlan = BlockPlan()
    notes: list[str] = field(default_factory=list)
    is_same_arithmetic: bool = False
    fresh: dict[SideName, FreshRounds | None] = field(default_factory=dict)

    def finish(self) -> CaseComparison:
        """Return the comparison of the case so far."""
        pairing, series = self.pairing, self.series
        return CaseComparison(
            case=self.case,
            variant_a=self.a.variant_for(self.case),
            variant_b=self.b.variant_for(self.case),
            alpha=self.alpha,
            blocks=() if series is None else tuple(series.blocks),
            profiles=tuple(self.profiles),
            memory_a=SideMemory(() if pairing is None else tuple(pairing.a.lives)),
            memory_b=SideMemory(() if pairing is None else tuple(pairing.b.lives)),
            images=self.images,
            energy=self.energy,
            floors=self.floors,
            unjudged=self.unjudged,
            notes=tuple(self.notes),
            is_exact=self._find_exactness(),
            fresh_a=self.fresh.get("A"),
            fresh_b=self.fresh.get("B"),
            starts_a=() if pairing is None else tuple(pairing.a.starts),
            starts_b=() if pairing is None else tuple(pairing.b.starts),
            own_a_s=() if pairing is None else tuple(pairing.a.own_s),
            own_b_s=() if pairing is None else tuple(pairing.b.own_s),
        )

    def _find_exactness(self) -> bool | None:
        """Tell whether A's rounds drew the bytes of its picture; ``None`` where it is unknown."""
        if self.pairing is None or not self.is_same_arithmetic:
            return None
        drawn = {(one.prompt, one.seed): seen for one, seen in self.pairing.a.drawn.items()}
        seen = [
            drawn[key] == {pair.a.sha256}
            for pair in self.images
            if (key := (pair.a.prompt, pair.a.seed)) in drawn
        ]
        return all(seen) if seen else None


def plan_block(case: MatrixCase, image_s: float) -> BlockPlan:
    """Choose rounds and cycles so that a side gets about four seconds in a block. Pure.

    Turns are as short as the clock allows: a machine that changes slowly (clocks, neighbours,
    caches) changes less between neighbouring turns when they are short.

    Args:
        case: The case, which tells what a round is.
        image_s: Seconds of one image.
    """
    if case.kind == "stage":
        return BlockPlan(STAGE_ROUNDS, MOST_CYCLES)
    round_s = image_s * case.batch
    rounds = count_rounds(round_s)
    cycles = round(BLOCK_S / (CYCLE * rounds * round_s))
    return BlockPlan(rounds, max(1, min(MOST_CYCLES, cycles)))


def choose_lengthening(contrasts: Sequence[float], limit_log: float) -> int:
    """Choose how many times as long as on a quiet machine blocks are. Pure.

    On a noisy machine the noise of single turns is independent, so a block with four times the
    turns spreads half as much. The null control's blocks tell the noise before anything is
    compared, so the choice cannot favour a side.

    Args:
        contrasts: Log ratios of the null control's blocks.
        limit_log: Tolerated slowdown, log ratio.

    >>> choose_lengthening([0.01, -0.01, 0.01, -0.01], 0.03)
    1
    >>> choose_lengthening([0.03, -0.03, 0.02, -0.02], 0.03)
    2
    """
    if len(contrasts) < CONTROL_BLOCKS:
        return 1
    wanted = (statistics.stdev(contrasts) / (QUIET_SPREAD * limit_log)) ** 2
    return max(1, min(MOST_LENGTHENING, round(wanted)))


def find_energy(usage: ResourceUsage) -> tuple[str, float] | None:
    """Return the widest known scope of energy with its joules per image; ``None`` without. Pure.

    A counter that stood still has told nothing.
    """
    for scope in ("gpu_board", "gpu_soc"):
        energy_j = getattr(usage, f"{scope}_energy_per_image_j")
        if energy_j:
            return scope, energy_j
    return None
