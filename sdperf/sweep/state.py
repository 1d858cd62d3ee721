"""What a sweep was asked and what it has found so far, kept after each comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Final

from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.bisect.folder import KeptFolder, hash_question
from sdperf.bisect.state import Kind
from sdperf.record.json import parse_record
from sdperf.record.workload import Workload
from sdperf.sweep.judging import CaseStep
from sdperf.sweep.plan import PlannedPair, Role, SweepPlan

SWEEP_FORMAT_VERSION: Final = 1
"""Version of the stored state; a state of another version is another question."""


@dataclass(frozen=True)
class SweepQuestion:
    """What is asked. The same question, asked again, goes on where it was left.

    Attributes:
        kind: What the steps are.
        about: What differs between the steps: a package's name, or ``commits``.
        plan: The steps, and which of them are measured.
        companions: Requirements that every step's environment holds too.
        workload: What is generated.
        subject: ``module:function`` that makes the pipeline, or ``None``.
        device: A choice of the setting ``device``.
        cases: Cases of the matrix.
        options: How two steps are compared; ``alpha`` is the whole sweep's.
        software: Versions that matter, by package; those that the steps do not change.
        pip_options: Given to ``pip install``.
        format_version: Version of the state.
    """

    kind: Kind
    about: str
    plan: SweepPlan
    workload: Workload
    subject: str | None
    device: str
    cases: tuple[MatrixCase, ...]
    options: CompareOptions
    companions: tuple[str, ...] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    pip_options: tuple[str, ...] = ()
    format_version: int = SWEEP_FORMAT_VERSION

    def key(self) -> str:
        """Hash everything that is asked; 16 hexadecimal digits."""
        return hash_question(self)


@dataclass(frozen=True)
class PairRecord:
    """A comparison that was made.

    Attributes:
        a: The reference.
        b: The step that was judged.
        role: What the reference is to it.
        is_dense: Whether it was chosen because something happened.
        alpha: What it could spend of the error, for each direction.
        cases: What each case said.
        reason: Why it could not be made; empty where it was.
        comparison: File of the whole comparison, in the sweep's folder.
        took_s: How long it took, seconds.
        finished: When, UTC, ISO 8601.
    """

    a: str
    b: str
    role: Role
    is_dense: bool = False
    alpha: float = 0.0
    cases: tuple[CaseStep, ...] = ()
    reason: str = ""
    comparison: str = ""
    took_s: float = 0.0
    finished: str = ""

    @property
    def is_eventful(self) -> bool:
        """Whether something happened in some case."""
        return any(case.is_eventful for case in self.cases)


@dataclass(frozen=True)
class FailedStep:
    """A step that cannot be measured: a point of the curve all the same.

    Attributes:
        step: Which.
        reason: Why: it does not install, import or run.
        finished: When that was seen, UTC, ISO 8601.
    """

    step: str
    reason: str
    finished: str = ""


@dataclass(frozen=True)
class SweepState:
    """How far a sweep has come.

    Attributes:
        question: What was asked.
        started: When, UTC, ISO 8601.
        pairs: Comparisons in the order in which they were made.
        failed: Steps that cannot be measured.
        conflicts: What pip named that does not fit together, by step.
    """

    question: SweepQuestion
    started: str
    pairs: tuple[PairRecord, ...] = ()
    failed: tuple[FailedStep, ...] = ()
    conflicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Why steps cannot be measured, by step."""
        return {one.step: one.reason for one in self.failed}

    @property
    def measured(self) -> set[str]:
        """Steps that took part in a comparison."""
        return {step for one in self.pairs if not one.reason for step in (one.a, one.b)}

    @property
    def anchor(self) -> str | None:
        """What every step is also compared with; ``None`` where no step can be measured."""
        return self.question.plan.find_anchor(self.reasons)

    def list_left(self) -> list[PlannedPair]:
        """List the comparisons that are left, as far as they are known now."""
        eventful = [(one.a, one.b) for one in self.pairs if one.is_eventful]
        done = {(one.a, one.b) for one in self.pairs}
        return list(self.question.plan.list_left(done, self.reasons, eventful))

    def with_pair(self, record: PairRecord) -> SweepState:
        """Return the state after one more comparison."""
        return replace(self, pairs=(*self.pairs, record))

    def with_conflicts(self, found: Mapping[str, tuple[str, ...]]) -> SweepState:
        """Return the state with what pip named for some steps; none is nothing to keep."""
        return replace(self, conflicts={**self.conflicts, **{a: b for a, b in found.items() if b}})

    def with_failed(self, record: FailedStep) -> SweepState:
        """Return the state after one more step that cannot be measured."""
        return replace(self, failed=(*self.failed, record))


class SweepFolder(KeptFolder[SweepState]):
    """Where a sweep's state, comparisons and images lie."""

    noun: ClassVar[str] = "sweep"

    def parse(self, document: dict[str, Any]) -> SweepState:
        """Read a sweep's state."""
        state = parse_record(SweepState, document)
        ends = [step for one in state.pairs for step in (one.a, one.b)]
        named = [*ends, *(one.step for one in state.failed), *state.conflicts]
        self.check_question(state.question.key(), state.question.plan.steps, named)
        return state
