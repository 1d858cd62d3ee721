"""What a null control may take of the time that was given: blocks have to be measured too. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sdperf.ab.turns.blocks import CONTROL_BLOCKS
from sdperf.ab.turns.case_state import BlockPlan
from sdperf.stats.paired import CYCLE
from sdperf.units import format_seconds

_STARTS: Final = 3
"""Starts of one side's workers for a control: the second arm, and both after three blocks."""


@dataclass(frozen=True)
class ControlAllowance:
    """The time that was given, as it stands when both sides have drawn their images.

    Attributes:
        budget_s: Seconds that were given; ``None`` sets no limit.
        spent_s: Seconds since the comparison began: both sides were started once in them.
        round_s: Expected seconds of a round; ``None`` unknown.
        plan: How a block is divided.
    """

    budget_s: float | None
    spent_s: float
    round_s: float | None
    plan: BlockPlan

    @property
    def expected_s(self) -> float | None:
        """Seconds that a null control is expected to take; ``None`` unknown."""
        if self.round_s is None:
            return None
        turns = CONTROL_BLOCKS * CYCLE * self.plan.cycles * self.plan.rounds
        return _STARTS * self.spent_s / 2 + turns * self.round_s

    @property
    def ends_at_s(self) -> float:
        """Seconds since the beginning after which the control begins no block."""
        return float("inf") if self.budget_s is None else (self.spent_s + self.budget_s) / 2

    def explain_left_out(self) -> str | None:
        """Say why there is no control: it would leave no time for the first look at blocks."""
        expected_s = self.expected_s
        if self.budget_s is None or expected_s is None:
            return None
        needed_s = self.spent_s + 2 * expected_s
        if needed_s <= self.budget_s:
            return None
        return (
            f"no null control: it takes about {format_seconds(expected_s)}, and too little of the "
            f"{format_seconds(self.budget_s)} that were given would be left to compare; about "
            f"{format_seconds(needed_s)} are enough for both"
        )
