"""sdperf's own gates on simulated suites; every decision is made by the code that ships."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sdperf.ab.confirming import FRESH_PROCESSES
from sdperf.ab.turns.blocks import CONTROL_BLOCKS
from sdperf.judging.latency import (
    DEFAULT_FAMILY_ERROR,
    DEFAULT_MAX_SLOWDOWN,
    Screening,
    Suspect,
    judge_confirmation,
    judge_offline,
    judge_repeats,
)
from sdperf.judging.suite_estimate import CaseSessions, SuiteEstimate, compute_suite_estimate
from sdperf.record.verdict import Finding, Outcome
from sdperf.stats.paired import (
    DEFAULT_LOOKS,
    choose_block_order,
    compute_block_contrast,
    decide_by_blocks,
    is_null_control_sound,
)

LIMIT_LOG = math.log1p(DEFAULT_MAX_SLOWDOWN)


@dataclass(frozen=True)
class Answer:
    """What one gate says of one suite.

    Attributes:
        slower: Cases called SLOWER.
        open: Cases called INCONCLUSIVE.
        suite_slower: Whether the suite-wide shift was called SLOWER.
        suspects: Cases that were measured again.
        blocks: Paired blocks that took, all suspects together.
        is_void: Whether the null control found the machine unfit, so that nothing counts.
    """

    slower: frozenset[int]
    open: frozenset[int]
    suite_slower: bool
    suspects: int = 0
    blocks: int = 0
    is_void: bool = False

    @property
    def is_red(self) -> bool:
        """Whether the run fails."""
        return not self.is_void and (bool(self.slower) or self.suite_slower)


class Again(Protocol):
    """Measures a case of a suite once more, on the day of the current session."""

    def draw_blocks_s(self, case: int, orders: list[str], slowdown: float) -> NDArray[np.float64]:
        """Return ``(blocks, 4)`` seconds of blocks whose arm B is slower by a log ratio."""

    def draw_repeats_s(self, case: int, processes: int, slowdown: float) -> NDArray[np.float64]:
        """Return the medians of fresh processes of code that is slower by a log ratio, seconds."""


Settled: TypeAlias = tuple[dict[str, Finding], int, bool]
"""A finding a suspect, paired blocks, and whether the session is void."""


def estimate_suite(history_s: NDArray[np.float64], rounds_s: NDArray[np.float64]) -> SuiteEstimate:
    """Estimate from ``(K, C)`` accepted medians and ``(C, R)`` current rounds, in seconds."""
    return compute_suite_estimate(
        [
            CaseSessions(
                str(case),
                tuple(history_s[:, case].tolist()),
                tuple(rounds_s[case].tolist()),
                DEFAULT_MAX_SLOWDOWN,
            )
            for case in range(len(rounds_s))
        ]
    )


def answer_offline(estimate: SuiteEstimate) -> Answer:
    """``sdperf compare`` on saved files."""
    findings = judge_offline(estimate)
    return _collect(findings.cases, findings.suite)


def answer_in_run(
    screening: Screening,
    again: Again,
    control: int,
    slowdowns: dict[int, float],
    rng: np.random.Generator,
) -> Answer:
    """A run that can execute the baseline's own code: null control, then paired blocks.

    Args:
        screening: Of the current session.
        again: Measures cases again.
        control: The case that is held against itself.
        slowdowns: Log ratio of each case that was changed.
        rng: Draws which arm goes first.
    """

    def draw_contrasts(case: int, slowdown: float, blocks: int) -> list[float]:
        first = bool(rng.random() < 0.5)
        orders = [choose_block_order(b, current_first=first) for b in range(blocks)]
        drawn = again.draw_blocks_s(case, orders, slowdown)
        return [
            compute_block_contrast(order, block.tolist())
            for order, block in zip(orders, drawn, strict=True)
        ]

    def settle(suspects: tuple[Suspect, ...]) -> Settled:
        null = draw_contrasts(control, 0.0, CONTROL_BLOCKS)
        is_void = not is_null_control_sound(null, LIMIT_LOG, looks=DEFAULT_LOOKS[:1])
        findings, blocks = {}, 0
        for suspect in suspects:
            case = int(suspect.case.data.case)
            confirmed = decide_by_blocks(
                draw_contrasts(case, slowdowns.get(case, 0.0), DEFAULT_LOOKS[-1]),
                LIMIT_LOG,
                alpha=DEFAULT_FAMILY_ERROR / len(suspects),
            )
            blocks += confirmed.blocks
            findings[suspect.case.data.case] = judge_confirmation(suspect, confirmed)
        return findings, blocks, is_void

    return _answer_after_screen(screening, settle)


def answer_by_repeats(screening: Screening, again: Again, slowdowns: dict[int, float]) -> Answer:
    """A run that cannot execute the baseline's code: fresh processes."""

    def settle(suspects: tuple[Suspect, ...]) -> Settled:
        findings = {}
        for suspect in suspects:
            case = int(suspect.case.data.case)
            repeats_s = again.draw_repeats_s(case, FRESH_PROCESSES, slowdowns.get(case, 0.0))
            findings[suspect.case.data.case] = judge_repeats(suspect, repeats_s.tolist())
        return findings, 0, False

    return _answer_after_screen(screening, settle)


def _answer_after_screen(
    screening: Screening, settle: Callable[[tuple[Suspect, ...]], Settled]
) -> Answer:
    settled, blocks, is_void = settle(screening.suspects)
    return _collect(
        dict(screening.findings.cases) | settled,
        screening.findings.suite,
        suspects=len(screening.suspects),
        blocks=blocks,
        is_void=is_void,
    )


def _collect(
    findings: dict[str, Finding],
    suite: Finding | None,
    *,
    suspects: int = 0,
    blocks: int = 0,
    is_void: bool = False,
) -> Answer:
    def named(outcome: Outcome) -> frozenset[int]:
        return frozenset(int(name) for name, f in findings.items() if f.outcome is outcome)

    return Answer(
        slower=named(Outcome.SLOWER),
        open=named(Outcome.INCONCLUSIVE),
        suite_slower=suite is not None and suite.outcome is Outcome.SLOWER,
        suspects=suspects,
        blocks=blocks,
        is_void=is_void,
    )
