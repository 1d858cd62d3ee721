"""What a session and everybody who reads its saved run make of a base: one rule each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from sdperf.judging.doubts.execution import judge_execution
from sdperf.judging.doubts.plausibility import judge_fresh_against
from sdperf.judging.inside.imprints import judge_imprints
from sdperf.judging.resources.memory import MemoryLimits, judge_memory
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.store.runs import SavedCase

_FAILED: Final = frozenset(outcome.value for outcome in Outcome if outcome.is_failure)


class Base(Protocol):
    """A session that another is held against."""

    @property
    def cases(self) -> Mapping[str, SavedCase]:
        """What it holds, by test id."""

    @property
    def level_changed(self) -> tuple[str, ...]:
        """Cases whose earlier history it ends."""

    @property
    def is_accepted(self) -> bool:
        """Whether somebody accepted it, failures and all."""


def find_level(bases: Sequence[Base], name: str) -> int:
    """Return the first base of a case's present level; earlier ones were left behind on purpose."""
    return max((index for index, base in enumerate(bases) if name in base.level_changed), default=0)


def find_unusable(base: Base, name: str) -> str | None:
    """Say why a base's record of a case cannot be compared with; ``None`` when it can."""
    saved = base.cases[name]
    if saved.unusable is None and not base.is_accepted and saved.outcome in _FAILED:
        return f"the case was {saved.outcome} in that run"
    return saved.unusable


def judge_work(measurement: Measurement, saved: Measurement) -> list[Finding]:
    """Judge whether the same work was done as in the latest base that counts."""
    said = (judge_execution(measurement, saved), judge_fresh_against(measurement, saved))
    return [one for one in said if one is not None]


def judge_inside(
    measurement: Measurement, history: Sequence[Measurement | None], memory: MemoryLimits | None
) -> list[Finding]:
    """Judge imprints and peak memory against the bases.

    Args:
        measurement: The case.
        history: What each base holds of it, one or more that count; ``None`` where that does not.
        memory: Tolerated growth of peak memory; ``None`` judges no memory.
    """
    inside = judge_imprints(measurement, history)
    findings = [] if inside is None else [inside]
    if memory is not None:
        known = [one.memory for one in history if one is not None]
        found = judge_memory(measurement.memory, known, memory)
        findings += [] if found.outcome is Outcome.NO_BASELINE else [found]
    return findings
