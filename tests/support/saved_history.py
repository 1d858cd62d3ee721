"""Saved runs of many cases, made quickly and without images."""

import json
from datetime import UTC, datetime, timedelta

from tests.support.measurements import image, measurement
from tests.support.saved_runs import make_benchmark

START = datetime(2026, 1, 1, tzinfo=UTC)
FULL = "benchmarks/test_latency.py::test_latency[fp32-sync-1w]"
ACCEPTANCE = {
    "reason": "fine",
    "accepted_at": "2026-11-23T00:00:00+00:00",
    "commit": None,
    "content_sha256": "0" * 64,
}


def make_run(number=0, *, cases=None, outcomes=None, extra=None, commit=None, **summary):
    """Make a run's JSON: ``cases`` is seconds by name."""
    cases = {FULL: 1.0 + number / 100} if cases is None else cases
    outcomes = outcomes or dict.fromkeys(cases, "PASS")
    benchmarks = [
        make_benchmark(
            name,
            measurement(rounds_s=(s, s * 1.01, s * 0.99), images=(image(),)),
            outcomes.get(name, "PASS"),
        )
        for name, s in cases.items()
    ]
    return {
        "machine_info": {"node": "here", "machine": "x86_64", "cpu": {}},
        "commit_info": {"id": commit or f"{number:040x}", "dirty": False, "branch": "main"},
        "benchmarks": benchmarks,
        "datetime": (START + timedelta(days=number)).isoformat(),
        "version": "5.3.1",
        "sdperf": {"format_version": 1, "outcomes": outcomes} | summary,
    } | (extra or {})


def write(folder, number, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04}.json"
    path.write_text(json.dumps(make_run(number, **changes)))
    return path
