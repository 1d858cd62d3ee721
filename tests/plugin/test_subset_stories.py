"""A run of a subset answers as the whole suite does: real workers, counted processor seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
LATENCY = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()
"""
THROUGHPUT = """
def test_throughput(sd_benchmark):
    sd_benchmark.throughput()
"""


@pytest.fixture
def session(tmp_path, tiny_folder):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_latency.py").write_text(LATENCY)
    (tmp_path / "test_throughput.py").write_text(THROUGHPUT)
    options = {
        "model": tiny_folder("smallest-sd"), "precision": "bf16", "mode": "sync,async", "steps": 8,
        "rounds": 3, "batch-rounds": 2, "images": 2, "size": "32x32", "guards": "off",
        "history": "off", "confirm": 0, "threads": 1, "workers": 1,
    }  # fmt: skip
    flags = [f"--sd-{name}={value}" for name, value in options.items()]

    def run(*arguments):
        """Run in a process of its own; return the outcome and the seconds of each case."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "tests.support.counted_seconds", *flags,
             "--sd-unwatched", "--benchmark-json=run.json", *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stdout + done.stderr
        document = json.loads((tmp_path / "run.json").read_text())
        seconds = {one["fullname"]: one["stats"]["median"] for one in document["benchmarks"]}
        return document["sdperf"]["outcomes"], seconds

    return run


def test_a_subset_answers_as_the_whole_suite_does(session):
    _, whole = session("--benchmark-autosave")
    assert len(whole) == 4
    answers, seconds = session("--benchmark-compare", "--sd-mode=sync")
    assert set(answers.values()) == {"PASS"}
    assert set(seconds) == {case for case in whole if "-sync-" in case}
    for case, one_s in seconds.items():
        assert one_s == pytest.approx(whole[case], rel=0.35), case


def test_a_planted_leak_makes_the_figures_of_a_subset_others(session):
    subject = "--sd-subject=tests.support.leaking_subjects:works_twice_later"
    _, whole = session(subject, "--benchmark-autosave")
    answers, seconds = session(subject, "--benchmark-compare", "-k", "throughput and async")
    (late,) = answers
    assert late == "test_throughput.py::test_throughput[bf16-async-1w-1t]"
    assert seconds[late] < 0.7 * whole[late], "the whole suite's figure is of twice the work"
