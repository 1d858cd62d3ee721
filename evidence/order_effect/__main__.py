"""Run the suite in its order, reversed, shuffled and each case alone, in turns; compare.

It goes on where it was interrupted: give the same folder again. What was measured is kept run by
run in ``runs.jsonl``; ``order-effect.json`` and ``order-effect.md`` are written at each end.

    python -m evidence.order_effect --into DIR --cpus 0-1 --turns 5 --minutes 9 -- benchmarks
    python -m evidence.order_effect --into DIR --minutes 9 -- benchmarks -k "bf16 and 1w"
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from evidence.order_effect.runs import ALONE, Run, keep_run, read_runs, run_pytest
from evidence.order_effect.table import DEFAULT, format_document, format_table

ORDERS = (DEFAULT, "reversed", "shuffled", ALONE)


def plan_jobs(
    turns: int, orders: Sequence[str], cases: Sequence[str]
) -> Iterator[tuple[int, str, str | None]]:
    """Plan what to run: all orders in each turn, the one that begins moving on turn by turn.

    Args:
        turns: How many.
        orders: Names; ``alone`` is a run for each case.
        cases: Test ids; empty before they are known, then ``alone`` is left out.
    """
    for turn in range(turns):
        start = turn % len(orders)
        for order in (*orders[start:], *orders[:start]):
            if order == ALONE:
                yield from ((turn, ALONE, case) for case in cases)
            else:
                yield turn, order, None


def parse_cpus(text: str) -> set[int]:
    """Parse ``0-3,6`` into processor numbers.

    Raises:
        ValueError: It is none.
    """
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def list_cases(runs: Sequence[Run]) -> list[str]:
    """Return the cases of the default order, where that has been run."""
    return next(([case.case for case in run.cases] for run in runs if run.order == DEFAULT), [])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.order_effect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--into", type=Path, required=True, help="folder of what is kept")
    parser.add_argument("--turns", type=int, default=5, help="how often each order runs")
    parser.add_argument("--minutes", type=float, help="begin nothing that would end after this")
    parser.add_argument("--cpus", type=parse_cpus, help="processors to run on, such as 0-1")
    parser.add_argument("--orders", default=",".join(ORDERS), help="some of the four, by commas")
    parser.add_argument("pytest", nargs="*", default=["benchmarks"], help="after --: to pytest")
    given = parser.parse_args()
    orders = given.orders.split(",")
    if unknown := set(orders) - set(ORDERS):
        parser.error(f"--orders: no order {', '.join(unknown)}; expected some of {ORDERS}")
    if given.cpus is not None:
        os.sched_setaffinity(0, given.cpus)
    cpus = _name_cpus()
    end_s = None if given.minutes is None else time.perf_counter() + 60 * given.minutes
    path = given.into / "runs.jsonl"
    runs = read_runs(path)
    is_complete = _measure(path, runs, given.turns, orders, given.pytest, end_s)
    document = format_document(runs, cpus, given.pytest)
    table = format_table(runs, cpus, given.pytest)
    given.into.mkdir(parents=True, exist_ok=True)
    (given.into / "order-effect.json").write_text(json.dumps(document, indent=1) + "\n")
    (given.into / "order-effect.md").write_text(table)
    print(table)
    print("complete" if is_complete else "not complete: run the same command again")
    return 0 if is_complete else 3


def _measure(
    path: Path,
    runs: list[Run],
    turns: int,
    orders: Sequence[str],
    arguments: Sequence[str],
    end_s: float | None,
) -> bool:
    """Run what is missing until the time is over; tell whether nothing is missing any more."""
    while True:
        done = {run.key for run in runs}
        cases = list_cases(runs)
        planned = [job for job in plan_jobs(turns, orders, cases) if job not in done]
        if not planned:
            return bool(runs)
        turn, order, only = planned[0] if cases else (0, DEFAULT, None)
        rest_s = None if end_s is None else end_s - time.perf_counter()
        alike_s = [run.took_s for run in runs if (run.only is None) == (only is None)]
        if rest_s is not None and rest_s < 1.1 * max(alike_s, default=0.0):
            return False
        run = run_pytest(turn, order, only, arguments, rest_s)
        if run is None:
            print(f"turn {turn}, {order} {only or ''}: cut off or without figures", file=sys.stderr)
            return False
        keep_run(path, run)
        runs.append(run)
        print(f"turn {turn}, {order} {only or ''}: {run.took_s:.0f} s", file=sys.stderr, flush=True)


def _name_cpus() -> str:
    if not hasattr(os, "sched_getaffinity"):
        return f"all {os.cpu_count()}"
    return ",".join(map(str, sorted(os.sched_getaffinity(0))))


if __name__ == "__main__":
    sys.exit(main())
