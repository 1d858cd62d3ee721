"""Judges one saved run against others, case by case. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sdperf.errors import RecordError
from sdperf.judging.doubts.comparable import explain_difference
from sdperf.judging.doubts.execution import GATE as WORK
from sdperf.judging.doubts.plausibility import GATE as PLAUSIBILITY
from sdperf.judging.doubts.plausibility import judge_plausibility
from sdperf.judging.exactness import GATE as EXACTNESS
from sdperf.judging.exactness import judge_exactness
from sdperf.judging.images import judge_soundness
from sdperf.judging.inside.imprints import GATE as IMPRINT
from sdperf.judging.latency import DEFAULT_MAX_SLOWDOWN, LatencyLimits, judge_offline
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.session.base import find_level, find_unusable, judge_inside, judge_work
from sdperf.judging.session.recorded import (
    RECORDED_GATES,
    RecordedCase,
    RecordedLimits,
    judge_recorded,
)
from sdperf.judging.settling import suggest_ab, suggest_repeat
from sdperf.judging.suite_estimate import CaseEstimate, CaseSessions, compute_suite_estimate
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.store.runs import SavedCase, SavedRun


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

    def is_failed(self, *, strict: bool = False, exact: bool = False) -> bool:
        """Tell whether anything failed; strictly, also whether anything stayed open.

        Args:
            strict: Whether what stayed open fails.
            exact: Whether an image that is no longer bit for bit what it was fails.
        """
        told = [finding.outcome for case in self.cases for finding in case.verdict.told]
        if (exact or strict) and Outcome.CHANGED in told:
            return True
        outcomes = [case.verdict.outcome for case in self.cases]
        if self.suite is not None:
            outcomes.append(self.suite.outcome)
        return any(one.is_failure or (strict and one.is_open) for one in outcomes)


def compare_sessions(
    bases: Sequence[SavedRun],
    head: SavedRun,
    limits: LatencyLimits | None = None,
    *,
    max_slowdown: float = DEFAULT_MAX_SLOWDOWN,
    own_slowdowns: Mapping[str, float] | None = None,
    memory: MemoryLimits | None = None,
    recorded: RecordedLimits | None = None,
) -> Comparison:
    """Judge the head's cases against the bases'.

    A base's case is left out, with its reason, where it failed in its own run and nobody accepted
    it, a later base changed its level on purpose, it is of another workload, variant or machine, or
    cannot be read; so is a whole base that was void or resumed, or that was measured while a guard
    failed that held for the head. A case that only bases hold is INCOMPARABLE: renamed or lost, it
    must not vanish silently. What the head's own run said of a case and no number tells (of its
    images, of a worker that died) is repeated, also of cases without timings.
    Where the head is void or was resumed, or a guard failed for it and not for every base, its
    speed is open.

    Args:
        bases: Oldest first, one or more.
        head: The session to judge.
        limits: The suite's limits.
        max_slowdown: Tolerated slowdown of each case, as a fraction.
        own_slowdowns: That of single cases by test id, in its place.
        memory: Tolerated growth of peak memory.
        recorded: What else in the records is judged, and what it may be.

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
    histories: dict[str, list[Measurement | None]] = {}
    for name, case in head.cases.items():
        usable: list[SavedCase | None] = []
        first = find_level(bases, name)
        for index, base in enumerate(bases):
            reason = _explain_unusable(base, head, name)
            is_used = index >= first and reason is None and name in base.cases
            if index >= first and reason is not None:
                reasons[name] = f"{base.path.name}: {reason}"
            usable.append(base.cases[name] if is_used else None)
        histories[name] = [None if one is None else one.measurement for one in usable]
        suite.append(
            CaseSessions(
                name,
                tuple(None if one is None else statistics.median(one.rounds_s) for one in usable),
                case.rounds_s,
                (own_slowdowns or {}).get(name, max_slowdown),
                settle=_suggest_ab(usable, case),
                saved=sum(
                    one is not None and not base.is_accepted
                    for one, base in zip(usable, bases, strict=True)
                ),
                repeat=suggest_repeat(name, case.measurement),
                images_per_round=(
                    1 if case.measurement is None else case.measurement.images_per_round
                ),
            )
        )
    estimate = compute_suite_estimate(suite)
    judged = judge_offline(estimate, limits)
    doubt, is_void = _doubt_head(bases, head), head.void is not None or head.was_resumed
    told = _judge_records(head, histories, memory, recorded or RecordedLimits())
    cases = [
        _compare_case(
            one,
            _weigh(judged.cases[one.data.case], doubt, is_void=is_void),
            reasons.get(one.data.case),
            told[one.data.case],
        )
        for one in estimate.cases
    ]
    gone = dict.fromkeys(name for base in bases for name in base.cases if name not in head.cases)
    untimed = [name for name in head.findings if name not in head.cases and name not in gone]
    return Comparison(
        bases=tuple(base.path.name for base in bases),
        head=head.path.name,
        cases=(
            *cases,
            *(_repeat_untimed(name, head) for name in untimed),
            *(_report_gone(name, bases, head) for name in gone),
        ),
        suite=None if judged.suite is None else _weigh(judged.suite, doubt, is_void=is_void),
    )


def _suggest_ab(usable: Sequence[SavedCase | None], case: SavedCase) -> str | None:
    """Return what would settle a case: its code against that of the latest base."""
    saved = next((one.measurement for one in reversed(usable) if one is not None), None)
    return (
        None if saved is None or case.measurement is None else suggest_ab(saved, case.measurement)
    )


