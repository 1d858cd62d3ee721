"""Simulate every gate on every machine, replay the recorded ones, and write the table.

Run as ``python -m evidence.gate_power``. With ``--seconds`` it stops after a while, and the same
command goes on where it stopped; every batch of suites has random numbers of its own, so the result
does not depend on where that was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from evidence.gate_power.batches import BATCH, SLOWDOWNS_PERCENT, Counts, Job, add_up, run_job
from evidence.gate_power.scenarios import ACCEPTED_SESSIONS, CASES, ROUNDS, SCENARIOS
from evidence.gate_power.table import KEPT, OFFLINE, PAIRED, REPEATS, format_table
from evidence.gate_power.traces import read_traces
from sdperf.store.files import write_atomically

OWN_GATES = (PAIRED, KEPT, REPEATS, OFFLINE)
DOUBLED = ("quiet", "typical")
"""Machines with a target for power: twice the changed suites."""


def main() -> None:
    traces = read_traces()
    machines = (*SCENARIOS, *traces)
    parser = argparse.ArgumentParser(prog="python -m evidence.gate_power", description=__doc__)
    parser.add_argument("--unchanged", type=int, default=2000, help="unchanged suites a machine")
    parser.add_argument(
        "--changed", type=int, default=500, help="suites a slowdown; twice on quiet and typical"
    )
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--processes", type=int, default=1, help="batches at a time")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no batch after this; run again"
    )
    parser.add_argument(
        "--so-far", action="store_true", help="only write the table of what was counted so far"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    command = (
        f"python -m evidence.gate_power --unchanged {options.unchanged} "
        f"--changed {options.changed} --seed {options.seed}"
    )
    stop_s = time.monotonic() + options.seconds
    progress = Progress(options.out / "gate-power.partial.json", command)
    if options.so_far:
        write_result(options.out, command, [one.name for one in machines], progress)
        return
    jobs = [
        Job(machine, batch, options.unchanged, changed, (options.seed, index))
        for index, machine in enumerate(machines)
        for changed in [options.changed * (2 if machine.name in DOUBLED else 1)]
        for batch in range(
            progress.count_done(machine.name), -(-max(options.unchanged, changed) // BATCH)
        )
    ]
    with contextlib.ExitStack() as stack:
        for done, (job, counts) in enumerate(
            zip(jobs, run_jobs(jobs, options.processes, stack), strict=True), 1
        ):
            progress.add(job.machine.name, counts)
            if time.monotonic() > stop_s and done < len(jobs):
                print(f"{job.machine.name}: {done} of {len(jobs)} batches", flush=True)
                return
    write_result(options.out, command, [one.name for one in machines], progress)
    progress.path.unlink()
    print("done")


def run_jobs(jobs: Sequence[Job], processes: int, stack: contextlib.ExitStack) -> Iterator[Counts]:
    """Run batches in their order, some at a time; what was not begun at the end is dropped."""
    if processes == 1:
        return map(run_job, jobs)
    pool = ProcessPoolExecutor(processes, get_context("spawn"))
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool.map(run_job, jobs)


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


if __name__ == "__main__":
    main()
