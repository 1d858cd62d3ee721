"""Saved sessions held against each other: the verdicts of ``sdperf compare`` and their forms. Pure.

The same judges speak as in a run, but nothing is measured again: see `judge_offline`.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sdperf.errors import RecordError
from sdperf.judging.comparable import explain_difference
from sdperf.judging.execution import judge_execution
from sdperf.judging.latency import DEFAULT_MAX_SLOWDOWN, LatencyLimits, judge_offline
from sdperf.judging.memory import MemoryLimits, judge_memory
from sdperf.judging.settling import suggest_ab
from sdperf.judging.suite_estimate import CaseEstimate, CaseSessions, compute_suite_estimate
from sdperf.report.markdown import escape_markdown, format_code
from sdperf.report.terminal import Line, colour_of, wrap_line
from sdperf.store.session_file import SavedSession, TimedCase
from sdperf.units import UNKNOWN, format_change, format_quantity, format_seconds
from sdperf.verdict import Finding, Outcome, Verdict, judge_soundness

WIDTH = 100
FORMAT_VERSION = 1


@dataclass(frozen=True)
class ComparedCase:
    """One case of the head, or one that only the bases hold.

    Attributes:
        verdict: What is said of it.
        baseline_s: Geometric mean of the bases' medians; ``None`` without a usable one.
        current_s: Median of the head; ``None`` where the head lacks the case.
        ratio: Current over baseline without the suite-wide shift; ``None`` where unknown.
        sessions: Bases that it was held against.
        unchanged: Between which ratios an unchanged session would fall with 95 % confidence on
            each side; ``None`` with fewer than five usable bases.
    """

    verdict: Verdict
    baseline_s: float | None
    current_s: float | None
    ratio: float | None
    sessions: int
    unchanged: tuple[float, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """What saved sessions say of the last of them.

    Attributes:
        bases: Names of the files compared with.
        head: Name of the file judged.
        cases: Every case of the head in its order, then those that only bases hold.
        suite: What all cases have in common; ``None`` where it cannot be told.
    """

    bases: tuple[str, ...]
    head: str
    cases: tuple[ComparedCase, ...]
    suite: Finding | None

    def is_failed(self, *, strict: bool = False) -> bool:
        """Tell whether anything failed; strictly, also whether anything stayed open."""
        outcomes = [case.verdict.outcome for case in self.cases]
        if self.suite is not None:
            outcomes.append(self.suite.outcome)
        return any(one.is_failure or (strict and one.is_open) for one in outcomes)


def compare_sessions(
    bases: Sequence[SavedSession],
    head: SavedSession,
    limits: LatencyLimits | None = None,
    *,
    max_slowdown: float = DEFAULT_MAX_SLOWDOWN,
    own_slowdowns: Mapping[str, float] | None = None,
    memory: MemoryLimits | None = None,
) -> Comparison:
    """Judge the head's cases against the bases'.

    A base's case is left out, with its reason, where it failed in its own run and nobody accepted
    it, a later base changed its level on purpose, it is of another workload, variant or machine, or
    cannot be read; so is a whole base that was void or resumed, or that was measured while a guard
    failed that held for the head. A case that only bases hold is INCOMPARABLE: renamed or lost, it
    must not vanish silently. What the head's own run said against a case (its images, say) is
    repeated.
    Where the head is void or was resumed, or a guard failed for it and not for every base, its
    speed is open.

    Args:
        bases: Oldest first, one or more.
        head: The session to judge.
        limits: The suite's limits.
        max_slowdown: Tolerated slowdown of each case, as a fraction.
        own_slowdowns: That of single cases by test id, in its place.
        memory: Tolerated growth of peak memory.

    Raises:
        RecordError: No base shares a single case with the head.
    """
    shared = [name for name in head.cases if any(name in base.cases for base in bases)]
    if not shared:
        raise RecordError(
            f"{head.path} has no case in common with what it is compared with",
            got=f"{len(head.cases)} cases",
            expected=f"test ids as in {', '.join(str(base.path) for base in bases)}",
            hint="run pytest from the same folder, so that test ids agree",
        )
    reasons: dict[str, str] = {}
    suite = []
    for name, case in head.cases.items():
        usable = []
        first = _find_level(bases, name)
        for index, base in enumerate(bases):
            reason = _explain_unusable(base, head, name)
            is_used = index >= first and reason is None and name in base.cases
            if index >= first and reason is not None:
                reasons[name] = f"{base.path.name}: {reason}"
            usable.append(base.cases[name] if is_used else None)
        suite.append(
            CaseSessions(
                name,
                tuple(None if one is None else statistics.median(one.rounds_s) for one in usable),
                case.rounds_s,
                (own_slowdowns or {}).get(name, max_slowdown),
                settle=_suggest_ab(usable, case),
            )
        )
    estimate = compute_suite_estimate(suite)
    judged = judge_offline(estimate, limits)
    doubt, is_void = _doubt_head(bases, head), head.void is not None or head.was_resumed
    cases = [
        _compare_case(
            one,
            _weigh(judged.cases[one.data.case], doubt, is_void=is_void),
            reasons.get(one.data.case),
            _judge_records(one.data.case, bases, head, memory),
        )
        for one in estimate.cases
    ]
    gone = dict.fromkeys(name for base in bases for name in base.cases if name not in head.cases)
    return Comparison(
        bases=tuple(base.path.name for base in bases),
        head=head.path.name,
        cases=(*cases, *(_report_gone(name, bases) for name in gone)),
        suite=None if judged.suite is None else _weigh(judged.suite, doubt, is_void=is_void),
    )


def _suggest_ab(usable: Sequence[TimedCase | None], case: TimedCase) -> str | None:
    """Return what would settle a case: its code against that of the latest base."""
    saved = next((one.measurement for one in reversed(usable) if one is not None), None)
    return (
        None if saved is None or case.measurement is None else suggest_ab(saved, case.measurement)
    )


def _doubt_head(bases: Sequence[SavedSession], head: SavedSession) -> str | None:
    """Say why the head's speed cannot be told from its machine's state; ``None`` where it can."""
    if head.void is not None:
        return f"{head.path.name} is void: {head.void}"
    if head.was_resumed:
        return (
            f"{head.path.name} was resumed after an interruption, and its cases share no process: "
            "the run's own summary judged each process by itself"
        )
    odd = [name for name in head.failed_guards if any(name not in b.failed_guards for b in bases)]
    return f"{', '.join(odd)} failed when {head.path.name} was measured" if odd else None


def _weigh(finding: Finding, doubt: str | None, *, is_void: bool) -> Finding:
    """Leave a change of speed open where the head's machine was not fit; all of it where void."""
    changes = finding.outcome in (Outcome.SLOWER, Outcome.FASTER)
    if doubt is None or not (changes or (is_void and finding.outcome is Outcome.PASS)):
        return finding
    return replace(finding, outcome=Outcome.INCONCLUSIVE, reason=f"{finding.reason}; {doubt}")


