"""Simulate every gate on every machine, replay the recorded ones, and write the table.

Run as ``python -m tools.gate_power``; ``--scenario`` redoes single rows of an existing result.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdperf.judging.latency import screen_latency
from tools.gate_power.gates import (
    Again,
    Answer,
    answer_by_repeats,
    answer_in_run,
    answer_offline,
    estimate_suite,
)
from tools.gate_power.rivals import RIVALS
from tools.gate_power.scenarios import (
    ACCEPTED_SESSIONS,
    CASES,
    ROUNDS,
    SCENARIOS,
    Scenario,
    SimulatedAgain,
    draw_suites,
)
from tools.gate_power.table import EVERY_BLOCK, OFFLINE, PAIRED, REPEATS, format_table
from tools.gate_power.traces import RecordedAgain, Trace, draw_trace_suite, read_traces

SLOWDOWNS_PERCENT = (2.5, 5.0, 7.5, 10.0)
OWN_GATES = (PAIRED, EVERY_BLOCK, REPEATS, OFFLINE)
BATCH = 50
RIVAL_SUITES = 300
DOUBLED = ("quiet", "typical")
"""Machines with a target for power: twice the changed suites."""


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


@dataclass
class Tally:
    """Counts of one gate."""

    suites: int = 0
    red: int = 0
    void: int = 0
    open_cases: int = 0
    suspects: int = 0
    blocks: int = 0
    changed: int = 0
    caught: dict[float, int] = field(default_factory=lambda: dict.fromkeys(SLOWDOWNS_PERCENT, 0))
    left_open: dict[float, int] = field(default_factory=lambda: dict.fromkeys(SLOWDOWNS_PERCENT, 0))


def main() -> None:
    traces = read_traces()
    names = [one.name for one in (*SCENARIOS, *traces)]
    parser = argparse.ArgumentParser(prog="python -m tools.gate_power", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=names)
    parser.add_argument("--unchanged", type=int, default=2000, help="unchanged suites a machine")
    parser.add_argument(
        "--changed", type=int, default=500, help="suites a slowdown; twice on quiet and typical"
    )
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    path = options.out / "gate-power.json"
    command = (
        f"python -m tools.gate_power --unchanged {options.unchanged} "
        f"--changed {options.changed} --seed {options.seed}"
    )
    rows: dict[str, Any] = {}
    if options.scenario and path.exists():
        rows = json.loads(path.read_text())["scenarios"]
    options.out.mkdir(parents=True, exist_ok=True)
    for index, machine in enumerate((*SCENARIOS, *traces)):
        if options.scenario and machine.name not in options.scenario:
            continue
        started = time.perf_counter()
        rng = np.random.default_rng([options.seed, index])
        changed = options.changed * (2 if machine.name in DOUBLED else 1)
        rows[machine.name] = {"command": command, **judge(machine, options.unchanged, changed, rng)}
        print(f"{machine.name}: {time.perf_counter() - started:.0f} s", flush=True)
        document = {
            "command": command,
            "cases": CASES,
            "rounds": ROUNDS,
            "accepted_sessions": ACCEPTED_SESSIONS,
            "numpy": np.__version__,
            "scenarios": {name: rows[name] for name in names if name in rows},
        }
        path.write_text(json.dumps(document, indent=1) + "\n")
        path.with_suffix(".md").write_text(format_table(document))


def draw(
    machine: Scenario | Trace, suites: int, rng: np.random.Generator
) -> Iterator[tuple[int, Drawn]]:
    """Draw numbered suites of one machine."""
    if isinstance(machine, Trace):
        for number in range(suites):
            suite = draw_trace_suite(machine, ACCEPTED_SESSIONS, rng)
            again = RecordedAgain(machine, suite, rng)
            agains: dict[str, Again] = {} if machine.blocks_s is None else {EVERY_BLOCK: again}
            yield number, Drawn(suite.rounds_s, agains, again if suite.spare.size >= 3 else None)
        return
    for start in range(0, suites, BATCH):
        batch = draw_suites(machine, BATCH, rng)
        for index in range(min(BATCH, suites - start)):
            shipped = SimulatedAgain(machine, batch, index, rng)
            every = SimulatedAgain(machine, batch, index, rng, renew_every=1)
            yield (
                start + index,
                Drawn(batch.rounds_s[index], {PAIRED: shipped, EVERY_BLOCK: every}, shipped),
            )


def judge(
    machine: Scenario | Trace, unchanged: int, changed: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Count red suites, caught slowdowns and open answers of every gate on one machine."""
    own = {gate: Tally() for gate in OWN_GATES}
    compared: list[NDArray[np.float64]] = []
    for number, drawn in draw(machine, max(unchanged, changed), rng):
        history_s = np.median(drawn.rounds_s[:-1], axis=-1)
        if number < unchanged:
            for gate, answer in _answer(drawn, history_s, drawn.rounds_s[-1], {}, rng).items():
                _count_unchanged(own[gate], answer)
        if number < changed:
            case = int(rng.integers(len(drawn.rounds_s[-1])))
            for percent in SLOWDOWNS_PERCENT:
                slowed_s = drawn.rounds_s[-1].copy()
                slowed_s[case] *= 1 + percent / 100
                slowdowns = {case: math.log1p(percent / 100)}
                for gate, answer in _answer(drawn, history_s, slowed_s, slowdowns, rng).items():
                    tally = own[gate]
                    tally.changed += percent == SLOWDOWNS_PERCENT[0]
                    tally.caught[percent] += case in answer.slower and not answer.is_void
                    tally.left_open[percent] += case in answer.open or answer.is_void
        if number < RIVAL_SUITES:
            compared.append(drawn.rounds_s[-2:])
    return {
        "cases": int(compared[0].shape[1]),
        "gates": {gate: _sum_up(tally) for gate, tally in own.items() if tally.suites},
        "rivals": _try_rivals(np.array(compared)),
    }


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


def _count_unchanged(tally: Tally, answer: Answer) -> None:
    tally.suites += 1
    tally.red += answer.is_red
    tally.void += answer.is_void
    tally.open_cases += len(answer.open)
    tally.suspects += answer.suspects
    tally.blocks += answer.blocks


def _sum_up(tally: Tally) -> dict[str, Any]:
    return {
        "suites": tally.suites,
        "red": tally.red,
        "red_share": tally.red / tally.suites,
        "void": tally.void,
        "open_cases": tally.open_cases,
        "suspects": tally.suspects,
        "blocks": tally.blocks,
        "changed_suites": tally.changed,
        "caught": {str(p): count / max(tally.changed, 1) for p, count in tally.caught.items()},
        "left_open": {
            str(p): count / max(tally.changed, 1) for p, count in tally.left_open.items()
        },
    }


def _try_rivals(rounds_s: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """Hold the current session of each ``(S, 2, C, R)`` suite against the one before it."""
    baseline, current = rounds_s[:, 0], rounds_s[:, 1]
    rows = {}
    for name, rule in RIVALS.items():
        red = int(rule(baseline, current).any(axis=-1).sum())
        rows[name] = {
            "suites": len(rounds_s),
            "red": red,
            "red_share": red / len(rounds_s),
            "caught": {
                str(percent): float(rule(baseline, current * (1 + percent / 100)).mean())
                for percent in SLOWDOWNS_PERCENT
            },
        }
    return rows


if __name__ == "__main__":
    main()
