"""A session whose reader went away judges, keeps its evidence, and ends as it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
def test_one(sd_benchmark):
    sd_benchmark.latency()
"""


@pytest.fixture
def session(tmp_path, tiny_folder):
    (tmp_path / "test_one.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = {
        "model": tiny_folder("smallest-sd"),
        "precision": "fp32", "mode": "sync", "steps": 2, "rounds": 2,
        "images": 2, "size": "32x32", "guards": "off", "history": "off", "batch-rounds": 2,
    }  # fmt: skip
    flags = [f"--sd-{name}={value}" for name, value in options.items()]

    def run(stdout, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--sd-in-process", *flags, *arguments],
            cwd=tmp_path, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300,
            check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        return done

    return run


@pytest.mark.long
def test_a_reader_that_went_away(session, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    assert session(writing).returncode == 0
    assert (tmp_path / ".sdperf/last-run.json").is_file()
    assert session(writing, "--sd-strict", "--benchmark-compare").returncode == 1
    os.close(writing)


def test_a_full_disk_is_told_before_anything_is_measured(session, tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = session(full)
    assert done.returncode not in (0, 1)
    assert not (tmp_path / ".sdperf/last-run.json").exists()