def _find_level(bases: Sequence[SavedSession], name: str) -> int:
    """Return the first base of a case's present level; earlier ones were left behind on purpose."""
    return max((index for index, base in enumerate(bases) if name in base.level_changed), default=0)


def _explain_unusable(base: SavedSession, head: SavedSession, name: str) -> str | None:
    then, now = base.cases.get(name), head.cases[name]
    if then is None:
        return None
    if base.void is not None:
        return f"that run was void: {base.void}"
    if base.was_resumed:
        return "that run was resumed after an interruption: its cases share no process"
    odd = [guard for guard in base.failed_guards if guard not in head.failed_guards]
    if odd:
        return f"{', '.join(odd)} failed when it was measured"
    if then.saved is not None:
        if then.saved.unusable is not None:
            return then.saved.unusable
        failed = then.saved.outcome in {one.value for one in Outcome if one.is_failure}
        if failed and not base.is_accepted:
            return f"the case was {then.saved.outcome} in that run"
    if now.saved is not None and now.saved.unusable is not None:
        return f"in {head.path.name} {now.saved.unusable}"
    if then.measurement is not None and now.measurement is not None:
        return explain_difference(then.measurement, now.measurement)
    if base.machine is not None and head.machine is not None and base.machine != head.machine:
        return f"measured on {base.machine}, {head.path.name} on {head.machine}"
    return None


def _compare_case(
    estimate: CaseEstimate,
    latency: Finding,
    reason: str | None,
    others: Sequence[Finding],
) -> ComparedCase:
    name = estimate.data.case
    if estimate.sessions == 0 and reason is not None:
        latency = Finding(
            Outcome.INCOMPARABLE, "latency", reason, "compare with a session of this machine"
        )
    return ComparedCase(
        verdict=Verdict(name, (latency, *others)),
        baseline_s=estimate.baseline_s,
        current_s=estimate.data.current_s,
        ratio=None if estimate.rise_log is None else math.exp(estimate.rise_log),
        sessions=estimate.sessions,
        unchanged=(
            None
            if estimate.interval is None
            else (math.exp(estimate.interval.lower), math.exp(estimate.interval.upper))
        ),
    )


def _judge_records(
    name: str, bases: Sequence[SavedSession], head: SavedSession, limits: MemoryLimits | None
) -> list[Finding]:
    """Judge what sdperf recorded beside the timings: memory, and what the run itself said."""
    now = head.cases[name]
    findings = []
    if now.measurement is not None:
        findings += judge_soundness(now.measurement.images, repeatable=None)
    if not findings and now.saved is not None and now.saved.outcome in _SAID_BY_THE_RUN:
        said = Outcome(now.saved.outcome)
        findings.append(Finding(said, "image", "the run itself said so of its images"))
    known = [
        one.measurement
        for base in bases[_find_level(bases, name) :]
        if (one := _usable(base, head, name)) is not None and one.measurement is not None
    ]
    if now.measurement is not None and known:
        other_work = judge_execution(now.measurement, known[-1])
        findings += [] if other_work is None else [other_work]
        memory = judge_memory(now.measurement.memory, [one.memory for one in known], limits)
        if memory.outcome is not Outcome.NO_BASELINE:
            findings.append(memory)
    return findings


