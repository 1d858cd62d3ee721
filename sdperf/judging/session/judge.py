"""The one function that judges a session: at its end, and whenever its saved run is read.

Pure, but for what `Again` measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sdperf.judging.session.held import HeldCase
from sdperf.judging.session.limits import Limits
from sdperf.judging.session.parts import divide, judge_parts
from sdperf.judging.session.recorded import (
    RecordedCase,
    Repeat,
    judge_recorded,
    repeat_suspects,
)
from sdperf.judging.session.speed import Confirm, SpeedVerdict, judge_speed
from sdperf.judging.settling import UNKNOWN, Typed
from sdperf.judging.support import CaseNoise
from sdperf.record.verdict import Finding, Outcome, SettledCase, Verdict

_SEVERITY: Final = {outcome: rank for rank, outcome in enumerate(Outcome)}


@dataclass(frozen=True)
class Again:
    """What only a running session has: how it measures again, and how it was started.

    Attributes:
        confirm: Measures cases with a suspect median again; ``None`` judges by saved numbers alone.
        unconfirmed: Why nothing is measured again, where ``confirm`` is ``None``.
        repeat: Measures suspect starts and tails again; ``None`` takes what the record holds.
        processes: When the process began that measured a case, by test id; only for cases that an
            earlier process measured.
        noises: How far cases move by themselves by the calibration, by test id.
        typed: How the session was started.
        is_here: Whether its code is the working tree.
        is_void: Whether no timing counts, even after measuring again.
    """

    confirm: Confirm | None = None
    unconfirmed: str = ""
    repeat: Repeat | None = None
    processes: Mapping[str, str] = field(default_factory=dict)
    noises: Mapping[str, CaseNoise] = field(default_factory=dict)
    typed: Typed = UNKNOWN
    is_here: bool = False
    is_void: bool = False


@dataclass(frozen=True)
class JudgedSession:
    """The judgement of the numbers of a session.

    Attributes:
        cases: The cases by test id; suspects that were measured again say so in their records.
        speed: The findings on the speed of each case, and of all together.
        recorded: The findings on starts, tails, growth, energy and cores, by test id.
    """

    cases: Mapping[str, HeldCase] = field(default_factory=dict)
    speed: SpeedVerdict = field(default_factory=SpeedVerdict)
    recorded: Mapping[str, list[Finding]] = field(default_factory=dict)


def judge_session(
    cases: Mapping[str, HeldCase], limits: Limits, again: Again | None = None
) -> JudgedSession:
    """Judge all cases of a session by their numbers: speed together, then each record.

    Args:
        cases: Its timed cases by test id, in the order in which they ran, with their bases.
        limits: The limits to judge by.
        again: How it measures its suspects again; a saved run cannot.
    """
    if not cases:
        return JudgedSession()
    again = again or Again()

    def judge(part: Mapping[str, HeldCase], confirm: Confirm | None, why: str) -> SpeedVerdict:
        return judge_speed(
            part,
            limits,
            confirm,
            unconfirmed=why,
            noises=again.noises,
            typed=again.typed,
            is_here=again.is_here,
        )

    parts = divide(cases, again.processes)
    speed = judge_parts(parts, judge, again.confirm, again.unconfirmed)
    is_void = again.is_void or speed.confirmation.void is not None
    if again.repeat is not None and not is_void:
        found = repeat_suspects(_list_recorded(cases), limits.recorded, again.repeat)
        cases = {
            name: one
            if one.measurement is None or name not in found
            else replace(one, measurement=replace(one.measurement, repeats=found[name]))
            for name, one in cases.items()
        }
    recorded = judge_recorded(_list_recorded(cases), limits.recorded, is_void=is_void)
    return JudgedSession(cases, speed, recorded)


def _list_recorded(cases: Mapping[str, HeldCase]) -> dict[str, RecordedCase]:
    return {
        name: RecordedCase(one.measurement, one.history)
        for name, one in cases.items()
        if one.measurement is not None
    }


def settle_case(
    verdict: Verdict, judged: JudgedSession, limits: Limits, *, is_doubted: bool
) -> SettledCase | None:
    """Return the finding on a case's speed that readers of the run have to take over.

    Args:
        verdict: The session's verdict on the case.
        judged: The session.
        limits: The limits that it was judged by.
        is_doubted: Whether readers leave the speed of the whole session open, for example because
            the machine was not fit.

    Returns:
        ``None`` where the saved numbers alone give the same answer, or where there is none.
    """
    name, held = verdict.case, judged.cases.get(verdict.case)
    latency = [one for one in verdict.findings if one.gate == "latency"]
    offline = judged.speed.offline.get(name)
    if not latency or held is None or offline is None or not held.has_history:
        return None
    worst = min(latency, key=lambda one: _SEVERITY[one.outcome])
    is_confirmed = name in judged.speed.confirmation.findings
    if worst.outcome is offline.outcome and not is_confirmed and not is_doubted:
        return None
    return SettledCase(
        outcome=worst.outcome.value,
        reason=worst.reason,
        max_slowdown=limits.slowdown_of(name),
        gross_slowdown=limits.gross_slowdown,
        history_s=held.counted_s,
        was_measured_again=is_confirmed,
    )