def _doubt_head(bases: Sequence[SavedRun], head: SavedRun) -> str | None:
    """Say why the head's speed cannot be told from its machine's state; ``None`` where it can."""
    if head.void is not None:
        return f"{head.path.name} is void: {head.void}"
    if head.was_resumed:
        return (
            f"{head.path.name} was resumed after an interruption, and its cases share no process: "
            "the run's own summary judged each process by itself"
        )
    odd = [name for name in head.failed_guards if any(name not in b.failed_guards for b in bases)]
    return _name_guards(odd, head.path.name) if odd else None


def _name_guards(names: Sequence[str], run: str) -> str:
    """Say that the machine was not fit when a run was measured."""
    return f"the machine was not fit when {run} was measured (guard {', '.join(names)})"


def _weigh(finding: Finding, doubt: str | None, *, is_void: bool) -> Finding:
    """Leave a change of speed open where the head's machine was not fit; all of it where void."""
    changes = finding.outcome in (Outcome.SLOWER, Outcome.FASTER)
    if doubt is None or not (changes or (is_void and finding.outcome is Outcome.PASS)):
        return finding
    return replace(finding, outcome=Outcome.INCONCLUSIVE, reason=f"{finding.reason}; {doubt}")


def _explain_unusable(base: SavedRun, head: SavedRun, name: str) -> str | None:
    then, now = base.cases.get(name), head.cases[name]
    if then is None:
        return None
    if base.void is not None:
        return f"that run was void: {base.void}"
    if base.was_resumed:
        return "that run was resumed after an interruption: its cases share no process"
    odd = [guard for guard in base.failed_guards if guard not in head.failed_guards]
    if odd:
        return _name_guards(odd, "it")
    reason = find_unusable(base, name) if then.is_ours else None
    if reason is not None:
        return reason
    if now.is_ours and now.unusable is not None:
        return f"in {head.path.name} {now.unusable}"
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
    head: SavedRun,
    histories: Mapping[str, Sequence[Measurement | None]],
    memory: MemoryLimits | None,
    limits: RecordedLimits,
) -> dict[str, list[Finding]]:
    """Judge what sdperf recorded beside the timings, and repeat what the run itself said.

    Args:
        head: The session that is judged.
        histories: What each base holds of each of its cases; ``None`` where that does not count.
        memory: Tolerated growth of peak memory.
        limits: What the other gates tolerate.

    Returns:
        Findings by test id, none of the speed of the median round.
    """
    measured = {
        name: RecordedCase(case.measurement, histories[name])
        for name, case in head.cases.items()
        if case.measurement is not None
    }
    judged = judge_recorded(measured, limits, is_void=head.void is not None)
    return {
        name: [
            *_repeat_said(head, name),
            *(_judge_record(measured[name], memory) if name in measured else ()),
            *judged.get(name, ()),
        ]
        for name in head.cases
    }


def _judge_record(case: RecordedCase, limits: MemoryLimits | None) -> list[Finding]:
    """Judge one case's record as `sdperf.judging.session.gate` does, as far as it needs no image.

    Scores that were taken against another base's image say nothing of these.
    """
    findings = judge_plausibility(case.measurement)
    latest = next((one for one in reversed(case.history) if one is not None), None)
    if latest is None:
        return findings
    findings += judge_work(case.measurement, latest)
    changed, _ = judge_exactness(_drop_other_scores(case.measurement, latest), case.history)
    findings += [] if changed is None else [changed]
    return [*findings, *judge_inside(case.measurement, case.history, limits or MemoryLimits())]


def _drop_other_scores(current: Measurement, saved: Measurement) -> Measurement:
    """Leave out scores against the baseline's images that are not this base's."""
    hashes = {image.sha256 for image in saved.images}
    images = tuple(
        replace(
            image,
            scores=tuple(
                one
                for one in image.scores
                if one.against != "baseline" or one.against_sha256 in hashes
            ),
        )
        for image in current.images
    )
    return replace(current, images=images)


_JUDGED_ANEW = RECORDED_GATES | {"latency", "memory", EXACTNESS, IMPRINT, PLAUSIBILITY, WORK}
"""Gates whose answers follow from the saved numbers; all others saw what no file holds."""


def _repeat_said(head: SavedRun, name: str) -> list[Finding]:
    """Repeat what the run itself said of a case and nobody can judge again: images, workers."""
    case = head.cases.get(name)
    said = [one for one in head.findings.get(name, ()) if one.gate not in _JUDGED_ANEW]
    if any(one.gate == "image" for one in said) or case is None:
        return said
    if case.measurement is not None:
        said += judge_soundness(case.measurement.images, repeatable=None)
    if not said and case.outcome in _SAID_BY_THE_RUN:
        outcome = Outcome(case.outcome)
        said.append(Finding(outcome, "image", "the run itself said so of its images"))
    return said


_SAID_BY_THE_RUN = frozenset({Outcome.BROKEN.value, Outcome.DEGRADED.value})


def _repeat_untimed(name: str, head: SavedRun) -> ComparedCase:
    """Repeat what the run said of a case that left no timings: a dead worker, the pictures."""
    return ComparedCase(Verdict(name, tuple(head.findings[name])), None, None, None, 0)


def _report_gone(name: str, bases: Sequence[SavedRun], head: SavedRun) -> ComparedCase:
    medians = [statistics.median(base.cases[name].rounds_s) for base in bases if name in base.cases]
    finding = Finding(
        Outcome.INCOMPARABLE,
        "latency",
        f"{len(medians)} of {len(bases)} earlier sessions have this case, the current one lacks it",
        "was it renamed, skipped or deselected?",
    )
    return ComparedCase(
        verdict=Verdict(name, (finding, *head.findings.get(name, ()))),
        baseline_s=statistics.geometric_mean(medians),
        current_s=None,
        ratio=None,
        sessions=len(medians),
    )
