"""Make one of the two series, run by run, or lay out what there is."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path

from evidence.ab_evidence.series import (
    Series,
    format_series,
    read_series,
    summarise,
    summarise_run,
    write_series,
)
from evidence.ab_evidence.subjects import EVERY_CALLS
from sdperf.ab.sides.sides import Side
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.turns.comparing import compare
from sdperf.ab.verdict.comparison import AbComparison, CompareOptions
from sdperf.cli.ab.view import TerminalView
from sdperf.models.presets import EMBEDDED_PRESET
from sdperf.record.workload import DEFAULT_PROMPTS, EMBEDDED, Workload
from sdperf.store.files import write_atomically

STEPS = {"aa": 5, "slower": EVERY_CALLS}
SUBJECTS = {
    "aa": ("unchanged", "unchanged"),
    "slower": ("unchanged", "slower"),
}
PICTURES = 2
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "ab-evidence.json"


def make_sides(experiment: str) -> tuple[Side, Side]:
    """Make the two sides of an experiment."""
    workload = Workload(
        EMBEDDED, DEFAULT_PROMPTS[:PICTURES], STEPS[experiment], EMBEDDED_PRESET.guidance_scale
    )
    a, b = (
        Side(name, workload, subject=f"evidence.ab_evidence.subjects:{name}", folder=ROOT)
        for name in SUBJECTS[experiment]
    )
    return a, b


def measure(experiment: str) -> AbComparison:
    """Make one run: everything as in `sdperf ab`, workers of its own."""
    options = CompareOptions()
    view = TerminalView(sys.stderr, math.log1p(options.max_slowdown))
    with LiveBench() as bench:
        return compare(*make_sides(experiment), options=options, bench=bench, view=view).record


def extend(
    path: Path, experiment: str, runs: int, measure_one: Callable[[str], AbComparison]
) -> Series:
    """Add runs to a file until it holds as many as asked for; each is kept at once.

    A run that the user interrupts is not kept.

    Raises:
        KeyboardInterrupt: The user ended a run.
    """
    every = read_series(path)
    while experiment not in every or len(every[experiment].runs) < runs:
        record = measure_one(experiment)
        if record.was_interrupted:
            raise KeyboardInterrupt
        machine = record.environment
        before = every.get(experiment) or Series(
            experiment=experiment,
            command=f"python -m evidence.ab_evidence {experiment} --runs {runs}",
            steps=STEPS[experiment],
            machine=f"{machine.chip}, {machine.cpu_cores} cores",
            packages={name: machine.packages[name] for name in ("torch", "diffusers")},
            max_slowdown=record.options.max_slowdown,
        )
        run = summarise_run(record)
        every[experiment] = dataclasses.replace(
            before,
            command=f"python -m evidence.ab_evidence {experiment} --runs {runs}",
            runs=(*before.runs, run),
        )
        write_series(path, every)
        print(f"run {len(every[experiment].runs)} of {runs}: {run.line}", flush=True)
    return every[experiment]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.ab_evidence", description=__doc__)
    parser.add_argument("experiment", choices=("aa", "slower", "table"))
    parser.add_argument("--runs", type=int, default=20, help="how many there shall be in the end")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON to go on with")
    arguments = parser.parse_args()
    if arguments.experiment != "table":
        series = extend(arguments.results, arguments.experiment, arguments.runs, measure)
        print(summarise(series))
    text = format_series(read_series(arguments.results))
    write_atomically(arguments.results.with_suffix(".md"), text.encode())


if __name__ == "__main__":
    main()
