"""Make a report of many cases out of committed runs, and time it."""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.report.html.page import render_page
from sdperf.report.pictures.pictures import locate_pictures
from sdperf.units import format_bytes, format_seconds

RUN = Path("docs/results/cpu-embedded/run.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m evidence.report_cost", description=__doc__)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    document = make_run(arguments.cases)
    source = locate_pictures([RUN])

    def make() -> str:
        runs = [parse_reported_run(f"{number}.json", document) for number in range(2)]
        return render_page([judge_machine(runs)], source)

    page = make()  # the first one loads matplotlib and its fonts
    print(f"{arguments.cases} cases with a base: {format_bytes(len(page.encode()))}")
    made = [measure(make) for _ in range(arguments.rounds)]
    print(f"to make:  {describe(made)}")
    worked = [measure(make, time.process_time) for _ in range(arguments.rounds)]
    print(f"          of them at work {describe(worked)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(page)
        chromium = shutil.which("chromium")
        if chromium is None:
            print("to open:  no chromium here")
            return 0
        blank = Path(folder) / "blank.html"
        blank.write_text("<!doctype html><title>blank</title>")
        empty = [measure(lambda: open_page(chromium, blank, folder)) for _ in range(3)]
        opened = [measure(lambda: open_page(chromium, path, folder)) for _ in range(3)]
    print(f"to open:  {describe(opened)}; an empty page: {describe(empty)}")
    return 0


def make_run(cases: int) -> dict[str, object]:
    """Copy a committed run's cases under names of their own until there are enough."""
    document = json.loads(RUN.read_text())
    real = document["benchmarks"]
    document["benchmarks"] = []
    for number in range(cases):
        one = copy.deepcopy(real[number % len(real)])
        one["fullname"] = one["fullname"].replace("::test_", f"::test_{number // len(real)}_")
        document["benchmarks"].append(one)
    document["sdperf"]["outcomes"] = {one["fullname"]: "PASS" for one in document["benchmarks"]}
    return dict(document)


def open_page(chromium: str, path: Path, folder: str) -> None:
    """Start a browser, lay the page out, take its picture, and end the browser."""
    subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={folder}/profile",
            f"--screenshot={folder}/page.png",
            path.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )


def measure(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start_s = clock()
    work()
    return clock() - start_s


def describe(seconds: list[float]) -> str:
    middle = format_seconds(statistics.median(seconds))
    return f"{middle} (fastest {format_seconds(min(seconds))}, {len(seconds)} times)"


if __name__ == "__main__":
    sys.exit(main())
