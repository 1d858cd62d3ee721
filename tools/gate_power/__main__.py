"""Simulate every gate on every machine, replay the recorded ones, and write the table.

Run as ``python -m tools.gate_power``. With ``--seconds`` it stops after a while, and the same
command goes on where it stopped; every batch of suites has random numbers of its own, so the result
does not depend on where that was.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sdperf.judging.latency import screen_latency
from sdperf.store.files import write_atomically
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


Counts: TypeAlias = dict[str, Any]
"""What was counted on some suites of one machine; plain numbers, that batches can be added up."""


def main() -> None:
    traces = read_traces()
    machines = (*SCENARIOS, *traces)
    parser = argparse.ArgumentParser(prog="python -m tools.gate_power", description=__doc__)
    parser.add_argument("--unchanged", type=int, default=2000, help="unchanged suites a machine")
    parser.add_argument(
        "--changed", type=int, default=500, help="suites a slowdown; twice on quiet and typical"
    )
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no batch after this; run again"
    )
    parser.add_argument(
        "--so-far", action="store_true", help="only write the table of what was counted so far"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    command = (
        f"python -m tools.gate_power --unchanged {options.unchanged} "
        f"--changed {options.changed} --seed {options.seed}"
    )
    started_s = time.monotonic()
    progress = Progress(options.out / "gate-power.partial.json", command)
    if options.so_far:
        write_result(options.out, command, [one.name for one in machines], progress)
        return
    for index, machine in enumerate(machines):
        changed = options.changed * (2 if machine.name in DOUBLED else 1)
        batches = -(-max(options.unchanged, changed) // BATCH)
        for batch in range(progress.count_done(machine.name), batches):
            seed = (options.seed, index)
            counts = judge_batch(machine, batch, options.unchanged, changed, seed=seed)
            progress.add(machine.name, counts)
            is_last = index == len(machines) - 1 and batch == batches - 1
            if time.monotonic() - started_s > options.seconds and not is_last:
                print(f"{machine.name}: {batch + 1} of {batches} batches", flush=True)
                return
    write_result(options.out, command, [one.name for one in machines], progress)
    progress.path.unlink()
    print("done")


def write_result(out: Path, command: str, machines: Sequence[str], progress: Progress) -> None:
    """Write the table of what was counted so far; machines without any suite are named in it."""
    done = {name: progress.count_done(name) for name in machines}
    document = {
        "command": command,
        "cases": CASES,
        "rounds": ROUNDS,
        "accepted_sessions": ACCEPTED_SESSIONS,
        "numpy": np.__version__,
        "not_measured": [name for name, batches in done.items() if not batches],
        "scenarios": {
            name: summarise(progress.read(name)) for name, batches in done.items() if batches
        },
    }
    path = out / "gate-power.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text(format_table(document))


@dataclass(frozen=True)
class Progress:
    """What earlier runs of the same command counted, in a file.

    Attributes:
        path: Of the file.
        command: That was run; the counts of another command are not gone on with.
    """

    path: Path
    command: str

    def count_done(self, machine: str) -> int:
        """Return the number of batches that were counted."""
        return int(self._load().get(machine, {"batches": 0})["batches"])

    def read(self, machine: str) -> Counts:
        """Return the counts of all batches of a machine."""
        counts: Counts = self._load()[machine]["counts"]
        return counts

    def add(self, machine: str, counts: Counts) -> None:
        """Add one batch."""
        rows = self._load()
        row = rows.setdefault(machine, {"batches": 0, "counts": {}})
        row["batches"] += 1
        row["counts"] = add_up(row["counts"], counts)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        document = {"command": self.command, "machines": rows}
        write_atomically(self.path, json.dumps(document).encode())

    def _load(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        document = json.loads(self.path.read_text())
        if document["command"] != self.command:
            raise SystemExit(f"{self.path} belongs to: {document['command']}; remove it first")
        rows: dict[str, Any] = document["machines"]
        return rows


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
            agains: dict[str, Again] = {} if machine.blocks_s is None else {EVERY_BLOCK: again}
            yield Drawn(suite.rounds_s, agains, again if suite.spare.size >= 3 else None)
        return
    batch = draw_suites(machine, suites, rng)
    for index in range(suites):
        shipped = SimulatedAgain(machine, batch, index, rng)
        every = SimulatedAgain(machine, batch, index, rng, renew_every=1)
        yield Drawn(batch.rounds_s[index], {PAIRED: shipped, EVERY_BLOCK: every}, shipped)


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


def summarise(counts: Counts) -> dict[str, Any]:
    """Turn counts into shares."""
    gates = {}
    for gate in OWN_GATES:
        if gate not in counts["gates"]:
            continue
        row = {"changed_suites": 0, **counts["gates"][gate]}
        changed = max(row["changed_suites"], 1)
        row["red_share"] = row["red"] / row["suites"]
        for key in ("caught", "left_open"):
            row[key] = {
                str(percent): row.get(key, {}).get(str(percent), 0) / changed
                for percent in SLOWDOWNS_PERCENT
            }
        gates[gate] = row
    rivals = {}
    for name, row in counts["rivals"].items():
        rivals[name] = {
            "suites": row["suites"],
            "red": row["red"],
            "red_share": row["red"] / row["suites"],
            "caught": {percent: hits / row["cases"] for percent, hits in row["caught"].items()},
        }
    return {"cases": counts["cases"] // counts["suites"], "gates": gates, "rivals": rivals}


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


if __name__ == "__main__":
    main()
