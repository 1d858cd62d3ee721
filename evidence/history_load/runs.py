"""Saved runs in bulk: the record of a real run under many commits, days and durations."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

TEMPLATE = Path("docs/results/cpu-embedded/run.json")
SHAPES = ("plain", "case", "suite")
"""``plain``: five cases that sdperf recorded nothing of; ``case``: one with its whole record;
``suite``: all of the template's, 24."""

START = datetime(2020, 1, 1, tzinfo=UTC)


class RunMaker:
    """Makes runs of one shape; the same seed makes the same runs."""

    def __init__(self, shape: str, seed: int) -> None:
        self.rng = random.Random(seed)
        document = json.loads(TEMPLATE.read_text())
        benchmarks = document["benchmarks"]
        count = {"plain": 5, "case": 1, "suite": len(benchmarks)}[shape]
        document["benchmarks"] = benchmarks[:count]
        if shape == "plain":
            document.pop("sdperf")
            for benchmark in document["benchmarks"]:
                benchmark["extra_info"] = {}
        else:
            names = [benchmark["fullname"] for benchmark in document["benchmarks"]]
            document["sdperf"]["outcomes"] = dict.fromkeys(names, "PASS")
            document.pop("sdperf_quality", None)
        self.document: dict[str, Any] = document

    def make(self, number: int) -> str:
        """Return a run as pytest-benchmark would write it."""
        document = self.document
        when = START + timedelta(minutes=30 * number)
        document["datetime"] = when.isoformat()
        document["commit_info"] |= {"id": f"{number:040x}", "time": when.isoformat()}
        for benchmark in document["benchmarks"]:
            data = [0.5 * self.rng.gauss(1, 0.02) for _ in benchmark["stats"]["data"]]
            benchmark["stats"] |= {"data": data, "median": sorted(data)[len(data) // 2]}
            record = benchmark["extra_info"].get("sdperf")
            if record is not None:
                record["rounds_s"] = data
        return json.dumps(document, indent=4)
