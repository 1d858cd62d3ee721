"""The rules by which a base counts, for a session and for readers of its saved run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sdperf.judging.doubts.comparable import Difference, explain_difference
from sdperf.judging.doubts.execution import judge_execution
from sdperf.judging.doubts.plausibility import judge_fresh_against
from sdperf.judging.inside.imprints import judge_imprints
from sdperf.judging.resources.memory import MemoryLimits, judge_memory
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.store.runs import SavedCase

_FAILED: Final = frozenset(outcome.value for outcome in Outcome if outcome.is_failure)


class Base(Protocol):
    """A session that another is compared with."""

    @property
    def source(self) -> str:
        """Its file's name, as shown to people."""

    @property
    def cases(self) -> Mapping[str, SavedCase]:
        """Its cases, by test id."""

    @property
    def level_changed(self) -> tuple[str, ...]:
        """Cases whose earlier history this session ends."""

    @property
    def is_accepted(self) -> bool:
        """Whether somebody accepted it, failures and all."""

    @property
    def void(self) -> str | None:
        """Why nothing that was timed in it counts; ``None`` where it does."""

    @property
    def was_resumed(self) -> bool:
        """Whether its cases were measured by more than one pytest process."""

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """Guards of the machine that failed when it was measured."""

    @property
    def machine(self) -> str | None:
        """System, architecture and processor, where known."""


@dataclass(frozen=True)
class Held:
    """What the bases hold of a case.

    Attributes:
        cases: The case in each base, oldest first; ``None`` where it does not count.
        difference: Why the last base that does not count is left out; ``None`` without a reason.
        saved: How many of the bases that count are saved runs, which nobody accepted.
    """

    cases: tuple[SavedCase | None, ...]
    difference: Difference | None
    saved: int

    @property
    def history(self) -> tuple[Measurement | None, ...]:
        """The records of the bases that count."""
        return tuple(None if one is None else one.measurement for one in self.cases)


def find_held(
    bases: Sequence[Base],
    head: Base,
    name: str,
    *,
    needs_records: bool = False,
    takes_unfit: bool = False,
) -> Held:
    """Find the records of a case in the bases that it can be compared with.

    Args:
        bases: Oldest first.
        head: The session that is judged.
        name: The case, which the head holds.
        needs_records: Whether a base's case counts only with a record.
        takes_unfit: Whether a base counts if a guard failed in it that was ok for the head.
    """
    first, cases = find_level(bases, name), list[SavedCase | None]()
    difference: Difference | None = None
    for index, base in enumerate(bases):
        saved = base.cases.get(name) if index >= first else None
        complaint = None
        if saved is not None:
            complaint = _explain_unusable(base, head, name, needs_records=needs_records)
            if complaint is None and not takes_unfit:
                complaint = _explain_unfit(base, head)
            if complaint is not None:
                told = f"{base.source}: {complaint.reason}"
                difference = Difference(told, complaint.is_of_workload)
        cases.append(saved if complaint is None else None)
    saved_runs = sum(
        one is not None and not base.is_accepted for one, base in zip(cases, bases, strict=True)
    )
    return Held(tuple(cases), difference, saved_runs)


def _explain_unusable(
    base: Base, head: Base, name: str, *, needs_records: bool
) -> Difference | None:
    then, now = base.cases[name], head.cases[name]
    if base.void is not None:
        return Difference(f"that run was void: {base.void}")
    if base.was_resumed:
        return Difference("that run was resumed after an interruption: its cases share no process")
    reason = find_unusable(base, name) if then.is_ours or needs_records else None
    if reason is not None:
        return Difference(reason)
    if now.is_ours and now.unusable is not None:
        return Difference(f"in {head.source} {now.unusable}")
    if then.measurement is not None and now.measurement is not None:
        return explain_difference(then.measurement, now.measurement)
    if base.machine is not None and head.machine is not None and base.machine != head.machine:
        return Difference(f"measured on {base.machine}, {head.source} on {head.machine}")
    return None


def _explain_unfit(base: Base, head: Base) -> Difference | None:
    odd = [guard for guard in base.failed_guards if guard not in head.failed_guards]
    return Difference(name_guards(odd, "it")) if odd else None


def name_guards(names: Sequence[str], run: str) -> str:
    """Say that the machine was not fit when a run was measured."""
    return f"the machine was not fit when {run} was measured (guard {', '.join(names)})"


def find_level(bases: Sequence[Base], name: str) -> int:
    """Return the first base of a case's present level; earlier bases are of another level."""
    return max((index for index, base in enumerate(bases) if name in base.level_changed), default=0)


def find_unusable(base: Base, name: str) -> str | None:
    """Say why a base's record of a case is not comparable; ``None`` when it is."""
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
        history: The record of each base, one or more of which count; ``None`` where one does not.
        memory: Tolerated growth of peak memory; ``None`` does not judge memory.
    """
    inside = judge_imprints(measurement, history)
    findings = [] if inside is None else [inside]
    if memory is not None:
        known = [one.memory for one in history if one is not None]
        found = judge_memory(measurement.memory, known, memory)
        findings += [] if found.outcome is Outcome.NO_BASELINE else [found]
    return findings
