"""Judges one saved run against others, case by case. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sdperf.errors import RecordError
from sdperf.judging.doubts.comparable import Difference
from sdperf.judging.doubts.execution import GATE as WORK
from sdperf.judging.doubts.plausibility import GATE as PLAUSIBILITY
from sdperf.judging.doubts.plausibility import judge_plausibility
from sdperf.judging.doubts.said import weigh_said
from sdperf.judging.exactness import GATE as EXACTNESS
from sdperf.judging.exactness import judge_exactness
from sdperf.judging.images import judge_soundness
from sdperf.judging.inside.imprints import GATE as IMPRINT
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.session.base import (
    Held,
    find_held,
    judge_inside,
    judge_work,
    name_guards,
)
from sdperf.judging.session.failing import explain_nothing_compared, is_failed
from sdperf.judging.session.held import HeldCase
from sdperf.judging.session.judge import Again, judge_session
from sdperf.judging.session.limits import Limits
from sdperf.judging.session.recorded import RECORDED_GATES
from sdperf.judging.settling import advise_accepting
from sdperf.judging.suite_estimate import CaseEstimate
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome, SettledCase, Verdict, parse_finding
from sdperf.store.runs import SavedRun, find_itself
from sdperf.units import format_quantity

_SPEEDS: Final = (Outcome.SLOWER, Outcome.FASTER, Outcome.PASS, Outcome.INCONCLUSIVE)
"""The outcomes that a run may have settled for a case with compared sessions."""

_MEASURE_FIT: Final = "sdperf doctor; measure again in one session, on a machine that is fit"


@dataclass(frozen=True)
class ComparedCase:
    """One case of the head, or one that only the bases hold.

    Attributes:
        verdict: The verdict on it.
        baseline_s: Geometric mean of the bases' medians, seconds; ``None`` without a usable base.
        current_s: Median of the head, seconds; ``None`` where the head lacks the case.
        ratio_beside_others: Current over baseline without what all cases have in common, by which
            a case is judged; ``None`` where unknown.
        sessions: How many bases it was compared with.
        unchanged: The range of ratios of an unchanged session, with 95 % confidence on each side;
            ``None`` with fewer than five usable bases.
        settled: What its own run settled about its speed, where that still holds.
        is_absent: Whether only bases have the case and the head does not mention it.
    """

    verdict: Verdict
    baseline_s: float | None
    current_s: float | None
    ratio_beside_others: float | None
    sessions: int
    unchanged: tuple[float, float] | None = None
    settled: SettledCase | None = None
    is_absent: bool = False

    @property
    def change(self) -> float | None:
        """Current over baseline seconds, not adjusted; see `ratio_beside_others`."""
        if self.current_s is None or not self.baseline_s:
            return None
        return self.current_s / self.baseline_s


@dataclass(frozen=True)
class SavedComparison:
    """The judgement of a saved session by earlier ones.

    Attributes:
        bases: Names of the files compared with.
        head: Name of the file judged.
        cases: Every case of the head in its order, then the cases that only bases hold.
        suite: What all cases have in common; ``None`` where it cannot be told.
        itself: Names of the files left out, since they hold the judged session itself, accepted.
    """

    bases: tuple[str, ...]
    head: str
    cases: tuple[ComparedCase, ...]
    suite: Finding | None
    itself: tuple[str, ...] = ()

    @property
    def nothing_compared(self) -> str | None:
        """Why the comparison fails, where no case could be compared; ``None`` where one was."""
        timed = (case.verdict for case in self.cases if case.current_s is not None)
        return explain_nothing_compared(timed, self.bases)

    def is_failed(self, *, strict: bool = False, exact: bool = False) -> bool:
        """Tell whether anything failed or, if strict, stayed open; also where nothing was compared.

        Args:
            strict: Whether open answers fail.
            exact: Whether an image fails that is no longer bit for bit the same.
        """
        verdicts = [case.verdict for case in self.cases]
        failed = is_failed(verdicts, self.suite, strict=strict, exact=exact)
        return failed or self.nothing_compared is not None


def compare_sessions(
    bases: Sequence[SavedRun],
    head: SavedRun,
    limits: Limits | None = None,
    settled: Mapping[str, SettledCase] | None = None,
) -> SavedComparison:
    """Judge the head's cases against the bases'.

    A base's case is left out, with its reason, where it failed in its own run and nobody accepted
    it, a later base changed its level on purpose, it is of another workload, variant or machine, or
    cannot be read; so is a whole base that was void or resumed. The head itself, accepted, is no
    base; where no other is given, nothing is compared. A case that only bases hold is
    INCOMPARABLE: a renamed or lost case must not vanish silently. The head's own findings that no
    number tells (on images, on a worker that died) are repeated, also for cases without timings.
    What it settled about a case's speed is repeated where it is compared with the same sessions by
    the same limit.
    Where a guard failed on one side only, the speeds of the two sides are not compared. The seconds
    of such a base are left out where other bases are fit; else all speed is open. Where the head
    is void or was resumed, its speed is open too.

    Args:
        bases: Oldest first, one or more.
        head: The session to judge.
        limits: The limits to judge by.
        settled: Findings on speed that hold whatever the numbers say, by test id.

    Raises:
        RecordError: No base shares a single case with the head.
    """
    itself = find_itself(bases, head.document)
    bases = [base for base in bases if base not in itself]
    shared = [name for name in head.cases if any(name in base.cases for base in bases)]
    if bases and not shared:
        raise RecordError(
            f"{head.path} has no case in common with what it is compared with",
            got=format_quantity(len(head.cases), "case"),
            expected=f"test ids as in {', '.join(str(base.path) for base in bases)}",
            hint="run pytest from the same folder, so that test ids agree",
        )
    limits = limits or Limits()
    unfit, doubt_of_guards = _find_unfit(bases, head)
    found = {name: find_held(bases, head, name, takes_unfit=True) for name in head.cases}
    held = {
        name: _hold(case.rounds_s, case.measurement, found[name], unfit)
        for name, case in head.cases.items()
    }
    is_untimed = head.void is not None or doubt_of_guards is not None
    judged = judge_session(held, limits, Again(is_void=is_untimed))
    settled = _find_settled(head, held, limits) if settled is None else settled
    doubt = _doubt_head(head) or doubt_of_guards
    speed = judged.speed
    cases = [
        _compare_case(
            estimate,
            _weigh(speed.cases[name], doubt),
            settled.get(name),
            found[name].difference,
            None if held[name].has_history else _find_doubt(found[name], unfit),
            [
                *_repeat_said(head, name, bases, found[name]),
                *_judge_record(replace(held[name], history=found[name].history), limits.memory),
                *judged.recorded.get(name, ()),
            ],
        )
        for name, estimate in speed.estimates.items()
    ]
    gone = dict.fromkeys(name for base in bases for name in base.cases if name not in head.cases)
    untimed = [name for name in head.findings if name not in head.cases and name not in gone]
    return SavedComparison(
        bases=tuple(base.source for base in bases),
        head=head.source,
        cases=(
            *cases,
            *(_repeat_untimed(name, head) for name in untimed),
            *(_report_gone(name, bases, head) for name in gone),
        ),
        suite=None if speed.suite is None else _weigh(speed.suite, doubt),
        itself=tuple(one.source for one in itself),
    )


def _find_settled(
    head: SavedRun, held: Mapping[str, HeldCase], limits: Limits
) -> dict[str, SettledCase]:
    """Return what the head's own run settled, where it is now compared with the same sessions.

    A run could claim anything about itself. So only a finding counts that measuring again could
    have given: on the speed of a case with compared sessions, in a run whose speed can be told.
    """
    if head.summary is None or _doubt_head(head) is not None:
        return {}
    return {
        name: one
        for name, one in head.summary.settled.items()
        if name in held
        and one.outcome in {speed.value for speed in _SPEEDS}
        and held[name].has_history
        and one.history_s == held[name].counted_s
        and one.max_slowdown == limits.slowdown_of(name)
        and one.gross_slowdown == limits.gross_slowdown
    }


def _hold(
    rounds_s: tuple[float, ...],
    measurement: Measurement | None,
    found: Held,
    unfit: Mapping[int, str],
) -> HeldCase:
    """Compare a case with the bases whose seconds count."""
    timed = [None if index in unfit else one for index, one in enumerate(found.cases)]
    return HeldCase(
        rounds_s=rounds_s,
        measurement=measurement,
        history=tuple(None if one is None else one.measurement for one in timed),
        history_s=tuple(None if one is None else statistics.median(one.rounds_s) for one in timed),
        saved=found.saved,
    )


def _find_doubt(found: Held, unfit: Mapping[int, str]) -> str | None:
    """Say why the last base that holds a case, which was not fit, does not tell its speed."""
    reasons = [reason for index, reason in unfit.items() if found.cases[index] is not None]
    return reasons[-1] if reasons else None


def _find_unfit(bases: Sequence[SavedRun], head: SavedRun) -> tuple[dict[int, str], str | None]:
    """Find bases whose machine was not fit while the head's was, or the other way round.

    Returns:
        First, why the seconds of a base are left out, by its index, where other bases count.
        Second, why all speed is open, by the head or by each base; ``None`` where it is not.
    """
    counting = [
        index
        for index, base in enumerate(bases)
        if not (base.void or base.was_resumed or base.cases.keys().isdisjoint(head.cases))
    ]
    unfit = {}
    for index in counting:
        odd = [one for one in bases[index].failed_guards if one not in head.failed_guards]
        if odd:
            unfit[index] = name_guards(odd, bases[index].source)
    if unfit and len(unfit) == len(counting):
        return {}, unfit[counting[-1]]
    odd = [
        guard
        for guard in head.failed_guards
        if any(guard not in bases[index].failed_guards for index in counting if index not in unfit)
    ]
    return unfit, name_guards(odd, head.source) if odd else None


def _doubt_head(head: SavedRun) -> str | None:
    """Say why the head's speed cannot be told; ``None`` where it can."""
    if head.void is not None:
        return f"{head.source} is void: {head.void}"
    if head.was_resumed:
        return (
            f"{head.source} was resumed after an interruption, and its cases share no process: "
            "the run's own summary judged each process by itself"
        )
    return None


