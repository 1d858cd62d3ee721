"""Measure import, queries and memory: ``python -m evidence.history_load``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy

from evidence.history_load.runs import SHAPES, RunMaker
from sdperf.cli.runs.trend import load_trends
from sdperf.judging.trend.points import METRICS
from sdperf.store.history.database import open_database
from sdperf.store.history.importing import import_files, list_run_files
from sdperf.store.history.pruning import plan_pruning
from sdperf.store.history.reading import Filters, count_runs, list_runs
from sdperf.store.history.series import list_series, load_series

CHUNK = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.history_load", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--shape", choices=SHAPES, default="plain")
    parser.add_argument("--url", help="another database than a temporary SQLite file")
    parser.add_argument("--out", type=Path, default=Path("docs/results/history-load.json"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sdperf-load-"))
    try:
        found = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = json.loads(options.out.read_text()) if options.out.exists() else {}
    document[f"{options.shape} {found['database']}"] = found
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(format_page(document))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Import in chunks, each made just before and removed after, then ask questions."""
    url = options.url or f"sqlite:///{folder}/history.db"
    database = open_database(url, create=True)
    maker = RunMaker(options.shape, seed=1)
    chunks = []
    process = psutil.Process()
    for start in range(0, options.runs, CHUNK):
        count = min(CHUNK, options.runs - start)
        files = folder / "runs"
        size_bytes = 0
        for number in range(start, start + count):
            path = files / f"{number // 1000:05}" / f"{number:08}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            size_bytes += path.write_text(maker.make(number))
        started, used = time.perf_counter(), _read_cpu_s()
        report = import_files(database, list_run_files([files]))
        took_s, used_s = time.perf_counter() - started, _read_cpu_s() - used
        assert (report.added, report.refused) == (count, [])
        shutil.rmtree(files)
        chunks.append(
            {
                "runs": count,
                "file_bytes": size_bytes // count,
                "seconds": took_s,
                "cpu_s": used_s,
                "rss_bytes": process.memory_info().rss,
                "children_peak_rss_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
                * 1024,
                "load_average": os.getloadavg()[0],
            }
        )
        print(f"{start + count}: {count / took_s:.0f} runs/s", flush=True)
    keys = list_series(database)
    metric = METRICS["seconds"]
    questions: dict[str, Callable[[], Any]] = {
        "list of all series": lambda: list_series(database),
        "series of one case, last 200 and first 10": lambda: load_series(
            database, keys[0].id, last=200, first=10
        ),
        "series of one case, last 1000 and first 10": lambda: load_series(
            database, keys[0].id, last=1000, first=10
        ),
        "sdperf trend of one case, analysis included": lambda: load_trends(
            database, metric, case=keys[0].case
        ),
        "sdperf trend of all cases, analysis included": lambda: load_trends(database, metric),
        "sdperf history list": lambda: (list_runs(database, limit=20), count_runs(database)),
        "sdperf history list of a case": lambda: list_runs(
            database, Filters(case=keys[0].case), limit=20
        ),
        "sdperf history prune --keep 1000 --dry-run": lambda: plan_pruning(
            database, Filters(), keep_latest=1000, anchor_runs=10
        ),
    }
    timed = {name: _time(question) for name, question in questions.items()}
    found = {
        "command": f"python -m evidence.history_load --runs {options.runs} --shape {options.shape}"
        + (" --url postgresql://..." if options.url else ""),
        "database": database.engine.dialect.name,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, SQLite "
        f"{sqlite3.sqlite_version}",
        "runs": options.runs,
        "cases_a_run": len(maker.document["benchmarks"]),
        "chunks": chunks,
        "seconds_of_questions": timed,
        "file_bytes": None if options.url else (folder / "history.db").stat().st_size,
    }
    database.close()
    return found


def _read_cpu_s() -> float:
    """Return the processor seconds of this process and of children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _time(question: Callable[[], Any]) -> float:
    """Return the seconds of the second asking: the first also warms the file cache."""
    question()
    started = time.perf_counter()
    question()
    return time.perf_counter() - started


def format_page(document: dict[str, Any]) -> str:
    """Format what was stored."""
    lines = [
        "# The history under load",
        "",
        "Runs are made from the record of a real one (`docs/results/cpu-embedded`) with other",
        "commits, times and durations: `plain` has five cases that sdperf recorded nothing of,",
        "`case` one with its whole record, `suite` all 24. Each chunk of 10,000 is made, imported",
        "by `import_files` (timed; `sdperf history import` is little more), and removed.",
        "The machine was shared with other work: processor seconds tell what an import takes.",
    ]
    for found in document.values():
        chunks = found["chunks"]
        seconds = sum(chunk["seconds"] for chunk in chunks)
        cpu_s = sum(chunk["cpu_s"] for chunk in chunks)
        rates = [chunk["runs"] / chunk["seconds"] for chunk in chunks]
        loads = [chunk["load_average"] for chunk in chunks]
        memory = [chunk["rss_bytes"] / 2**20 for chunk in chunks]
        lines += [
            "",
            f"## `{found['command']}`, {found['database']}",
            "",
            f"{found['machine']}; load average {min(loads):.1f} to {max(loads):.1f}.",
            "",
            f"- {found['runs']} runs of {found['cases_a_run']} cases, "
            f"{chunks[0]['file_bytes'] / 1024:.0f} KiB each, in {seconds:.0f} s: "
            f"**{found['runs'] / seconds:.0f} runs a second** (chunks {min(rates):.0f} to "
            f"{max(rates):.0f}); {cpu_s / found['runs'] * 1000:.2f} ms of a processor a run, all "
            "processes together",
            f"- memory of the writing process {memory[0]:.0f} MiB after the first chunk, "
            f"{memory[-1]:.0f} MiB after the last; a reading process at most "
            f"{chunks[-1]['children_peak_rss_bytes'] / 2**20:.0f} MiB",
        ]
        if found["file_bytes"] is not None:
            lines.append(
                f"- the file: {found['file_bytes'] / 2**20:.0f} MiB, "
                f"{found['file_bytes'] / found['runs'] / 1024:.1f} KiB a run, whole runs included"
            )
        lines += ["", "| question | seconds |", "| --- | --- |"]
        lines += [
            f"| {name} | {took_s:.3f} |" for name, took_s in found["seconds_of_questions"].items()
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
