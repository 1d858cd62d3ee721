"""Measures what the installed, unused plugin costs a pytest session: with it and ``-p no:sdperf``.

    python -m evidence.plugin_cost                  40 pairs of sessions, about a minute
    python -m evidence.plugin_cost --pairs 100 --most-ms 20

A session collects and runs one test that uses nothing of sdperf. The sessions take turns, and which
one is first changes from pair to pair, so that a drift of the machine meets both. Exit status 1:
the median difference of a pair is above ``--most-ms``. What it does not show: a session whose first
test uses our fixtures, and a cold disk.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ARMS: dict[str, tuple[str, ...]] = {"with": (), "without": ("-p", "no:sdperf")}


def run_session(arguments: tuple[str, ...], folder: Path) -> float:
    """Run one pytest session.

    Args:
        arguments: What is typed besides the test.
        folder: Where it runs; has ``test_own.py``.

    Returns:
        Its CPU time in seconds, user and system: other work on the machine disturbs it less than
        it disturbs wall time.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    before = os.times()
    subprocess.run([*command, "test_own.py"], cwd=folder, check=True, capture_output=True)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def measure_pairs(pairs: int, run: Callable[[tuple[str, ...]], float]) -> list[dict[str, float]]:
    """Run sessions in turns.

    Args:
        pairs: How many of each kind.
        run: Runs a session with these arguments and returns its seconds.

    Returns:
        The seconds of each pair by arm.
    """
    measured = []
    for index in range(pairs):
        names = list(ARMS) if index % 2 == 0 else list(reversed(ARMS))
        measured.append({name: run(ARMS[name]) for name in names})
    return measured


def format_result(measured: list[dict[str, float]]) -> tuple[float, str]:
    """Return the median difference in seconds, and a line that says it with its quartiles."""
    differences_s = [pair["with"] - pair["without"] for pair in measured]
    median_s = statistics.median(differences_s)
    low_s, _, high_s = statistics.quantiles(differences_s, n=4)
    without_s = statistics.median(pair["without"] for pair in measured)
    return median_s, (
        f"the plugin costs {median_s * 1e3:.1f} ms of CPU time (quartiles {low_s * 1e3:.1f} to "
        f"{high_s * 1e3:.1f} ms) over {without_s * 1e3:.0f} ms; {len(measured)} pairs"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=40, help="pairs of sessions (40)")
    parser.add_argument("--most-ms", type=float, default=20.0, help="what it may cost (20)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, start_s = Path(name), time.monotonic()
        (folder / "test_own.py").write_text("def test_own():\n    pass\n", encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for extra in ARMS.values():
            run_session(extra, folder)  # compiles and fills the page cache
        measured = measure_pairs(arguments.pairs, lambda extra: run_session(extra, folder))
        median_s, line = format_result(measured)
        print(f"{line}; {time.monotonic() - start_s:.0f} s")
    return 1 if median_s * 1e3 > arguments.most_ms else 0


if __name__ == "__main__":
    sys.exit(main())
