"""Is a case slower than its accepted sessions? A run screens and confirms; offline is one step.

`docs/statistics.md` has the formulas, `docs/results/gate-power.md` how often each rule is wrong.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.significance import Significant, find_significant
from sdperf.judging.suite_estimate import (
    FEWEST_SESSIONS,
    CaseEstimate,
    ShiftEstimate,
    SuiteEstimate,
)
from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import PROCESSES
from sdperf.shell import join_step
from sdperf.stats.bimodality import SMALLEST_GAP_LOG, detect_bimodality
from sdperf.stats.paired import Decision, PairedResult
from sdperf.units import format_change, format_quantity, format_seconds

DEFAULT_MAX_SLOWDOWN: Final = 0.03
DEFAULT_GROSS_SLOWDOWN: Final = 0.25
DEFAULT_FAMILY_ERROR: Final = 0.01
"""Chance that any case of an unchanged suite is called SLOWER."""

SCREEN_SHARE: Final = 2 / 3
"""A case that rose by this share of its limit is a suspect: by 2 %, where the limit is 3 %."""

OFFLINE_SHARE: Final = 0.8
"""Share of the family error that the bars of saved numbers may spend.

Spreads of real cases follow no exact law; the simulated false alarms use up the rest.
"""

_MORE_PROCESSES: Final = f"pytest {PROCESSES} 5: fresh processes choose different kernels"


@dataclass(frozen=True)
class LatencyLimits:
    """The limits of the whole suite; each case has its own ``max_slowdown``.

    Attributes:
        suite_slowdown: Tolerated shift of all cases together, as a fraction.
        gross_slowdown: Slowdown that fails while the spread is unknown (fewer than five sessions),
            as a fraction.
        family_error: Chance that any case of an unchanged suite is called SLOWER.
    """

    suite_slowdown: float = DEFAULT_MAX_SLOWDOWN
    gross_slowdown: float = DEFAULT_GROSS_SLOWDOWN
    family_error: float = DEFAULT_FAMILY_ERROR


@dataclass(frozen=True)
class SuiteFindings:
    """One finding per case, and one for what all cases have in common.

    Attributes:
        cases: Case name to finding, in order.
        suite: The suite-wide shift; ``None`` where it cannot be told.
    """

    cases: dict[str, Finding]
    suite: Finding | None


@dataclass(frozen=True)
class Suspect:
    """A case to be measured again.

    Attributes:
        case: Where it stands against the accepted sessions.
        is_shown: Whether `judge_offline` would call it SLOWER without measuring again.
    """

    case: CaseEstimate
    is_shown: bool


@dataclass(frozen=True)
class Screening:
    """The judgement by the accepted sessions, before anything is measured again.

    Attributes:
        findings: The finding of each case; that of a suspect is INCONCLUSIVE and not final.
        suspects: Cases to confirm on fresh measurements.
    """

    findings: SuiteFindings
    suspects: tuple[Suspect, ...]


def judge_offline(estimate: SuiteEstimate, limits: LatencyLimits | None = None) -> SuiteFindings:
    """Judge saved numbers alone, when nothing can be measured again.

    SLOWER needs all of:

    - a rise above the case's limit;
    - a rise above the case's bar: all bars together are crossed by chance in less than 1 % of
      unchanged suites, by tails as heavy as those of the accepted sessions themselves;
    - more weight than any accepted session has against the others, since what happened without a
      change can happen again;
    - a rise that stays even if a good part of the rounds was disturbed;
    - less than 15 % where the accepted sessions of any case fall in two modes (a choice of kernel)
      or the machine changed speed within a case (throttling): such a machine moves that far by
      itself;
    - noise below the gross limit (25 %): a machine whose sessions go further than that by
      themselves has shown too few of them to be known.

    A rise above the limit that falls short is INCONCLUSIVE, and so is a case whose noise exceeds
    its limit. With fewer than five sessions only gross slowdowns are SLOWER.

    A disturbance that lasts for a whole case and strikes less than once in the accepted sessions
    cannot be told from a slowdown offline.
    """
    limits = limits or LatencyLimits()
    significant = find_significant(estimate, limits.family_error * OFFLINE_SHARE)
    shown = _find_shown(estimate, significant, limits)
    cases = {}
    for case in estimate.cases:
        if case.data.case in shown:
            seen = _describe(case, estimate.shift)
            finding = Finding(Outcome.SLOWER, "latency", seen, _suggest_repeat(case))
        else:
            finding = _judge_by_history(case, estimate.shift, limits, significant)
        cases[case.data.case] = finding
    return SuiteFindings(cases=cases, suite=_judge_shift(estimate.shift, limits, significant))


def screen_latency(estimate: SuiteEstimate, limits: LatencyLimits | None = None) -> Screening:
    """Pick the cases that have to be measured again before they are judged.

    A suspect rose by two thirds of its limit or more, and above the prediction interval or on a
    machine too noisy for the limit. The screen alone never turns a run red, except for the
    suite-wide shift, which no single case could confirm.
    """
    limits = limits or LatencyLimits()
    significant = find_significant(estimate, limits.family_error * OFFLINE_SHARE)
    shown = _find_shown(estimate, significant, limits)
    suspects = tuple(
        Suspect(case, case.data.case in shown)
        for case in estimate.cases
        if _is_suspect(case, limits)
    )
    names = {suspect.case.data.case for suspect in suspects}
    cases = {}
    for case in estimate.cases:
        if case.data.case in names:
            seen = f"{_describe(case, estimate.shift)}, not confirmed"
            finding = Finding(Outcome.INCONCLUSIVE, "latency", seen, _suggest_repeat(case))
        else:
            finding = _judge_by_history(case, estimate.shift, limits, significant)
        cases[case.data.case] = finding
    findings = SuiteFindings(cases=cases, suite=_judge_shift(estimate.shift, limits, significant))
    return Screening(findings=findings, suspects=suspects)


def judge_confirmation(suspect: Suspect, confirmed: PairedResult) -> Finding:
    """Judge a suspect by paired blocks of the baseline's own code and the current one.

    Args:
        suspect: From the screen.
        confirmed: From `sdperf.stats.paired.decide_by_blocks`, with the suspect's limit and the
            family error divided by the number of suspects.
    """
    step = _suggest_repeat(suspect.case)
    if confirmed.bounds is None:
        seen = f"{confirmed.blocks} paired blocks are too few to say anything"
    else:
        seen = (
            f"{_percent(confirmed.bounds.mean)} in {confirmed.blocks} paired blocks "
            f"({_percent(confirmed.bounds.lower)} to {_percent(confirmed.bounds.upper)}), "
            f"limit {format_change(1 + suspect.case.data.max_slowdown)}"
        )
    match confirmed.decision:
        case Decision.FAIL:
            return Finding(Outcome.SLOWER, "latency", seen, step)
        case Decision.PASS:
            return Finding(Outcome.PASS, "latency", f"{seen}; the suspicion was noise")
        case Decision.CONTINUE | Decision.INCONCLUSIVE:
            return Finding(Outcome.INCONCLUSIVE, "latency", seen, step)


def judge_repeats(
    suspect: Suspect, repeats_s: Sequence[float], limits: LatencyLimits | None = None
) -> Finding:
    """Judge a suspect by repeating it in fresh processes, where the baseline cannot be run.

    SLOWER when the first measurement is enough for it offline (`judge_offline`), the median of all
    processes is above the limit, and every fresh process is suspicious by itself; with fewer than
    five accepted sessions, when every process is above the gross limit. Processes that fall in two
    clusters are INCONCLUSIVE, unless the faster ones are above the gross limit too. Drift since the
    accepted sessions is not excluded, and the reason says so.

    Args:
        suspect: From the screen.
        repeats_s: Median seconds of each fresh process, without the first measurement.
        limits: The suite's limits.

    Raises:
        ValueError: No repeats, or a suspect without a baseline.
    """
    limits = limits or LatencyLimits()
    case = suspect.case
    if not repeats_s or case.rise_log is None:
        raise ValueError("repeats need a baseline and at least one fresh process")
    medians_s = (case.data.current_s, *repeats_s)
    rises = [case.rise_log + math.log(median / medians_s[0]) for median in medians_s]
    rise = statistics.median(rises)
    is_gross = case.interval is None
    limit = choose_limit(case, limits)
    seen = (
        f"{_percent(rise)} over {len(rises)} processes "
        f"({', '.join(_percent(one) for one in rises)}), limit {format_change(1 + limit)}"
    )
    modes = detect_bimodality(medians_s)
    is_beyond = is_gross and min(rises) > math.log1p(limit)  # so is the faster mode
    if modes is not None and not is_beyond:
        split = f"{modes.slow_share:.0%} of processes run {modes.ratio:.2f}x slower"
        return Finding(Outcome.INCONCLUSIVE, "latency", f"{seen}; {split}", _MORE_PROCESSES)
    if rise <= math.log1p(limit):
        return Finding(Outcome.PASS, "latency", f"{seen}; the slowdown did not repeat")
    if min(rises) > (math.log1p(limit) if is_gross else _suspicion(case)) and (
        is_gross or suspect.is_shown
    ):
        drift = "drift of the machine is not excluded"
        return Finding(Outcome.SLOWER, "latency", f"{seen}; {drift}", _suggest_repeat(case))
    return Finding(Outcome.INCONCLUSIVE, "latency", seen, _suggest_repeat(case))


def _find_shown(
    estimate: SuiteEstimate, significant: Significant, limits: LatencyLimits
) -> frozenset[str]:
    """Name the cases that saved numbers alone show to be slower; see `judge_offline`."""
    is_unsteady = estimate.has_steps or any(case.modes for case in estimate.cases)
    largest_rise = SMALLEST_GAP_LOG if is_unsteady else math.inf
    largest_noise = math.log1p(limits.gross_slowdown)
    return frozenset(
        case.data.case
        for case in estimate.cases
        if case.data.case in significant.slower
        and case.interval is not None
        and case.interval.half_width <= largest_noise
        and _is_above(case.lowest_rise_log, _suspicion(case))
        and not _is_above(case.rise_log, largest_rise)
        and not _is_above(case.slower_p_value, estimate.outlier_p_value)
    )


def _judge_by_history(
    case: CaseEstimate,
    shift: ShiftEstimate | None,
    limits: LatencyLimits,
    significant: Significant,
) -> Finding:
    """Judge a case by its accepted sessions; where the spread is known, this never says SLOWER."""
    seen = _describe(case, shift)
    if case.rise_log is None:
        return Finding(Outcome.NO_BASELINE, "latency", seen, "sdperf baseline accept --reason TEXT")
    if case.interval is None:
        return _judge_gross(case, case.rise_log, limits, seen)
    if case.modes is not None:
        apart = f"accepted sessions run in two modes {case.modes.ratio:.2f}x apart"
        return Finding(Outcome.INCONCLUSIVE, "latency", f"{seen}; {apart}", _MORE_PROCESSES)
    limit = math.log1p(case.data.max_slowdown)
    if case.rise_log > limit:
        short = f"{seen}, but not beyond doubt"
        return Finding(Outcome.INCONCLUSIVE, "latency", short, _suggest_repeat(case))
    if case.rise_log < -limit and case.data.case in significant.faster:
        return Finding(
            Outcome.FASTER, "latency", seen, "sdperf baseline accept --reason TEXT to keep it"
        )
    if case.interval.half_width > limit:
        noise = f"this machine only tells changes above {_percent(case.interval.half_width)}"
        return Finding(Outcome.INCONCLUSIVE, "latency", f"{seen}; {noise}", _suggest_repeat(case))
    return Finding(Outcome.PASS, "latency", seen)


def _judge_gross(case: CaseEstimate, rise_log: float, limits: LatencyLimits, seen: str) -> Finding:
    """Judge a case with too few sessions for a spread: gross slowdowns fail, others are advice.

    Args:
        case: The case.
        rise_log: Its rise, log.
        limits: The suite's limits.
        seen: The rise in words, without a limit, since the case's own limit does not bind yet.
    """
    kind = "more session" if case.data.saved else "more accepted session"
    missing = format_quantity(FEWEST_SESSIONS - case.sessions, kind)
    own = format_change(1 + case.data.max_slowdown)
    limit = _gross_limit(case, limits)
    if limit > case.data.max_slowdown:
        until = f"{own}; until then only {format_change(1 + limit)} fails"
        advice = f"{missing} for the limit to bind ({until})"
    else:
        advice = f"{missing} to know the spread between sessions"
    if rise_log > math.log1p(limit):
        few = f"with fewer than {FEWEST_SESSIONS} sessions"
        gross = f"{seen}, beyond the gross limit {format_change(1 + limit)}, which fails {few}"
        return Finding(Outcome.SLOWER, "latency", gross, _suggest_repeat(case))
    if rise_log > math.log1p(case.data.max_slowdown):
        now = () if case.data.settle is None else ("; or, at once: ", case.data.settle)
        above = f"{seen}, above {own}"
        return Finding(Outcome.INCONCLUSIVE, "latency", above, join_step(advice, *now))
    return Finding(Outcome.PASS, "latency", f"{seen}; {advice}")


def _judge_shift(
    shift: ShiftEstimate | None, limits: LatencyLimits, significant: Significant
) -> Finding | None:
    if shift is None:
        return None
    sessions = format_sessions(shift.sessions, shift.saved)
    seen = f"all cases together {_percent(shift.rise_log)} against {sessions}"
    step = "compare the two environments: thermals, power mode, OS, torch"
    own = format_change(1 + limits.suite_slowdown)
    limit = math.log1p(limits.suite_slowdown)
    if shift.interval is None:
        gross = format_change(1 + limits.gross_slowdown)
        few = f"with fewer than {FEWEST_SESSIONS} sessions"
        if shift.rise_log > math.log1p(limits.gross_slowdown):
            beyond = f"{seen}, beyond the gross limit {gross}, which fails {few}"
            return Finding(Outcome.SLOWER, "latency", beyond, step)
        if shift.rise_log > limit:
            above = f"{seen}, above {own}; {few} only {gross} fails"
            return Finding(Outcome.INCONCLUSIVE, "latency", above, step)
        return Finding(Outcome.PASS, "latency", f"{seen}; {few} only {gross} fails")
    seen = f"{seen}, limit {own}"
    if shift.rise_log > limit and None in significant.slower:
        return Finding(Outcome.SLOWER, "latency", seen, step)
    if shift.rise_log < -limit and None in significant.faster:
        return Finding(Outcome.FASTER, "latency", seen, step)
    if shift.rise_log > limit:
        return Finding(Outcome.INCONCLUSIVE, "latency", seen, step)
    return Finding(Outcome.PASS, "latency", seen)


def _is_suspect(case: CaseEstimate, limits: LatencyLimits) -> bool:
    if case.rise_log is None:
        return False
    if case.interval is None:
        return case.rise_log > math.log1p(limits.gross_slowdown)
    if case.modes is not None:
        return False
    half_width = case.interval.half_width
    return case.rise_log > _suspicion(case) and (
        case.rise_log > half_width or half_width > math.log1p(case.data.max_slowdown)
    )


def choose_limit(case: CaseEstimate, limits: LatencyLimits) -> float:
    """Return the slowdown that fails a case, as a fraction: gross while the spread is unknown."""
    return _gross_limit(case, limits) if case.interval is None else case.data.max_slowdown


def _gross_limit(case: CaseEstimate, limits: LatencyLimits) -> float:
    """Return the slowdown that fails while the spread is unknown; a case's limit may be wider."""
    return max(limits.gross_slowdown, case.data.max_slowdown)


