"""Judges a session that was resumed: the cases of each process by themselves. Pure.

What all cases of a session have in common (a warm day, a busy neighbour, the state after a boot)
belongs to a process and differs between the two sides of an interruption. So the cases of each
process are judged as if they had been a session: see
``docs/decisions/0036-a-resumed-session-is-judged-in-parts.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sdperf.judging.session.confirmation import INTERRUPTED, Confirmation
from sdperf.judging.session.held import HeldCase
from sdperf.judging.session.speed import Confirm, SpeedVerdict, void_finding
from sdperf.record.verdict import Finding, Outcome

_SEVERITY = {outcome: rank for rank, outcome in enumerate(Outcome)}

Kept = TypeVar("Kept")

JudgePart = Callable[[Mapping[str, HeldCase], Confirm | None, str], SpeedVerdict]
"""Judges the cases of one part; see `sdperf.judging.session.speed.judge_speed`."""


def divide(
    judged: Mapping[str, Kept], kept: Mapping[str, str]
) -> list[tuple[str | None, dict[str, Kept]]]:
    """Divide a session's cases by the process that measured them.

    Args:
        judged: The cases by test id.
        kept: When the process began that measured a case, for cases of earlier processes.

    Returns:
        The cases of the present process (``None``), then those of each earlier one, the latest
        first; a process without cases is left out.
    """
    starts = [None, *sorted({kept[name] for name in judged if name in kept}, reverse=True)]
    parts = [
        (start, {name: one for name, one in judged.items() if kept.get(name) == start})
        for start in starts
    ]
    return [(start, cases) for start, cases in parts if cases]


def judge_parts(
    parts: Sequence[tuple[str | None, Mapping[str, HeldCase]]],
    judge: JudgePart,
    confirm: Confirm | None,
    unconfirmed: str,
) -> SpeedVerdict:
    """Judge each part, and join the answers.

    The code is compared with itself once, in the first part that has a baseline, since the null
    control tests the present code on the present machine. Where it fails, all parts are void.

    Args:
        parts: The parts that `divide` returned.
        judge: Judges one part.
        confirm: Measures again; ``None`` judges by the saved numbers alone.
        unconfirmed: Why nothing is measured again, where ``confirm`` is ``None``.
    """
    verdicts: list[tuple[str | None, SpeedVerdict]] = []
    for start, cases in parts:
        done = [one.confirmation for _, one in verdicts]
        ended = next((one for one in done if one.void or one.was_interrupted), None)
        if ended is not None:
            why = "void" if ended.void else INTERRUPTED
            verdicts.append((start, judge(cases, None, why)))
            continue
        has_control = any(one.null_control is not None for one in done)
        asked = _without_control(confirm) if has_control and confirm is not None else confirm
        verdicts.append((start, judge(cases, asked, unconfirmed)))
    return merge_verdicts(verdicts)


def merge_verdicts(verdicts: Sequence[tuple[str | None, SpeedVerdict]]) -> SpeedVerdict:
    """Join the answers of all parts; for the suite, the worst answer counts."""
    if len(verdicts) == 1:
        return verdicts[0][1]
    confirmations = [one.confirmation for _, one in verdicts]
    void = next((one.void for one in confirmations if one.void is not None), None)
    cases = {name: finding for _, one in verdicts for name, finding in one.cases.items()}
    suites = [
        Finding(
            one.suite.outcome,
            one.suite.gate,
            f"{_name(start)}: {one.suite.reason}",
            one.suite.next_step,
        )
        for start, one in verdicts
        if one.suite is not None
    ]
    suite = min(suites, key=lambda one: _SEVERITY[one.outcome], default=None)
    if void is not None:
        cases = {name: void_finding(void) for name in cases}
        suite = None if suite is None else void_finding(void)
    notes = [note for one in confirmations for note in one.notes]
    return SpeedVerdict(
        cases=cases,
        suite=suite,
        estimates={name: each for _, one in verdicts for name, each in one.estimates.items()},
        offline={name: each for _, one in verdicts for name, each in one.offline.items()},
        confirmation=Confirmation(
            findings={name: one for each in confirmations for name, one in each.findings.items()},
            paired=frozenset().union(*(one.paired for one in confirmations)),
            null_control=next(
                (one.null_control for one in confirmations if one.null_control is not None), None
            ),
            void=void,
            notes=tuple(dict.fromkeys(notes)),
            was_interrupted=any(one.was_interrupted for one in confirmations),
        ),
    )


def _without_control(confirm: Confirm) -> Confirm:
    return lambda screening, limits, _control: confirm(screening, limits, None)


def _name(start: str | None) -> str:
    return "cases of this process" if start is None else f"cases of the process of {start}"
