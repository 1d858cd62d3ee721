"""Judges a comparison: speed, memory, energy and images of each case, and one line. Pure."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sdperf.ab.turns.blocks import RENEW_EVERY, judge_null_control
from sdperf.ab.verdict.comparison import AbComparison, CaseComparison, CompareOptions, list_rounds_s
from sdperf.ab.verdict.images import AGAINST
from sdperf.ab.verdict.words import (
    describe_energy,
    describe_images,
    describe_memory,
    describe_speed,
)
from sdperf.judging.doubts.plausibility import GATE, judge_fresh
from sdperf.judging.exactness import judge_exact_pairs
from sdperf.judging.floors import EXACT_MACHINE_FLOORS, SAME_PATH_FLOORS
from sdperf.judging.images import judge_images, judge_soundness
from sdperf.judging.resources.memory import judge_memory
from sdperf.record.stages import STAGES, StageName
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.stats.paired import (
    Decision,
    PairedResult,
    YuenBounds,
    compute_process_bounds,
    compute_yuen_bounds,
    decide_by_blocks,
)
from sdperf.units import format_change, format_quantity

LEAST_SHOWN: Final = 0.5
"""Least share of a gain, as log ratios, that the profiled rounds have to show."""

LARGEST_UNSHOWN: Final = 2.0
"""The largest ratio of speeds in timed rounds that the stages need not show."""

SMALLEST_TOLD_LOG: Final = 0.1
"""A smaller gain, as a log ratio, may be hidden by the noise of the profiled rounds."""

FEWEST_PROFILES: Final = 3

STAGE_ERROR: Final = 0.025
"""Error of each bound of a stage's interval, which has 95 % in all for one stage alone."""


@dataclass(frozen=True)
class StageChange:
    """One stage on both sides, from profiled rounds.

    Attributes:
        name: The stage, or ``rest`` for what no stage explains.
        a_s: Median of A, seconds per image.
        b_s: Median of B, seconds per image.
        bounds: Log ratio B over A with a 95 % interval, in which the pair of processes is the
            sample; ``None`` with fewer than two pairs of processes.
    """

    name: StageName | Literal["rest"]
    a_s: float
    b_s: float
    bounds: YuenBounds | None

    @property
    def saved_s(self) -> float:
        """Seconds per image that B saves here; negative where it takes longer."""
        return self.a_s - self.b_s


@dataclass(frozen=True)
class CaseVerdict:
    """The verdict on one case.

    Attributes:
        case: The measurements.
        speed: The decision over its blocks, with bounds; log ratios B over A.
        bounds: The bounds to show: those of the deciding look, else of all blocks so far.
        stages: Where the time went, in the order in which stages run.
        findings: The findings on ``latency``, ``memory`` and ``image``.
        outcome: The worst outcome of the findings; a faster side is a PASS, its finding says
            FASTER.
        line: The verdict in one line: "B is 12.1 % faster (10.8 to 13.4), same memory, ...: PASS".
    """

    case: CaseComparison
    speed: PairedResult
    bounds: YuenBounds | None
    stages: tuple[StageChange, ...]
    findings: tuple[Finding, ...]
    outcome: Outcome
    line: str


@dataclass(frozen=True)
class AbVerdict:
    """The verdict on a comparison.

    Attributes:
        cases: The verdicts on its cases, in order.
        control: Mean log ratio of A against itself; ``None`` where it was not measured.
        void: Why no timing counts; ``None`` where timings do.
        outcome: The worst outcome of a case, ``INCONCLUSIVE`` where void or nothing was measured.
    """

    cases: tuple[CaseVerdict, ...]
    control: float | None
    void: str | None
    outcome: Outcome


def list_control_contrasts(comparison: AbComparison) -> list[float]:
    """List the log ratios of A to itself, one per block of the null control that counts."""
    return [block.contrast for block in comparison.control if block.discarded is None]


def is_control_sound(comparison: AbComparison) -> bool | None:
    """Tell whether A compared with itself shows no difference; ``None`` with too few blocks."""
    limit_log = math.log1p(comparison.options.max_slowdown)
    return judge_null_control(list_control_contrasts(comparison), limit_log)


def judge_comparison(comparison: AbComparison) -> AbVerdict:
    """Judge every case of a comparison; equal records give equal verdicts."""
    options = comparison.options
    contrasts = list_control_contrasts(comparison)
    control = statistics.fmean(contrasts) if contrasts else None
    void = None
    if is_control_sound(comparison) is False:
        seen = format_change(math.exp(statistics.fmean(contrasts)))
        void = f"the same code differs from itself by {seen} on this machine now"
    cases = tuple(
        judge_case(case, options, is_interrupted=comparison.was_interrupted)
        for case in comparison.cases
    )
    verdict = Verdict("", tuple(Finding(case.outcome, "case", "") for case in cases))
    is_open = void is not None or not cases
    return AbVerdict(cases, control, void, Outcome.INCONCLUSIVE if is_open else verdict.outcome)


