"""Batches of suites: drawn, judged by every gate, and counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evidence.gate_power.gates import (
    Again,
    Answer,
    answer_by_repeats,
    answer_in_run,
    answer_offline,
    estimate_suite,
)
from evidence.gate_power.rivals import RIVALS
from evidence.gate_power.scenarios import ACCEPTED_SESSIONS, Scenario, SimulatedAgain, draw_suites
from evidence.gate_power.table import KEPT, OFFLINE, PAIRED, REPEATS
from evidence.gate_power.traces import RecordedAgain, Trace, draw_trace_suite
from sdperf.ab.turns.blocks import RENEW_EVERY
from sdperf.judging.latency import screen_latency

SLOWDOWNS_PERCENT = (2.5, 5.0, 7.5, 10.0)
BATCH = 50
RIVAL_SUITES = 300


@dataclass(frozen=True)
class Drawn:
    """One suite and the ways to measure its cases again.

    Attributes:
        rounds_s: ``(K + 1, C, R)`` seconds.
        agains: Paired gate to its measurements; a gate that is absent cannot be tried.
        repeats: For fresh processes; ``None`` where there are none.
    """

    rounds_s: NDArray[np.float64]
    agains: dict[str, Again]
    repeats: Again | None


Counts: TypeAlias = dict[str, Any]
"""What was counted on some suites of one machine; plain numbers, that batches can be added up."""


@dataclass(frozen=True)
class Job:
    """One batch, with the arguments of `judge_batch`."""

    machine: Scenario | Trace
    batch: int
    unchanged: int
    changed: int
    seed: tuple[int, int]


def run_job(job: Job) -> Counts:
    """Run `judge_batch`, in a process of its own."""
    return judge_batch(job.machine, job.batch, job.unchanged, job.changed, seed=job.seed)


def add_up(one: Counts, other: Counts) -> Counts:
    """Add two nested dictionaries of numbers; what one lacks is 0."""
    total = dict(one)
    for key, value in other.items():
        if isinstance(value, dict):
            total[key] = add_up(total.get(key, {}), value)
        else:
            total[key] = total.get(key, 0) + value
    return total


def draw_batch(machine: Scenario | Trace, suites: int, rng: np.random.Generator) -> Iterator[Drawn]:
    """Draw suites of one machine."""
    if isinstance(machine, Trace):
        for _ in range(suites):
            suite = draw_trace_suite(machine, ACCEPTED_SESSIONS, rng)
            again = RecordedAgain(machine, suite, rng)
            agains: dict[str, Again] = {} if machine.blocks_s is None else {PAIRED: again}
            yield Drawn(suite.rounds_s, agains, again if suite.spare.size >= 3 else None)
        return
    batch = draw_suites(machine, suites, rng)
    for index in range(suites):
        shipped = SimulatedAgain(machine, batch, index, rng)
        kept = SimulatedAgain(machine, batch, index, rng, renew_every=RENEW_EVERY)
        yield Drawn(batch.rounds_s[index], {PAIRED: shipped, KEPT: kept}, shipped)


def judge_batch(
    machine: Scenario | Trace, batch: int, unchanged: int, changed: int, *, seed: tuple[int, int]
) -> Counts:
    """Count red suites, caught slowdowns and open answers of every gate on one batch of suites.

    Args:
        machine: Where.
        batch: Number of the batch; each has random numbers of its own.
        unchanged: Suites that are judged unchanged, all batches together.
        changed: Suites that are judged with a slowdown, all batches together.
        seed: Of the run and the machine.
    """
    rng = np.random.default_rng([*seed, batch])
    own: Counts = {}
    compared = []
    first = batch * BATCH
    suites = min(BATCH, max(unchanged, changed) - first)
    for number, drawn in enumerate(draw_batch(machine, suites, rng), first):
        history_s = np.median(drawn.rounds_s[:-1], axis=-1)
        if number < unchanged:
            for gate, answer in _answer(drawn, history_s, drawn.rounds_s[-1], {}, rng).items():
                own[gate] = add_up(own.get(gate, {}), _count_unchanged(answer))
        if number < changed:
            case = int(rng.integers(len(drawn.rounds_s[-1])))
            for percent in SLOWDOWNS_PERCENT:
                slowed_s = drawn.rounds_s[-1].copy()
                slowed_s[case] *= 1 + percent / 100
                slowdowns = {case: math.log1p(percent / 100)}
                for gate, answer in _answer(drawn, history_s, slowed_s, slowdowns, rng).items():
                    own[gate] = add_up(own.get(gate, {}), _count_changed(answer, case, percent))
        if number < RIVAL_SUITES:
            compared.append(drawn.rounds_s[-2:])
    rivals = _try_rivals(np.array(compared)) if compared else {}
    return {"suites": suites, "cases": suites * drawn.rounds_s.shape[1], "gates": own} | (
        {"rivals": rivals} if rivals else {}
    )


def _answer(
    drawn: Drawn,
    history_s: NDArray[np.float64],
    rounds_s: NDArray[np.float64],
    slowdowns: dict[int, float],
    rng: np.random.Generator,
) -> dict[str, Answer]:
    estimate = estimate_suite(history_s, rounds_s)
    screening = screen_latency(estimate)
    control = int(np.argmin(np.median(rounds_s, axis=-1)))
    answers = {
        gate: answer_in_run(screening, again, control, slowdowns, rng)
        for gate, again in drawn.agains.items()
    }
    if drawn.repeats is not None:
        answers[REPEATS] = answer_by_repeats(screening, drawn.repeats, slowdowns)
    return {**answers, OFFLINE: answer_offline(estimate)}


def _count_unchanged(answer: Answer) -> Counts:
    return {
        "suites": 1,
        "red": int(answer.is_red),
        "void": int(answer.is_void),
        "open_cases": len(answer.open),
        "suspects": answer.suspects,
        "blocks": answer.blocks,
    }


def _count_changed(answer: Answer, case: int, percent: float) -> Counts:
    return {
        "changed_suites": int(percent == SLOWDOWNS_PERCENT[0]),
        "caught": {str(percent): int(case in answer.slower and not answer.is_void)},
        "left_open": {str(percent): int(case in answer.open or answer.is_void)},
    }


def _try_rivals(rounds_s: NDArray[np.float64]) -> Counts:
    """Hold the current session of each ``(S, 2, C, R)`` suite against the one before it."""
    baseline, current = rounds_s[:, 0], rounds_s[:, 1]
    return {
        name: {
            "suites": len(rounds_s),
            "cases": int(rounds_s.shape[0] * rounds_s.shape[2]),
            "red": int(rule(baseline, current).any(axis=-1).sum()),
            "caught": {
                str(percent): int(rule(baseline, current * (1 + percent / 100)).sum())
                for percent in SLOWDOWNS_PERCENT
            },
        }
        for name, rule in RIVALS.items()
    }