def _weigh(finding: Finding, doubt: str | None) -> Finding:
    """Leave speed open where it is in doubt: both a change and the lack of one."""
    if doubt is None or finding.outcome not in (Outcome.SLOWER, Outcome.FASTER, Outcome.PASS):
        return finding
    return replace(
        finding,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"{finding.reason}; {doubt}",
        next_step=finding.next_step or _MEASURE_FIT,
    )


def _compare_case(
    estimate: CaseEstimate,
    latency: Finding,
    settled: SettledCase | None,
    difference: Difference | None,
    doubt: str | None,
    others: Sequence[Finding],
) -> ComparedCase:
    name = estimate.data.case
    if doubt is not None:
        latency = Finding(Outcome.INCONCLUSIVE, "latency", doubt, _MEASURE_FIT)
    elif estimate.sessions == 0 and difference is not None:
        step = difference.suggest("compare with a session of this machine")
        latency = Finding(Outcome.INCOMPARABLE, "latency", difference.reason, step)
    if settled is not None and latency.outcome in _SPEEDS:
        settle = latency.next_step or estimate.data.settle or estimate.data.repeat
        latency = parse_finding(settled.outcome, "latency", settled.reason)
        if latency.outcome in (Outcome.SLOWER, Outcome.INCONCLUSIVE):
            latency = replace(latency, next_step=settle)
    return ComparedCase(
        verdict=Verdict(name, advise_accepting((latency, *others))),
        baseline_s=estimate.baseline_s,
        current_s=estimate.data.current_s,
        ratio_beside_others=(None if estimate.rise_log is None else math.exp(estimate.rise_log)),
        sessions=estimate.sessions,
        unchanged=(
            None
            if estimate.interval is None
            else (math.exp(estimate.interval.lower), math.exp(estimate.interval.upper))
        ),
        settled=settled,
    )


