"""Makes many sessions of a few real ones, and judges each through the whole gate."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sdperf.judging.latency import DEFAULT_FAMILY_ERROR, DEFAULT_MAX_SLOWDOWN
from sdperf.judging.session.recorded import (
    RecordedCase,
    RecordedLimits,
    Repeated,
    repeat_suspects,
)
from sdperf.judging.session.saved import ComparedCase, compare_sessions
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Outcome
from sdperf.stats.paired import DEFAULT_LOOKS, Decision, decide_by_blocks
from sdperf.store.runs import Acceptance, SavedCase, SavedRun, read_run

_ACCEPTED: Final = Acceptance("resampled", "1970-01-01T00:00:00+00:00", None, "0" * 64)

BASES: Final = (1, 5)
"""Accepted sessions that a session is held against: without a spread to judge by, and with one."""


@dataclass(frozen=True)
class Judged:
    """What one resampled session came to.

    Attributes:
        failing: Gates that fail, after suspects of speed were measured again.
        suspects: Cases that the saved seconds alone call SLOWER.
        told: Gates that said CHANGED.
    """

    failing: tuple[str, ...]
    suspects: int
    told: tuple[str, ...]


def read_session(path: Path) -> SavedRun:
    """Read a recorded session."""
    return read_run(path, needs_rounds=True)


def resample(session: SavedRun, chance: random.Random) -> SavedRun:
    """Draw each case's rounds anew, with replacement, from the session's own rounds of it.

    Nothing else is changed: pictures, imprints, scores, fresh requests, loading, the first call and
    the memory after each round in its order are those of the real session.
    """
    cases = {}
    for name, case in session.cases.items():
        rounds_s = tuple(chance.choices(case.rounds_s, k=len(case.rounds_s)))
        measured = case.measurement
        if measured is not None:
            measured = replace(measured, rounds_s=rounds_s, rounds_cpu_s=())
        cases[name] = replace(case, rounds_s=rounds_s, measurement=measured)
    return replace(session, cases=cases)


def judge_resampled(sessions: Sequence[SavedRun], bases: int, chance: random.Random) -> Judged:
    """Draw a session and others to hold it against, and judge it.

    Args:
        sessions: The real sessions.
        bases: How many of the others.
        chance: Draws.
    """
    *others, head = chance.sample(list(sessions), bases + 1)
    redrawn = [replace(resample(one, chance), acceptance=_ACCEPTED) for one in others]
    spare = [one for one in sessions if one is not head and one not in others] or others
    current = _repeat_suspects(resample(head, chance), redrawn, spare, chance)
    found = compare_sessions(redrawn, current)
    suspects = [one for one in found.cases if _is_slower(one)]
    failing = [
        finding.gate
        for case in found.cases
        for finding in case.verdict.findings
        if finding.outcome.is_failure and finding.gate != "latency"
    ]
    failing += ["latency"] * sum(
        _is_confirmed(head.cases[one.verdict.case], len(suspects), chance) for one in suspects
    )
    told = [finding.gate for case in found.cases for finding in case.verdict.told]
    is_changed = [one for one in told if one in ("exactness", "imprint")]
    return Judged(tuple(failing), len(suspects), tuple(is_changed))


def _repeat_suspects(
    head: SavedRun,
    bases: Sequence[SavedRun],
    spare: Sequence[SavedRun],
    chance: random.Random,
) -> SavedRun:
    """Measure suspects of loading, first call and tail again, as other real sessions did.

    A live session starts fresh processes for them; those of sessions that take no other part were
    fresh processes of the same code.
    """
    measured = {name: case.measurement for name, case in head.cases.items()}
    cases = {
        name: RecordedCase(one, [base.cases[name].measurement for base in bases])
        for name, one in measured.items()
        if one is not None
    }

    def repeat(name: str, _rounds: int) -> Repeated | None:
        again = chance.choice(list(spare)).cases[name].measurement
        return None if again is None else Repeated(again, again.rounds_s)

    repeated = dict(head.cases)
    for name, repeats in repeat_suspects(cases, RecordedLimits(), repeat).items():
        case = head.cases[name]
        assert case.measurement is not None
        repeated[name] = replace(case, measurement=replace(case.measurement, repeats=repeats))
    return replace(head, cases=repeated)


def _is_slower(case: ComparedCase) -> bool:
    return any(
        one.outcome is Outcome.SLOWER and one.gate == "latency" for one in case.verdict.findings
    )


def _is_confirmed(case: SavedCase, suspects: int, chance: random.Random) -> bool:
    """Measure a suspect again, as a live session does: in blocks of four, the same code twice.

    A block is four rounds that followed each other in the real session, from a place drawn by lot.
    """
    rounds = case.rounds_s
    contrasts = []
    for number in range(DEFAULT_LOOKS[-1]):
        start = chance.randrange(len(rounds))
        four = [math.log(rounds[(start + place) % len(rounds)]) for place in range(4)]
        sign = 1 if number % 2 else -1
        contrasts.append(sign * (four[0] + four[3] - four[1] - four[2]) / 2)
    decided = decide_by_blocks(
        contrasts, math.log1p(DEFAULT_MAX_SLOWDOWN), alpha=DEFAULT_FAMILY_ERROR / suspects
    )
    return decided.decision is Decision.FAIL


def summarise(sessions: Sequence[SavedRun], count: int, seed: int) -> dict[str, Any]:
    """Judge many resampled sessions, and say how many failed, and by which gate.

    Args:
        sessions: The real sessions.
        count: Resampled sessions for each number of bases.
        seed: Of all draws.
    """
    summary: dict[str, Any] = {}
    for bases in BASES:
        chance = random.Random(seed)
        judged = [judge_resampled(sessions, bases, chance) for _ in range(count)]
        summary[str(bases)] = {
            "sessions": count,
            "red": sum(bool(one.failing) for one in judged),
            "by_gate": dict(Counter(gate for one in judged for gate in set(one.failing))),
            "with_suspects_of_speed": sum(one.suspects > 0 for one in judged),
            "changed": sum(bool(one.told) for one in judged),
        }
    return summary


def describe_sessions(sessions: Sequence[SavedRun]) -> dict[str, Any]:
    """Say what the real sessions were, and how far what is judged moved from one to another."""
    names = list(sessions[0].cases)
    return {
        "sessions": len(sessions),
        "cases": {
            name: _describe_case([_read(one, name) for one in sessions], name) for name in names
        },
    }


def _read(session: SavedRun, name: str) -> Measurement:
    measured = session.cases[name].measurement
    assert measured is not None, f"{session.path}: {name} holds no record"
    return measured


def _describe_case(measured: Sequence[Measurement], name: str) -> Mapping[str, Any]:
    medians_s = [statistics.median(one.rounds_s) for one in measured]
    fresh = [
        min(one.fresh.rounds_s) / statistics.median(one.rounds_s)
        for one in measured
        if one.fresh is not None
    ]
    return {
        "name": name,
        "median_s": _describe(medians_s),
        "load_s": _describe([one.load_s for one in measured if one.load_s is not None]),
        "first_call_s": _describe(
            [one.first_call_s for one in measured if one.first_call_s is not None]
        ),
        "fresh_over_known": _describe(fresh),
        "fresh_rounds": Counter(len(one.fresh.rounds_s) for one in measured if one.fresh),
        "pictures": len({tuple(each.sha256 for each in one.images) for one in measured}),
        "imprints": len({repr(one.imprints) for one in measured}),
    }


def _describe(values: Sequence[float]) -> dict[str, float] | None:
    """Return the smallest, the middle and the largest value; ``None`` without any."""
    if not values:
        return None
    return {
        "least": round(min(values), 6),
        "median": round(statistics.median(values), 6),
        "most": round(max(values), 6),
    }