def judge_case(
    case: CaseComparison, options: CompareOptions, *, is_interrupted: bool = False
) -> CaseVerdict:
    """Judge one case.

    Args:
        case: The measurements.
        options: Limits and looks.
        is_interrupted: Whether the user ended it.
    """
    limit_log = math.log1p(options.max_slowdown)
    speed = decide_by_blocks(
        case.contrasts,
        limit_log,
        alpha=case.alpha,
        looks=options.looks,
        is_two_sided=options.is_two_sided,
    )
    bounds = speed.bounds
    if bounds is None and len(case.contrasts) >= 2:
        bounds = compute_yuen_bounds(case.contrasts, case.alpha / len(options.looks))
    stages = compute_stage_changes(case)
    where = "the stages below say where; " if stages else "no stage is known of both sides; "
    findings = [judge_speed(case, speed, bounds, options, where, is_interrupted=is_interrupted)]
    findings += _judge_memory(case, options)
    findings += _judge_plausibility(case, bounds)
    findings += _judge_images(case)
    worst = Verdict("", tuple(findings)).outcome
    outcome = Outcome.PASS if worst is Outcome.FASTER else worst
    parts = [
        describe_speed(bounds, speed.decision),
        describe_memory(case.memory_a.median(), case.memory_b.median()),
        describe_energy(case.energy),
        describe_images(case.images, case.unjudged),
    ]
    line = ", ".join(part for part in parts if part is not None)
    return CaseVerdict(
        case=case,
        speed=speed,
        bounds=bounds,
        stages=stages,
        findings=tuple(findings),
        outcome=outcome,
        line=f"{line}: {outcome.value}",
    )


def judge_speed(
    case: CaseComparison,
    speed: PairedResult,
    bounds: YuenBounds | None,
    options: CompareOptions,
    where: str,
    *,
    is_interrupted: bool,
) -> Finding:
    """Turn the decision over the blocks into a finding; ``where`` begins what to do next."""
    limit = format_change(1 + options.max_slowdown)
    if bounds is None:
        why = "interrupted" if is_interrupted else "; ".join(case.notes) or "nothing was timed"
        return Finding(Outcome.INCONCLUSIVE, "latency", f"too few blocks to tell: {why}")
    seen = (
        f"{format_change(math.exp(bounds.mean))} ({format_change(math.exp(bounds.lower))} to "
        f"{format_change(math.exp(bounds.upper))}) over "
        f"{format_quantity(len(case.contrasts), 'block')}, limit {limit}"
    )
    if speed.decision is Decision.FAIL:
        return Finding(Outcome.SLOWER, "latency", seen, f"{where}sdperf bisect says when")
    if speed.decision is Decision.PASS:
        is_faster = bounds.upper < 0
        return Finding(Outcome.FASTER if is_faster else Outcome.PASS, "latency", seen)
    if speed.decision is Decision.INCONCLUSIVE:
        return Finding(
            Outcome.INCONCLUSIVE,
            "latency",
            f"{seen}: undecided after the last look",
            "compare on a quieter machine, with more blocks (--looks 6,12,18,24), or mind a larger "
            "slowdown only (--max-slowdown)",
        )
    why = "interrupted" if is_interrupted else "; ".join(case.notes[-1:]) or "no look was reached"
    return Finding(Outcome.INCONCLUSIVE, "latency", f"{seen}: undecided, {why}")


def _judge_memory(case: CaseComparison, options: CompareOptions) -> list[Finding]:
    if not case.memory_a.lives or not case.memory_b.lives:
        return []
    finding = judge_memory(case.memory_b.median(), case.memory_a.lives, options.memory)
    if finding.outcome in (Outcome.NO_BASELINE, Outcome.INCOMPARABLE):
        return []
    return [dataclasses.replace(finding, next_step=None)]