def _judge_record(case: HeldCase, limits: MemoryLimits) -> list[Finding]:
    """Judge one case's record as `sdperf.judging.session.gate` does, where no image is needed.

    Scores against the image of another base tell nothing about this comparison.
    """
    if case.measurement is None:
        return []
    findings = judge_plausibility(case.measurement)
    latest = next((one for one in reversed(case.history) if one is not None), None)
    if latest is None:
        return findings
    findings += judge_work(case.measurement, latest)
    changed, _ = judge_exactness(_drop_other_scores(case.measurement, latest), case.history)
    findings += [] if changed is None else [changed]
    return [*findings, *judge_inside(case.measurement, case.history, limits)]


def _drop_other_scores(current: Measurement, saved: Measurement) -> Measurement:
    """Leave out scores against a baseline's image that are not of this base."""
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
"""Gates whose answers follow from the saved numbers; other gates saw what no file holds."""


def _repeat_said(
    head: SavedRun, name: str, bases: Sequence[SavedRun], found: Held
) -> list[Finding]:
    """Repeat the run's own findings that nobody can judge again: on images and workers.

    A finding that the run was compared with nothing is not repeated, since here it is compared.
    One against the run's own baseline is weighed where that is not what it is compared with.
    """
    case = head.cases.get(name)
    said = [
        one
        for one in head.findings.get(name, ())
        if one.gate not in _JUDGED_ANEW and one.outcome is not Outcome.NO_BASELINE
    ]
    if case is not None and case.measurement is not None:
        base, source = _find_pictures(bases, name, found)
        said = [
            weigh_said(one, case.measurement, base, source, case.base)
            if one.gate == "image"
            else one
            for one in said
        ]
    if any(one.gate == "image" for one in said) or case is None:
        return said
    if case.measurement is not None:
        said += judge_soundness(case.measurement.images, repeatable=None)
    if not said and case.outcome in _SAID_BY_THE_RUN:
        outcome = Outcome(case.outcome)
        said.append(Finding(outcome, "image", "the run itself said so of its images"))
    return said


def _find_pictures(
    bases: Sequence[SavedRun], name: str, found: Held
) -> tuple[Measurement | None, str]:
    """Return the record whose pictures a case is compared with, and the name of its run.

    That is the latest base that counts. Where none does, such as one that failed itself, the latest
    with a record: bytes that are equal are equal there too.
    """
    records = [
        (None if one is None else one.measurement, base.source)
        for one, base in zip(found.cases, bases, strict=True)
    ]
    if all(record is None for record, _ in records):
        held = ((base.cases.get(name), base.source) for base in bases)
        records = [(None if one is None else one.measurement, source) for one, source in held]
    known = (one for one in reversed(records) if one[0] is not None)
    return next(known, (None, ""))


_SAID_BY_THE_RUN = frozenset({Outcome.BROKEN.value, Outcome.DEGRADED.value})


def _repeat_untimed(name: str, head: SavedRun) -> ComparedCase:
    """Repeat the run's findings on a case without timings: a dead worker, the pictures."""
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
        ratio_beside_others=None,
        sessions=len(medians),
        is_absent=name not in head.findings,
    )
