"""The data of a report: saved runs by machine, with the last run of each machine judged. Pure.

A report and its replay call the same `judge_machine`, so equal data give equal verdicts.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sdperf.errors import RecordError
from sdperf.judging.session.failing import explain_nothing_compared, is_failed
from sdperf.judging.session.limits import Limits
from sdperf.judging.session.saved import ComparedCase, compare_sessions
from sdperf.record.environment import Environment
from sdperf.record.measurement import CaseKind, Measurement
from sdperf.record.verdict import (
    Finding,
    Outcome,
    SettledCase,
    Verdict,
    shorten_case,
    shorten_cases,
)
from sdperf.record.workload import Variant
from sdperf.stats.summaries import compute_median_interval
from sdperf.store.quality import QualityCase
from sdperf.store.runs import SavedCase, SavedRun, find_itself, parse_run

_UNFIT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

_NOTHING: Final = Finding(Outcome.NO_BASELINE, "latency", "there is no run to compare with")


@dataclass(frozen=True)
class ReportedRun:
    """One saved run, cleaned so that it can be shown.

    Attributes:
        name: What people call it; a file name.
        document: The JSON as read.
        run: Its contents, with words cleaned so that they can be shown.
    """

    name: str
    document: Mapping[str, Any]
    run: SavedRun

    @property
    def measurements(self) -> dict[str, Measurement]:
        """The readable records, by test id."""
        return {
            name: case.measurement
            for name, case in self.run.cases.items()
            if case.measurement is not None
        }

    @property
    def environment(self) -> Environment | None:
        """Where the run was measured; ``None`` where no record says."""
        return next((one.environment for one in self.measurements.values()), None)

    @property
    def machine(self) -> str:
        """The kind of machine: its fingerprint, else pytest-benchmark's description of it."""
        where = self.environment
        return (self.run.machine or "unknown machine") if where is None else where.fingerprint()


@dataclass(frozen=True)
class CaseShape:
    """What a case measures, without its result.

    Attributes:
        kind: Kind of case, as `Measurement` names it.
        variant: The cell of the matrix.
        images_per_round: Images of a round, of all workers together.
    """

    kind: CaseKind
    variant: Variant
    images_per_round: int

    @classmethod
    def of(cls, one: Measurement) -> CaseShape:
        """Return what a record measured."""
        return cls(one.kind, one.variant, one.images_per_round)


@dataclass(frozen=True)
class ReportedCase:
    """One case of a machine's last run.

    Attributes:
        name: Its test id.
        verdict: The verdict on it.
        measurement: Its record; ``None`` where no readable record exists.
        rounds_s: Seconds of its rounds; empty where it was not timed.
        baseline_s: Geometric mean of the bases' median rounds, seconds; ``None`` also where only
            bases have the case and their rounds differ in the number of images.
        baseline_range_s: Seconds: with five sessions or more, the range of an unchanged session;
            with several, from the lowest to the highest median; with one, the 95 % interval of
            its median.
        sessions: How many sessions it was compared with.
        seen: What a case of the quality suite found; ``None`` for all other cases.
        base: What the case measures by the last base's record, where the head did not time it;
            ``None`` for all other cases.
        is_absent: Whether only bases have the case and the head does not mention it.
        label: Its name beside the others of its run; empty is its name without file and ``test_``.
    """

    name: str
    verdict: Verdict
    measurement: Measurement | None = None
    rounds_s: tuple[float, ...] = ()
    baseline_s: float | None = None
    baseline_range_s: tuple[float, float] | None = None
    sessions: int = 0
    seen: QualityCase | None = None
    base: CaseShape | None = None
    is_absent: bool = False
    label: str = ""

    @property
    def shape(self) -> CaseShape | None:
        """What the case measures, by the head's record, else by the last base's."""
        return self.base if self.measurement is None else CaseShape.of(self.measurement)

    @property
    def images_per_round(self) -> int:
        """Images of a round, of the head or of the bases; 1 where no record says."""
        return 1 if self.shape is None else self.shape.images_per_round

    @property
    def short(self) -> str:
        """The name of the case without its file and ``test_``, or its label."""
        return self.label or shorten_case(self.name)

    @property
    def current_s(self) -> float | None:
        """Median seconds of the rounds."""
        return statistics.median(self.rounds_s) if self.rounds_s else None

    @property
    def current_range_s(self) -> tuple[float, float] | None:
        """The 95 % interval of that median, seconds; the extremes where rounds are too few."""
        if len(self.rounds_s) < 2:
            return None
        interval = compute_median_interval(self.rounds_s)
        return interval.lower, interval.upper

    @property
    def change(self) -> float | None:
        """Current over baseline median."""
        current = self.current_s
        return None if current is None or not self.baseline_s else current / self.baseline_s


