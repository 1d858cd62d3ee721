"""What a search was asked and what it has found so far, kept after each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal

from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.bisect.folder import KeptFolder, hash_question
from sdperf.bisect.judging import Aspect, CaseAnswer, Target
from sdperf.bisect.search import Answer, History
from sdperf.record.json import parse_record
from sdperf.record.workload import Workload

BISECT_FORMAT_VERSION: Final = 1
"""Version of the stored state; a state of another version is another question."""

Kind = Literal["revisions", "packages"]


@dataclass(frozen=True)
class BisectQuestion:
    """What is asked. The same question, asked again, goes on where it was left.

    Attributes:
        kind: What the steps are.
        good: The good end: a commit, or requirements.
        history: The steps after it; the last is the bad end.
        aspects: What counts as bad.
        workload: What is generated.
        subject: ``module:function`` that makes the pipeline, or ``None``.
        device: A choice of the setting ``device``.
        cases: Cases of the matrix.
        options: How the bad end is compared with the good end; ``alpha`` is the whole search's.
        software: Versions that matter, by package; those that the steps do not change.
        pip_options: Given to ``pip install``.
        format_version: Version of the state.
    """

    kind: Kind
    good: str
    history: History
    aspects: tuple[Aspect, ...]
    workload: Workload
    subject: str | None
    device: str
    cases: tuple[MatrixCase, ...]
    options: CompareOptions
    software: Mapping[str, str] = field(default_factory=dict)
    pip_options: tuple[str, ...] = ()
    format_version: int = BISECT_FORMAT_VERSION

    @property
    def bad(self) -> str:
        """The bad end."""
        return self.history.steps[-1]

    def key(self) -> str:
        """Hash everything that is asked; 16 hexadecimal digits."""
        return hash_question(self)


@dataclass(frozen=True)
class StepRecord:
    """One step that was tested.

    Attributes:
        step: Which.
        answer: What testing it said.
        reason: Why it was skipped or left open; empty otherwise.
        cases: What each case said.
        comparisons: Files of the whole comparisons, in the search's folder.
        took_s: How long it took, seconds.
        finished: When, UTC, ISO 8601.
    """

    step: str
    answer: Answer
    reason: str = ""
    cases: tuple[CaseAnswer, ...] = ()
    comparisons: tuple[str, ...] = ()
    took_s: float = 0.0
    finished: str = ""


@dataclass(frozen=True)
class BisectState:
    """How far a search has come.

    Attributes:
        question: What was asked.
        started: When, UTC, ISO 8601.
        end: The bad end against the good end; ``None`` before that.
        targets: What is worse at the bad end.
        undecided: Whether the bad end's speed was asked for and could not be decided.
        steps: The steps in the order in which they were tested.
        closing: The first bad step against the step before it; ``None`` before that.
        closing_base: What it was compared with.
    """

    question: BisectQuestion
    started: str
    end: StepRecord | None = None
    targets: tuple[Target, ...] = ()
    undecided: bool = False
    steps: tuple[StepRecord, ...] = ()
    closing: StepRecord | None = None
    closing_base: str | None = None

    @property
    def answers(self) -> dict[str, Answer]:
        """What each tested step said."""
        return {record.step: record.answer for record in self.steps}

    @property
    def tests(self) -> int:
        """How many tests were made; a skipped step is none."""
        return (self.end is not None) + sum(one.answer != "skipped" for one in self.steps)

    def with_step(self, record: StepRecord) -> BisectState:
        """Return the state after one more step."""
        return replace(self, steps=(*self.steps, record))


class StateFolder(KeptFolder[BisectState]):
    """Where a search's state, comparisons and images lie."""

    noun: ClassVar[str] = "search"

    def parse(self, document: dict[str, Any]) -> BisectState:
        """Read a search's state."""
        state = parse_record(BisectState, document)
        question = state.question
        known = (question.good, *question.history.steps)
        records = [one for one in (state.end, state.closing, *state.steps) if one is not None]
        named = [*(one.step for one in records), state.closing_base]
        self.check_question(question.key(), known, named)
        return state
