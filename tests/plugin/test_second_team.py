"""A planted second team of OpenMP threads, in a real worker with two threads, is named by `order`.

The guard counts processor seconds over seconds, so it needs both processors: where others take
them, the session's own guard `load` says so, and this test has nothing to say.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdperf.judging.doubts.contradictions import FEWEST_CORES_KEPT

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
CASES = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()
"""


@pytest.fixture
def measure(tmp_path):
    """Run the cases on a worker of two threads; returns each case's record by its kind."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_bench.py").write_text(CASES)

    def run(subject):
        options = {
            "subject": f"tests.support.leaking_subjects:{subject}", "precision": "bf16",
            "mode": "sync", "workers": 1, "threads": 2, "steps": 6, "rounds": 5,
            "batch-rounds": 3, "images": 4, "guards": "warn", "history": "off", "confirm": 0,
        }  # fmt: skip
        flags = [f"--sd-{name}={value}" for name, value in options.items()]
        free = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--sd-unwatched",
             "--benchmark-json=run.json", *flags],
            cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
            env=free | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        document = json.loads((tmp_path / "run.json").read_text())
        records = [one["extra_info"]["sdperf"] for one in document["benchmarks"]]
        return {one["kind"]: one for one in records}

    return run


def cores_busy(record):
    pairs = zip(record["rounds_cpu_s"], record["rounds_s"], strict=True)
    return sorted(cpu_s / s for cpu_s, s in pairs)[len(record["rounds_s"]) // 2]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a team needs two processors")
@pytest.mark.parametrize("subject", ["second_team", "nothing"])
def test_a_planted_second_team_is_named_by_its_cores(measure, subject):
    records = measure(subject)
    seen = [guard for one in records.values() for guard in one["guards"]["during"]]
    others = [guard["sentence"] for guard in seen if guard["name"] == "load"]
    if others:
        pytest.skip(others[0])
    (order,) = [one for one in records["latency"]["guards"]["after"] if one["name"] == "order"]
    kept = cores_busy(records["throughput"]) / cores_busy(records["latency"])
    if subject == "second_team":
        assert kept < FEWEST_CORES_KEPT
        assert order["state"] == "warn"
        assert "a case in between left something behind that takes cores" in order["sentence"]
    else:
        assert kept > FEWEST_CORES_KEPT
        assert order["state"] == "ok"
