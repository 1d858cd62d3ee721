"""Runs real sessions of the embedded model, unchanged, each in processes of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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


def record_sessions(folder: Path, count: int, at_once: int) -> list[Path]:
    """Run the sessions that are missing, some of them at once; return the file of each.

    Args:
        folder: Where sessions are kept.
        count: How many sessions there are in the end.
        at_once: Sessions that run at once, each on two processors that no other session uses.

    Raises:
        ValueError: The machine has fewer processors than that takes.
        RuntimeError: A session did not end as a session does.
    """
    cpus = sorted(os.sched_getaffinity(0)) if at_once > 1 else []
    if at_once > 1 and len(cpus) < 2 * at_once:
        raise ValueError(
            f"--at-once {at_once} takes {2 * at_once} processors, and this process may use "
            f"{len(cpus)}"
        )

    def record_share(lane: int) -> list[Path]:
        """Record every `at_once`-th session, one after the other, on this lane's processors."""
        pair = cpus[2 * lane : 2 * lane + 2]
        paths = []
        for number in range(1 + lane, count + 1, at_once):
            paths.append(record_session(folder, number, pair))
            print(f"session {number} of {count}", file=sys.stderr, flush=True)
        return paths

    with ThreadPoolExecutor(at_once) as lanes:
        shares = list(lanes.map(record_share, range(at_once)))
    return sorted(path for share in shares for path in share)


def record_session(folder: Path, number: int, cpus: Sequence[int] = ()) -> Path:
    """Run a session in processes of its own, unless it is there; return its file.

    Args:
        folder: Where sessions are kept.
        number: Number of the session.
        cpus: Processors that the session runs on; empty is those of this process.

    Raises:
        RuntimeError: It did not end as a session does.
    """
    saved = folder / f"session-{number:03}.json"
    if saved.exists():
        return saved
    own = folder / f"session-{number:03}"
    own.mkdir(exist_ok=True)
    (own / "test_unchanged.py").write_text(BENCHMARKS, encoding="utf-8")
    run = own / "run.json"
    command = [sys.executable, "-m", "pytest", *OPTIONS, f"--rootdir={own}"]
    command += [f"--benchmark-json={run}", str(own / "test_unchanged.py")]
    if cpus:
        command = ["taskset", "--cpu-list", ",".join(map(str, cpus)), *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        command, cwd=own, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"session {number}: status {done.returncode}\n{done.stdout[-3000:]}")
    run.replace(saved)
    shutil.rmtree(own)
    return saved