@dataclass(frozen=True)
class JudgedMachine:
    """The part of a report on one machine.

    Attributes:
        machine: Its fingerprint.
        head: The run that is judged.
        bases: The runs it is compared with, oldest first.
        cases: All cases of the head, then the cases that only bases hold.
        suite: What all cases have in common; ``None`` where it cannot be told.
        limits: The limits that it was judged by.
        settled: What measuring again had settled, by test id.
        notes: Further remarks, one line each.
        no_overlap: Why the run fails that was to be compared with runs of which none has a case of
            it, so that they are no bases; ``None`` otherwise.
    """

    machine: str
    head: ReportedRun
    bases: tuple[ReportedRun, ...]
    cases: tuple[ReportedCase, ...]
    suite: Finding | None = None
    limits: Limits = field(default_factory=Limits)
    settled: Mapping[str, SettledCase] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    no_overlap: str | None = None

    @property
    def nothing_compared(self) -> str | None:
        """Why the run fails, where no case could be compared; ``None`` where one was."""
        timed = (case.verdict for case in self.cases if case.rounds_s)
        nothing = explain_nothing_compared(timed, [base.name for base in self.bases])
        return self.no_overlap or nothing

    def is_failed(self, *, strict: bool = False) -> bool:
        """Tell whether anything failed or, if strict, stayed open; also where nothing was compared.

        Args:
            strict: Whether open answers fail.
        """
        verdicts = [case.verdict for case in self.cases]
        return is_failed(verdicts, self.suite, strict=strict) or self.nothing_compared is not None


def parse_reported_run(name: str, document: Mapping[str, Any]) -> ReportedRun:
    """Turn a saved run's JSON into the data of a report, checking everything that is used.

    Raises:
        RecordError: The JSON is damaged, or is not a pytest-benchmark run with its rounds.
    """
    name = clean_words(name)
    run = parse_run(Path(name), clean_words(dict(document)), needs_rounds=True)
    return ReportedRun(name, document, run)


Words = TypeVar("Words")
_HOLD_WORDS: Final = (str, dict, list)
"""What holds words; nearly all that a run holds are numbers."""


def clean_words(value: Words) -> Words:
    """Replace characters that harm pages, pictures or terminals: controls, single surrogates.

    Anybody may have written a run, and a branch may have any name. Marks that turn the direction
    of the following text are replaced too, since that text would look like another one.
    """
    if isinstance(value, str):
        if _UNFIT.search(value) is None:
            return value
        return cast("Words", _UNFIT.sub("\ufffd", value.replace("\n", " ").replace("\t", " ")))
    if isinstance(value, dict):
        return cast(
            "Words",
            {
                clean_words(key): clean_words(each) if isinstance(each, _HOLD_WORDS) else each
                for key, each in value.items()
            },
        )
    if isinstance(value, list):
        return cast(
            "Words",
            [clean_words(each) if isinstance(each, _HOLD_WORDS) else each for each in value],
        )
    return value


def group_by_machine(runs: Sequence[ReportedRun]) -> list[list[ReportedRun]]:
    """Sort runs by the machine they were measured on; the order within a machine is kept."""
    groups: dict[str, list[ReportedRun]] = {}
    for run in runs:
        groups.setdefault(run.machine, []).append(run)
    return list(groups.values())


