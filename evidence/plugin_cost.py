"""Measures what the installed, unused plugin costs a pytest session: with it and ``-p no:sdperf``.

    python -m evidence.plugin_cost                  60 pairs of sessions, at most 150 s
    python -m evidence.plugin_cost --pairs 100 --budget-s 300 --most-ms 20

A session collects and runs one test that uses nothing of sdperf. The sessions take turns, and which
one is first changes from pair to pair, so that a drift of the machine meets both. Wall time is what
a user waits for; processor time (user and system) is what other work on the machine disturbs least.
Each is judged by an interval around the median difference of a pair. Exit status 0: both lie below
``--most-ms``; 1: one lies above it; 2: it cannot be told, which a busy machine brings about.

What it does not show: a session whose first test uses our fixtures, and a cold disk.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdperf.stats.summaries import compute_median, compute_median_interval

ARMS: dict[str, tuple[str, ...]] = {"with": (), "without": ("-p", "no:sdperf")}
FEWEST_PAIRS = 8
"""Pairs below which nothing is told: the interval's error is 5 % from six pairs on."""

Answer = Literal["below", "above", "not told"]
STATUS: dict[Answer, int] = {"below": 0, "above": 1, "not told": 2}


@dataclass(frozen=True)
class Session:
    """What one session took: wall and processor seconds, the processes of it included."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Cost:
    """What the plugin adds to a session, by one clock, in seconds.

    Attributes:
        clock: ``wall time`` or ``processor time``.
        median_s: Median difference of a pair.
        lower_s: Lower end of its interval, at least 95 % where there are `FEWEST_PAIRS`.
        upper_s: Upper end.
        without_s: Median of the sessions without the plugin.
        pairs: How many there are.
    """

    clock: str
    median_s: float
    lower_s: float
    upper_s: float
    without_s: float
    pairs: int

    def judge(self, most_s: float) -> Answer:
        """Say on which side of the limit the interval lies."""
        if self.pairs < FEWEST_PAIRS:
            return "not told"
        if self.upper_s <= most_s:
            return "below"
        return "above" if self.lower_s > most_s else "not told"

    def format(self, most_s: float) -> str:
        """Return one line with the answer."""
        return (
            f"{self.clock}: {self.median_s * 1e3:+.1f} ms (95 %: {self.lower_s * 1e3:+.1f} to "
            f"{self.upper_s * 1e3:+.1f} ms) over {self.without_s * 1e3:.0f} ms; "
            f"{self.pairs} pairs; {self.judge(most_s)}, limit {most_s * 1e3:g} ms"
        )


def run_session(arguments: tuple[str, ...], folder: Path) -> Session:
    """Run one pytest session.

    Args:
        arguments: What is typed besides the test.
        folder: Where it runs; has ``test_own.py``.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([*command, "test_own.py"], cwd=folder, check=True, capture_output=True)
    wall_s, after = time.monotonic() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    user_s, system_s = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Session(wall_s, user_s + system_s)


def measure_pairs(
    pairs: int,
    run: Callable[[tuple[str, ...]], Session],
    *,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[dict[str, Session]]:
    """Run sessions in turns, until there are enough pairs or the time is over.

    Args:
        pairs: How many of each kind.
        run: Runs a session with these arguments.
        budget_s: No pair begins that would end later than this, by the longest pair so far.
        clock: Returns seconds.

    Returns:
        The sessions of each pair by arm.
    """
    measured: list[dict[str, Session]] = []
    start_s, longest_s = clock(), 0.0
    while len(measured) < pairs and clock() - start_s + longest_s <= budget_s:
        begin_s = clock()
        names = list(ARMS) if len(measured) % 2 == 0 else list(reversed(ARMS))
        measured.append({name: run(ARMS[name]) for name in names})
        longest_s = max(longest_s, clock() - begin_s)
    return measured


def compute_costs(measured: Sequence[dict[str, Session]]) -> tuple[Cost, ...]:
    """Return what the plugin adds by each clock; nothing where nothing was measured. Pure."""
    costs = []
    for clock, field in (("wall time", "wall_s"), ("processor time", "cpu_s")):
        differences_s = [
            getattr(pair["with"], field) - getattr(pair["without"], field) for pair in measured
        ]
        if not differences_s:
            continue
        interval = compute_median_interval(differences_s)
        without_s = compute_median([getattr(pair["without"], field) for pair in measured])
        costs.append(
            Cost(
                clock,
                compute_median(differences_s),
                interval.lower,
                interval.upper,
                without_s,
                len(measured),
            )
        )
    return tuple(costs)


def judge_costs(costs: Sequence[Cost], most_s: float) -> Answer:
    """Join the answers of the clocks: above where one is, below where all are. Pure."""
    answers = {cost.judge(most_s) for cost in costs}
    if "above" in answers:
        return "above"
    return "below" if answers == {"below"} else "not told"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=60, help="pairs of sessions (60)")
    parser.add_argument("--budget-s", type=float, default=150.0, help="seconds at most (150)")
    parser.add_argument("--most-ms", type=float, default=20.0, help="what it may cost (20)")
    arguments = parser.parse_args()
    most_s = arguments.most_ms / 1e3
    with tempfile.TemporaryDirectory() as name:
        folder, start_s = Path(name), time.monotonic()
        (folder / "test_own.py").write_text("def test_own():\n    pass\n", encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for extra in ARMS.values():
            run_session(extra, folder)  # compiles and fills the page cache
        measured = measure_pairs(
            arguments.pairs,
            lambda extra: run_session(extra, folder),
            budget_s=arguments.budget_s - (time.monotonic() - start_s),
        )
        costs = compute_costs(measured)
        for cost in costs:
            print(cost.format(most_s))
        load = os.getloadavg()[0]
        print(f"load average {load:.1f}; {time.monotonic() - start_s:.0f} s")
    return STATUS[judge_costs(costs, most_s)]


if __name__ == "__main__":
    sys.exit(main())