def _suspicion(case: CaseEstimate) -> float:
    return SCREEN_SHARE * math.log1p(case.data.max_slowdown)


def _is_above(value: float | None, bar: float) -> bool:
    return value is not None and value > bar


def _suggest_repeat(case: CaseEstimate) -> str | None:
    return case.data.repeat if case.data.settle is None else case.data.settle


def _describe(case: CaseEstimate, shift: ShiftEstimate | None) -> str:
    """Say what was measured, what it is compared with, and the limit where it binds."""
    seen = _describe_change(case, shift)
    if case.baseline_s is None or case.rise_log is None or case.interval is None:
        return seen
    return f"{seen}, limit {format_change(1 + case.data.max_slowdown)}"


def _describe_change(case: CaseEstimate, shift: ShiftEstimate | None) -> str:
    """Say by how much a case changed, and then by how much compared with the other cases."""
    if case.baseline_s is None or case.rise_log is None:
        return f"{format_seconds(case.data.current_s)}; no compared session has this case"
    sessions = format_sessions(case.sessions, case.data.saved)
    change = _percent(case.rise_log)
    if shift is not None:
        raw = format_change(case.data.current_s / case.baseline_s)
        together = f"where all cases together changed by {_percent(shift.rise_log)}"
        change = f"{raw}, {together}: {change} beside them"
    images = case.data.images_per_round
    of = "" if images == 1 else f" a round of {format_quantity(images, 'image')}"
    return (
        f"{format_seconds(case.data.current_s)}{of} against {format_seconds(case.baseline_s)} in "
        f"{sessions}: {change}"
    )


def format_sessions(sessions: int, saved: int = 0) -> str:
    """Say how many sessions a case is compared with, accepted ones and saved runs apart.

    >>> format_sessions(1, saved=1), format_sessions(5, saved=2)
    ('1 saved run', '3 accepted sessions and 2 saved runs')
    """
    accepted = format_quantity(sessions - saved, "accepted session")
    if not saved:
        return accepted
    runs = format_quantity(saved, "saved run")
    return runs if saved == sessions else f"{accepted} and {runs}"


def _percent(log_ratio: float) -> str:
    return format_change(math.exp(log_ratio))
