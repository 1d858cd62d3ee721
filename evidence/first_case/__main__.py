"""``python -m evidence.first_case --into FILE --cpus 0,1``: fresh processes, in turns.

Three ways to begin, in mirrored turns: at once after loading; after a pause; and at once beside two
processes that have just imported torch and now wait, as a session's other workers do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from sdperf.store.files import write_atomically

WAYS: Final = ("at once", "after a pause", "beside importers")
PAUSE_S: Final = 20.0
EARLY: Final = slice(2, 7)
"""Rounds of the first case: after the first call and one warm-up."""
LATE: Final = slice(-10, None)

_IMPORTER: Final = (
    "import os, sys; os.sched_setaffinity(0, [int(c) for c in sys.argv[1].split(',')]); "
    "import torch, diffusers; diffusers.StableDiffusionPipeline; "
    "print('ready', flush=True); sys.stdin.read()"
)


def main() -> None:
    """Run the turns, write all rounds, print early over late for each way."""
    parser = argparse.ArgumentParser(prog="python -m evidence.first_case", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, metavar="FILE")
    parser.add_argument("--cpus", default="0,1", help="processors of each process (0,1)")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--turns", type=int, default=4)
    arguments = parser.parse_args()
    turns: list[dict[str, Any]] = []
    for turn in range(arguments.turns):
        for way in WAYS if turn % 2 == 0 else reversed(WAYS):
            turns.append({"turn": turn, "way": way, "rounds": run_fresh(way, arguments)})
            document = {
                "cpus": arguments.cpus,
                "precision": arguments.precision,
                "threads": arguments.threads,
                "cores": os.cpu_count(),
                "system": platform.platform(),
                "turns": turns,
            }
            write_atomically(arguments.into, (json.dumps(document) + "\n").encode())
    print(format_ratios(turns))


def run_fresh(way: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run rounds in a fresh process that begins in one of the ways."""
    count = 2 if way == "beside importers" else 0
    importers = [start_importer(arguments.cpus) for _ in range(count)]
    try:
        for one in importers:
            assert one.stdout is not None
            one.stdout.readline()
        pause_s = PAUSE_S if way == "after a pause" else 0.0
        words = (arguments.precision, arguments.threads, arguments.rounds, pause_s, arguments.cpus)
        done = subprocess.run(
            [sys.executable, "-m", "evidence.first_case.rounds", *map(str, words)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    finally:
        for one in importers:
            one.kill()
            one.wait()
            for pipe in (one.stdin, one.stdout):
                if pipe is not None:
                    pipe.close()
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def start_importer(cpus: str) -> subprocess.Popen[bytes]:
    """Start a process that imports torch and diffusers, says so, and waits."""
    return subprocess.Popen(
        [sys.executable, "-c", _IMPORTER, cpus],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def compute_ratio(rounds: list[dict[str, Any]], name: str) -> float | None:
    """Return the median of the early rounds over that of the late ones. Pure."""
    early, late = (
        statistics.median(one[name] for one in part) for part in (rounds[EARLY], rounds[LATE])
    )
    return early / late if late else None


def format_ratios(turns: list[dict[str, Any]]) -> str:
    """Put early over late into a line for each way and figure, all turns side by side. Pure."""
    lines = []
    for way in WAYS:
        for name in ("wall_s", "user_s", "system_s", "minor_faults", "voluntary_switches"):
            ratios = [compute_ratio(one["rounds"], name) for one in turns if one["way"] == way]
            shown = "  ".join("    -" if one is None else f"{one:5.2f}" for one in ratios)
            lines.append(f"{way:17} {name:18} {shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
