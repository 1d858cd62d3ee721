"""Runs real sessions of the embedded model, unchanged, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

BENCHMARKS: Final = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()
"""

OPTIONS: Final = (
    "--sd-steps=5",
    "--sd-precision=fp32,bf16",
    "--sd-mode=sync",
    "--sd-workers=1",
    "--sd-threads=1",
    "--sd-rounds=20",
    "--sd-batch-rounds=2",
    "--sd-warmup=1",
    "--sd-history=off",
    "--sd-confirm=0",
    "-p",
    "no:cacheprovider",
    "-q",
)
"""Twenty rounds are the fewest whose tail is judged; five steps keep a session short."""


def record_session(folder: Path, number: int) -> Path:
    """Run a session in processes of its own, unless it is there; return its file.

    Args:
        folder: Where sessions are kept.
        number: Number of the session.

    Raises:
        RuntimeError: It did not end as a session does.
    """
    saved = folder / f"session-{number:02}.json"
    if saved.exists():
        return saved
    (folder / "test_unchanged.py").write_text(BENCHMARKS, encoding="utf-8")
    run = folder / "run.json"
    command = [sys.executable, "-m", "pytest", *OPTIONS, f"--rootdir={folder}"]
    command += [f"--benchmark-json={run}", str(folder / "test_unchanged.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"session {number}: status {done.returncode}\n{done.stdout[-3000:]}")
    run.replace(saved)
    return saved