def judge_machine(
    runs: Sequence[ReportedRun],
    limits: Limits | None = None,
    *,
    settled: Mapping[str, SettledCase] | None = None,
    notes: Sequence[str] = (),
    no_overlap: str | None = None,
) -> JudgedMachine:
    """Judge the last run of a machine against its other runs.

    The saved numbers are judged by the rules of a session, also where there is nothing to compare
    with. What only the run itself could see (images, dead workers) is taken from its record, and so
    is what it settled by measuring again. An accepted session that is the last run itself is
    left out. Without other runs the run's own verdicts stand.

    Args:
        runs: Runs of one machine, oldest first, one or more.
        limits: The limits to judge by.
        settled: What was settled about the speed of cases, by test id; ``None`` takes what the run
            stored, where it is compared with the same sessions by the same limits.
        notes: Remarks to pass on.
        no_overlap: Why nothing was compared although runs were named; they are left out.

    Raises:
        RecordError: The other runs share no case with the last one.
    """
    *others, head = runs
    itself = find_itself([other.run for other in others], head.document)
    bases = [other for other in others if other.run not in itself]
    limits = limits or Limits()
    compared: Mapping[str, ComparedCase] = {}
    suite = None
    if bases:
        comparison = compare_sessions(
            [base.run for base in bases],
            head.run,
            limits,
            settled,
        )
        compared = {case.verdict.case: case for case in comparison.cases}
        suite = comparison.suite
    recorded = head.run.findings
    quality = {one.case: one for one in head.run.quality}
    names = shorten_cases((*head.run.cases, *recorded, *compared))
    return JudgedMachine(
        machine=head.machine,
        head=head,
        bases=tuple(bases),
        cases=tuple(
            _judge_case(
                name,
                label,
                head,
                recorded.get(name, [_NOTHING]),
                compared.get(name),
                [base.run.cases[name] for base in bases if name in base.run.cases],
                quality.get(name),
            )
            for name, label in names.items()
        ),
        suite=suite,
        limits=limits,
        settled={name: one.settled for name, one in compared.items() if one.settled is not None},
        notes=tuple(notes),
        no_overlap=no_overlap,
    )


def _judge_case(
    name: str,
    label: str,
    head: ReportedRun,
    recorded: Sequence[Finding],
    compared: ComparedCase | None,
    held: Sequence[SavedCase],
    seen: QualityCase | None,
) -> ReportedCase:
    timed = head.run.cases.get(name)
    findings = recorded if compared is None else compared.verdict.findings
    bases = [one.measurement for one in held if one.measurement is not None]
    is_gone = timed is None and bool(bases)
    is_of_one_size = len({one.images_per_round for one in bases}) < 2
    return ReportedCase(
        name=name,
        verdict=Verdict(name, tuple(findings)),
        measurement=None if timed is None else timed.measurement,
        rounds_s=() if timed is None else timed.rounds_s,
        baseline_s=(
            None if compared is None or (is_gone and not is_of_one_size) else compared.baseline_s
        ),
        baseline_range_s=None if compared is None else _find_range(compared, held),
        sessions=0 if compared is None else compared.sessions,
        seen=seen,
        base=CaseShape.of(bases[-1]) if is_gone else None,
        is_absent=compared is not None and compared.is_absent,
        label=label,
    )


def _find_range(compared: ComparedCase, held: Sequence[SavedCase]) -> tuple[float, float] | None:
    if compared.baseline_s is None or compared.sessions == 0:
        return None
    if compared.unchanged is not None:
        low, high = compared.unchanged
        return compared.baseline_s * low, compared.baseline_s * high
    if compared.sessions != len(held):
        return None
    if len(held) == 1:
        interval = compute_median_interval(held[0].rounds_s)
        return interval.lower, interval.upper
    medians = [statistics.median(one.rounds_s) for one in held]
    return min(medians), max(medians)


def require_runs(runs: Sequence[ReportedRun]) -> None:
    """Refuse a report without a run or a case.

    Raises:
        RecordError: There is no run, or a run without a case.
    """
    if not runs:
        raise RecordError("there is nothing to report", hint="pytest benchmarks")
    for run in runs:
        if not run.run.cases and (run.run.summary is None or not run.run.summary.outcomes):
            raise RecordError(
                f"{run.name} holds no case",
                got="an empty run",
                expected="one or more benchmarks",
                hint="pytest benchmarks --benchmark-json=run.json",
            )
