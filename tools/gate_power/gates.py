"""sdperf's own gates on simulated suites; every decision is made by the code that ships."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdperf.judging.latency import (
    DEFAULT_FAMILY_ERROR,
    DEFAULT_MAX_SLOWDOWN,
    judge_confirmation,
    judge_offline,
    judge_repeats,
    screen_latency,
)
from sdperf.judging.suite_estimate import CaseSessions, SuiteEstimate, compute_suite_estimate
from sdperf.stats.paired import (
    DEFAULT_LOOKS,
    choose_block_order,
    compute_block_contrast,
    decide_by_blocks,
    is_null_control_sound,
)
from sdperf.verdict import Finding, Outcome
from tools.gate_power.scenarios import (
    CASES,
    Scenario,
    Suites,
    draw_paired_durations_s,
    draw_repeats_s,
)

FRESH_PROCESSES = 3
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
            for case in range(CASES)
        ]
    )


def answer_offline(estimate: SuiteEstimate) -> Answer:
    """``sdperf compare`` on saved files."""
    findings = judge_offline(estimate)
    return _collect(findings.cases, findings.suite)


def answer_in_run(
    estimate: SuiteEstimate,
    scenario: Scenario,
    suites: Suites,
    suite: int,
    slowdowns: dict[int, float],
    rng: np.random.Generator,
) -> Answer:
    """A run that can execute the baseline's own code: screen, null control, paired blocks."""
    screening = screen_latency(estimate)
    findings = dict(screening.findings.cases)
    suspects = screening.suspects
    if not suspects:
        return _collect(findings, screening.findings.suite)

    def draw_contrasts(case: int, slowdown: float) -> list[float]:
        first = bool(rng.random() < 0.5)
        orders = [choose_block_order(b, current_first=first) for b in range(DEFAULT_LOOKS[-1])]
        blocks = draw_paired_durations_s(scenario, suites, suite, case, orders, slowdown, rng)
        return [
            compute_block_contrast(order, block.tolist())
            for order, block in zip(orders, blocks, strict=True)
        ]

    control = draw_contrasts(CASES - 1, 0.0)[: DEFAULT_LOOKS[0]]
    is_void = not is_null_control_sound(control, LIMIT_LOG, looks=DEFAULT_LOOKS[:1])
    blocks = 0
    for suspect in suspects:
        case = int(suspect.case.data.case)
        confirmed = decide_by_blocks(
            draw_contrasts(case, slowdowns.get(case, 0.0)),
            LIMIT_LOG,
            alpha=DEFAULT_FAMILY_ERROR / len(suspects),
        )
        blocks += confirmed.blocks
        findings[suspect.case.data.case] = judge_confirmation(suspect, confirmed)
    return _collect(
        findings, screening.findings.suite, suspects=len(suspects), blocks=blocks, is_void=is_void
    )


def answer_by_repeats(
    estimate: SuiteEstimate,
    scenario: Scenario,
    suites: Suites,
    suite: int,
    slowdowns: dict[int, float],
    rng: np.random.Generator,
) -> Answer:
    """A run that cannot execute the baseline's code: screen, then fresh processes."""
    screening = screen_latency(estimate)
    findings = dict(screening.findings.cases)
    for suspect in screening.suspects:
        case = int(suspect.case.data.case)
        slowdown = slowdowns.get(case, 0.0)
        repeats_s = draw_repeats_s(scenario, suites, suite, case, FRESH_PROCESSES, slowdown, rng)
        findings[suspect.case.data.case] = judge_repeats(suspect, repeats_s.tolist())
    return _collect(findings, screening.findings.suite, suspects=len(screening.suspects))


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