def _judge_plausibility(case: CaseComparison, bounds: YuenBounds | None) -> list[Finding]:
    """Judge whether the difference is possible: pictures from memory, gains that no stage shows."""
    findings = []
    for side, fresh in (("A", case.fresh_a), ("B", case.fresh_b)):
        rounds_s = list_rounds_s(case.blocks, "A" if side == "A" else "B")
        if fresh is not None and rounds_s:
            found = judge_fresh(statistics.median(rounds_s), fresh, f"{side}: ")
            findings += [] if found is None else [found]
    shown = _find_shown_share(case, bounds)
    if bounds is None or shown is None or shown >= LEAST_SHOWN:
        return findings
    is_absurd = bounds.upper < -math.log(LARGEST_UNSHOWN)
    seen = f"B is {format_change(math.exp(bounds.mean))} in timed rounds"
    return [
        *findings,
        Finding(
            Outcome.BROKEN if is_absurd else Outcome.INCONCLUSIVE,
            GATE,
            f"{seen}, and the profiled rounds, which run stage by stage, show "
            f"{abs(max(shown, 0)):.0%} of that: work is skipped or kept where it is timed",
            "look for pictures or outputs that are kept from one request to the next",
        ),
    ]


def _find_shown_share(case: CaseComparison, bounds: YuenBounds | None) -> float | None:
    """Return how much of a gain the profiled rounds show, as log ratios; ``None`` is unknown.

    It is known only for a plain loop on both sides: overlap and the division among workers do not
    show in one image that is profiled alone.
    """
    is_plain = all(
        (one.mode, one.workers) == ("sync", 1) for one in (case.variant_a, case.variant_b)
    )
    if (
        bounds is None
        or bounds.upper > -SMALLEST_TOLD_LOG
        or not is_plain
        or len(case.profiles) < FEWEST_PROFILES
    ):
        return None
    stage = case.case.stage
    seconds = [
        (pair.a.total_s, pair.b.total_s)
        if stage is None
        else (pair.a.by_name().get(stage, 0.0), pair.b.by_name().get(stage, 0.0))
        for pair in case.profiles
    ]
    logs = [math.log(b / a) for a, b in seconds if a > 0 and b > 0]
    if len(logs) < FEWEST_PROFILES:
        return None
    return statistics.median(logs) / bounds.mean


def _judge_images(case: CaseComparison) -> list[Finding]:
    records = [pair.b for pair in case.images]
    if not records:
        return []
    findings = judge_soundness(records, repeatable=None)
    if case.floors is not None:
        entropies = {pair.a.sha256: pair.a.entropy_bits for pair in case.images}
        is_fp32 = {case.variant_a.precision, case.variant_b.precision} == {"fp32"}
        is_tight = case.floors == SAME_PATH_FLOORS and is_fp32 and case.is_exact is True
        floors = EXACT_MACHINE_FLOORS if is_tight else case.floors
        findings.append(judge_images(records, AGAINST, floors, entropies))
        changed = judge_exact_pairs(
            [(pair.a, pair.b) for pair in case.images], AGAINST, is_exact=case.is_exact is True
        )
        findings += [] if changed is None else [changed]
    elif case.unjudged is not None and case.unjudged.startswith("no floors"):
        findings.append(
            Finding(
                Outcome.NO_BASELINE,
                "image",
                case.unjudged,
                "sdperf quality calibrate --model MODEL measures them; --min-ssim sets one",
            )
        )
    look = "look at both: --images DIR"
    return [
        finding
        if finding.next_step is None or finding.outcome is Outcome.NO_BASELINE
        else dataclasses.replace(finding, next_step=look)
        for finding in findings
    ]


def compute_stage_changes(case: CaseComparison) -> tuple[StageChange, ...]:
    """Compare each stage's seconds of both sides with each other, pair by pair.

    Each pair of rounds belongs to a block, and `RENEW_EVERY` blocks share a pair of processes. A
    stage that either side lacks in any round is left out. Where they have none in common, as with
    a program that tells none, what is left says nothing.
    """
    if not case.profiles:
        return ()
    sides = [
        [pair.a.by_name() | {"rest": pair.a.rest_s} for pair in case.profiles],
        [pair.b.by_name() | {"rest": pair.b.rest_s} for pair in case.profiles],
    ]
    changes = []
    names: list[StageName | Literal["rest"]] = [*STAGES, "rest"]
    for name in names:
        a_s, b_s = ([one[name] for one in side if name in one] for side in sides)
        if len(a_s) == len(b_s) == len(case.profiles):
            bounds = None if name == "rest" else _bound_ratio(a_s, b_s)
            changes.append(
                StageChange(name, statistics.median(a_s), statistics.median(b_s), bounds)
            )
    return tuple(changes) if any(one.name != "rest" for one in changes) else ()


def _bound_ratio(a_s: Sequence[float], b_s: Sequence[float]) -> YuenBounds | None:
    if min(*a_s, *b_s) <= 0:
        return None
    logs = [math.log(b / a) for a, b in zip(a_s, b_s, strict=True)]
    return compute_process_bounds(logs, RENEW_EVERY, STAGE_ERROR)
