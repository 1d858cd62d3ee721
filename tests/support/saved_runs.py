"""Runs as pytest-benchmark saves them, made by hand, with real little images beside them."""

import json
import statistics

import numpy as np

from sdperf.images.png import encode_png
from sdperf.record.json import format_measurement
from sdperf.store.images import ImageStore
from tests.support.measurements import image, measurement

CASE = "benchmarks/test_latency.py::test_latency[fp32-sync-1w]"


def draw(seed=0):
    return encode_png(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def make_stats(rounds_s):
    quartiles = np.quantile(rounds_s, [0.25, 0.75]).tolist()
    return {
        "min": min(rounds_s),
        "max": max(rounds_s),
        "mean": statistics.fmean(rounds_s),
        "stddev": statistics.pstdev(rounds_s),
        "rounds": len(rounds_s),
        "median": statistics.median(rounds_s),
        "iqr": quartiles[1] - quartiles[0],
        "q1": quartiles[0],
        "q3": quartiles[1],
        "iqr_outliers": 0,
        "stddev_outliers": 0,
        "outliers": "0;0",
        "ld15iqr": min(rounds_s),
        "hd15iqr": max(rounds_s),
        "ops": 1 / statistics.fmean(rounds_s),
        "total": sum(rounds_s),
        "iterations": 1,
        "data": list(rounds_s),
    }


def make_benchmark(name, measured, outcome="PASS"):
    record = format_measurement(measured) | {"verdict": {"outcome": outcome, "findings": []}}
    return {
        "group": measured.kind,
        "name": name.rpartition("::")[2],
        "fullname": name,
        "params": None,
        "param": None,
        "extra_info": {"sdperf": record},
        "options": {"disable_gc": False, "timer": "now", "min_rounds": 5, "warmup": False},
        "stats": make_stats(measured.rounds_s),
    }


def write_run(folder, *, cases=None, outcomes=None, seed=0, name="run.json", **summary):
    """Write a run of one case (or of ``cases``: name to rounds) with its images."""
    png = draw(seed)
    sha256 = ImageStore(folder / "images").write(png)
    cases = cases or {CASE: (1.0, 1.1, 0.9)}
    outcomes = outcomes or dict.fromkeys(cases, "PASS")
    benchmarks = [
        make_benchmark(
            case,
            measurement(rounds_s=rounds_s, images=(image(sha256=sha256),)),
            outcomes.get(case, "PASS"),
        )
        for case, rounds_s in cases.items()
    ]
    document = {
        "machine_info": {"node": "here", "machine": "x86_64", "cpu": {}},
        "commit_info": {"id": "f" * 40, "dirty": False, "branch": "main"},
        "benchmarks": benchmarks,
        "datetime": "2026-11-23T00:00:00+00:00",
        "version": "5.3.1",
        "sdperf": {"format_version": 1, "outcomes": outcomes} | summary,
    }
    path = folder / name
    path.write_text(json.dumps(document))
    return path