_SAID_BY_THE_RUN = frozenset({Outcome.BROKEN.value, Outcome.DEGRADED.value})


def _usable(base: SavedSession, head: SavedSession, name: str) -> TimedCase | None:
    return base.cases.get(name) if _explain_unusable(base, head, name) is None else None


def _report_gone(name: str, bases: Sequence[SavedSession]) -> ComparedCase:
    medians = [statistics.median(base.cases[name].rounds_s) for base in bases if name in base.cases]
    finding = Finding(
        Outcome.INCOMPARABLE,
        "latency",
        f"{len(medians)} of {len(bases)} earlier sessions have this case, the current one lacks it",
        "was it renamed, skipped or deselected?",
    )
    return ComparedCase(
        verdict=Verdict(name, (finding,)),
        baseline_s=statistics.geometric_mean(medians),
        current_s=None,
        ratio=None,
        sessions=len(medians),
    )


def format_comparison_table(comparison: Comparison) -> list[Line]:
    """Lay the comparison out for a terminal: a line a case, then what is not a plain pass."""
    names = [case.verdict.case for case in comparison.cases]
    width = min(max([len(name) for name in names] + [4]), 50)
    bases = len(comparison.bases)
    lines = [
        Line(f"{comparison.head} against {format_quantity(bases, 'saved session')}"),
        Line(
            f"{'case':<{width}} {'baseline':>11} {'current':>11} {'change':>9}  verdict", "", True
        ),
    ]
    for case, name in zip(comparison.cases, names, strict=True):
        shown = name if len(name) <= width else f"...{name[3 - width :]}"
        outcome = case.verdict.outcome
        lines.append(
            Line(
                f"{shown:<{width}} {format_seconds(case.baseline_s):>11} "
                f"{format_seconds(case.current_s):>11} {format_change(case.ratio):>9}  "
                f"{outcome.value}",
                colour_of(outcome),
            )
        )
    if comparison.suite is not None:
        suite = comparison.suite
        lines += wrap_line(
            f"suite: {suite.outcome.value}  {suite.reason}", colour_of(suite.outcome)
        )
    for case in comparison.cases:
        if case.verdict.outcome is Outcome.PASS:
            continue
        for finding in case.verdict.told:
            text = f"{finding.outcome.value}  {case.verdict.case}: {finding.reason}"
            lines += wrap_line(text, colour_of(finding.outcome))
            if finding.next_step is not None:
                lines += wrap_line(f"    next: {finding.next_step}", "")
    lines.append(Line(_count(comparison)))
    return lines


def format_comparison_markdown(comparison: Comparison) -> str:
    """Lay the comparison out as Markdown, for a job summary or a pull request."""
    lines = [
        f"### {escape_markdown(comparison.head)} against {len(comparison.bases)} saved session(s)",
        "",
        "| case | baseline | current | change | verdict |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for case in comparison.cases:
        reasons = "; ".join(finding.reason for finding in case.verdict.decisive)
        outcome = case.verdict.outcome
        detail = "" if outcome is Outcome.PASS else f": {escape_markdown(reasons)}"
        lines.append(
            f"| {format_code(case.verdict.case)} | {format_seconds(case.baseline_s)} "
            f"| {format_seconds(case.current_s)} | {format_change(case.ratio)} "
            f"| **{outcome.value}**{detail} |"
        )
    suite = comparison.suite
    if suite is not None:
        lines += ["", f"Suite: **{suite.outcome.value}** {escape_markdown(suite.reason)}"]
    return "\n".join([*lines, "", _count(comparison), ""])


def format_comparison_json(comparison: Comparison) -> str:
    """Lay the comparison out as JSON; no NaN, unknown is null."""
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "bases": list(comparison.bases),
        "head": comparison.head,
        "suite": None if comparison.suite is None else _plain_finding(comparison.suite),
        "cases": [
            {
                "case": case.verdict.case,
                "outcome": case.verdict.outcome.value,
                "baseline_s": case.baseline_s,
                "current_s": case.current_s,
                "ratio": case.ratio,
                "sessions": case.sessions,
                "findings": [_plain_finding(finding) for finding in case.verdict.findings],
            }
            for case in comparison.cases
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _plain_finding(finding: Finding) -> dict[str, str | None]:
    return {
        "outcome": finding.outcome.value,
        "gate": finding.gate,
        "reason": finding.reason,
        "next_step": finding.next_step,
    }


def _count(comparison: Comparison) -> str:
    counts = Counter(case.verdict.outcome for case in comparison.cases)
    named = ", ".join(
        f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]
    )
    return f"{len(comparison.cases)} cases: {named or UNKNOWN}"
