"""What does it cost that three blocks share a pair of processes?

Stages: how often a stage is named among copies of one version, by both kinds of interval, over the
recorded pairs of profiled rounds. Time: how often `sdperf ab` and a sweep call a copy slower or
faster, simulated with normal noise, by the ratio of variances between processes and within.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evidence.shared_processes.simulation import FalseShares, simulate
from sdperf.ab.turns.blocks import RENEW_EVERY
from sdperf.ab.verdict.judging import STAGE_ERROR
from sdperf.bisect.judging import LOOKS
from sdperf.record.stages import STAGES
from sdperf.stats.paired import compute_process_bounds, compute_yuen_bounds

RECORDED = Path(__file__).parents[2] / "docs" / "results" / "sweep-copies" / "stages.json"
"""By stage, a row for each comparison: the log ratio of each pair of profiled rounds, in order."""

RATIOS = (1.0, 1.2, 2.0)
"""Ratios of variances: blocks that are independent, as measured, and to know the danger."""

SPREADS = (0.02, 0.05, 0.12)
"""Standard deviations of a block within its processes, log ratios."""


def read_recorded(path: Path = RECORDED) -> dict[str, list[list[float]]]:
    """Read the recorded log ratios."""
    found: dict[str, list[list[float]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def extract(folders: list[Path]) -> dict[str, list[list[float]]]:
    """Collect log ratios from the comparisons that sweeps keep in ``.sdperf/sweep/KEY/``.

    Args:
        folders: Folders of comparisons; one has a file for each.
    """
    found: dict[str, list[list[float]]] = {}
    for file in sorted(one for folder in folders for one in folder.glob("*.json")):
        for case in json.loads(file.read_text(encoding="utf-8"))["cases"]:
            for name in STAGES:
                key = f"{name}_s"
                seconds = [(pair["a"].get(key), pair["b"].get(key)) for pair in case["profiles"]]
                if seconds and all(a and b for a, b in seconds):
                    logs = [round(math.log(b / a), 4) for a, b in seconds]
                    found.setdefault(name, []).append(logs)
    return found


def count_named(rows: list[list[float]], blocks: int, *, by_process: bool) -> int:
    """Count the comparisons whose 95 % interval excludes no difference.

    Args:
        rows: The log ratios of each comparison.
        blocks: How many of each are taken.
        by_process: Whether the pair of processes is the sample, else the block.
    """
    named = 0
    for row in rows:
        taken = row[:blocks]
        bounds = (
            compute_process_bounds(taken, RENEW_EVERY, STAGE_ERROR)
            if by_process
            else compute_yuen_bounds(taken, STAGE_ERROR)
        )
        named += bounds is not None and not bounds.lower <= 0 <= bounds.upper
    return named


def format_stages(recorded: dict[str, list[list[float]]]) -> Iterator[str]:
    """Format how many comparisons name each stage: by blocks, then by processes."""
    yield "| stage | comparisons | " + " | ".join(f"{look} blocks" for look in LOOKS) + " |"
    yield "| --- |" + " ---: |" * (len(LOOKS) + 1)
    for name, rows in recorded.items():
        told = (
            " -> ".join(str(count_named(rows, look, by_process=by)) for by in (False, True))
            for look in LOOKS
        )
        yield f"| {name} | {len(rows)} | {' | '.join(told)} |"


def format_time(draws: int, seed: int) -> Iterator[str]:
    """Format the false shares of time by spread and ratio."""
    generator = np.random.default_rng(seed)
    yield "| spread of a block | ratio | `sdperf ab`, one case | a sweep of ten versions |"
    yield "| ---: | ---: | ---: | ---: |"
    for spread in SPREADS:
        for ratio in RATIOS:
            found: FalseShares = simulate(generator, spread, ratio, draws)
            shares = " | ".join(f"{100 * one:.2f} %" for one in (found.ab, found.sweep))
            yield f"| {100 * spread:.0f} % | {ratio:g} | {shares} |"


def main() -> None:
    """Print both tables, or write the recorded log ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1_000_000, help="simulated comparisons")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--extract", type=Path, nargs="+", metavar="FOLDER", help="write stages")
    given = parser.parse_args()
    if given.extract:
        rows = extract(given.extract)
        RECORDED.write_text(json.dumps(rows, separators=(",", ":")) + "\n", encoding="utf-8")
        return
    print("\n".join(format_stages(read_recorded())))
    print()
    for line in format_time(given.draws, given.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
