"""The commands that are killed, and how to tell what each of them had finished by then."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from sdperf.ab.keeping import read_kept
from sdperf.store.journal import list_journals, read_journal

CASES: Final = 6
RUNS: Final = 300

CONFTEST: Final = """
from pathlib import Path

def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        with Path(__file__).with_name("finished.txt").open("a") as file:
            file.write(report.nodeid + "\\n")
"""
BENCHMARKS: Final = """
import pytest

@pytest.mark.parametrize("number", range({cases}))
def test_latency(sd_benchmark, number):
    sd_benchmark.latency()

def test_soundness(sd_quality):
    sd_quality.soundness()
"""
PYTEST: Final = (
    *("-q", "-p", "no:cacheprovider", "--sd-in-process", "--sd-unwatched"),
    *("--sd-precision=fp32", "--sd-mode=sync", "--sd-steps=1", "--sd-size=64x64"),
    *("--sd-rounds=3", "--sd-guards=off"),
)


AB: Final = (
    *("-m", "sdperf", "ab", "--both", "steps=1,size=64x64", "--pictures", "1", "--looks", "4"),
    *("--a", "precision=fp32", "--b", "precision=fp32", "--rounds", "1", "--no-control"),
    *(
        "--cases",
        "latency,stage[fp32-deliver],stage[fp32-decode_latents]",
    ),
    *("--guards", "off", "--no-stages", "--max-slowdown", "900%", "--json", "ab.json"),
)
AB_CASES: Final = 3


@dataclass
class Tally:
    """What the kills came to.

    Attributes:
        kills: Processes that were killed before they ended.
        completed: Times that the work was brought to its end.
        kept: Finished pieces of work that were found after a kill.
        lost: What was finished and is gone, in words.
    """

    kills: int = 0
    completed: int = 0
    kept: int = 0
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.completed} times completed, {self.kept} finished pieces "
            f"found after a kill, {len(self.lost)} lost"
        )


class Killed(Protocol):
    """A command that can be killed.

    Attributes:
        whole_s: Seconds that it takes undisturbed.
    """

    whole_s: float

    def __init__(self, folder: Path) -> None: ...

    def prepare(self) -> None:
        """Lay out what it works on, and take its time."""

    def run_one(self, moment_s: float, tally: Tally) -> None:
        """Run it, kill it at a moment, and look at what is left."""

    def finish(self, tally: Tally) -> None:
        """Bring the work to its end, and look whether it is whole."""


class KilledSession:
    """A pytest session of tiny pictures, resumed after each kill until it is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._noted = folder / "finished.txt"
        self.whole_s = 0.0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tools.kill_sessions.session"])

    def prepare(self) -> None:
        """Write the tests, and run them once undisturbed."""
        (self._folder / "pytest.ini").write_text("[pytest]\n")
        (self._folder / "conftest.py").write_text(CONFTEST)
        (self._folder / "test_bench.py").write_text(BENCHMARKS.format(cases=CASES))
        self._run(["--version"], None)  # starts the server, which imports everything
        started_s = time.monotonic()
        if self._run(PYTEST, None) != 0:
            raise SystemExit("the session does not even run undisturbed")
        self.whole_s = time.monotonic() - started_s
        self._noted.unlink()

    def run_one(self, moment_s: float, tally: Tally) -> None:
        """Go on with the session, or begin one; kill it at a moment."""
        status = self._run((*PYTEST, *self._resume()), moment_s)
        if status is None:
            tally.kills += 1
            self._compare(tally)
        else:
            self._check_whole(status, tally)

    def finish(self, tally: Tally) -> None:
        """Run what is left."""
        self._check_whole(self._run((*PYTEST, *self._resume()), None), tally)

    def _run(self, arguments: Sequence[str], moment_s: float | None) -> int | None:
        """Run a session; return its exit status, ``None`` where it was killed at a moment."""
        from tools.kill_sessions.session import run_session

        process = self._context.Process(target=run_session, args=(self._folder, arguments))
        process.start()
        process.join(moment_s)
        if process.exitcode is not None:
            return process.exitcode
        process.kill()
        process.join()
        return None

    def _resume(self) -> tuple[str, ...]:
        left = list_journals(self._folder)
        entries = [path for path in left if path.stat().st_size and read_journal(path).entries]
        return ("--sd-resume",) if entries else ()

    def _compare(self, tally: Tally) -> None:
        noted = set(self._noted.read_text().splitlines()) if self._noted.exists() else set()
        left = list_journals(self._folder)
        entries = set(read_journal(left[-1]).entries) if left and left[-1].stat().st_size else set()
        if not left and len(noted) == CASES + 1:
            entries = self._read_last_run()  # killed after the session was saved
            self._noted.unlink()
        tally.kept += len(entries)
        tally.lost += sorted(noted - entries)

    def _check_whole(self, status: int | None, tally: Tally) -> None:
        whole = self._read_last_run() if status == 0 else set()
        if len(whole) != CASES + 1:
            tally.lost.append(f"a session ended with status {status} and {len(whole)} cases")
        tally.completed += 1
        self._noted.unlink(missing_ok=True)

    def _read_last_run(self) -> set[str]:
        document = json.loads((self._folder / ".sdperf/last-run.json").read_text())
        return set(document["sdperf"]["outcomes"])


class KilledImport:
    """An import of many runs into a history, repeated after each kill until all are in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = folder / "history.db"
        self._in = 0
        self.whole_s = 0.0

    @property
    def _arguments(self) -> tuple[str, ...]:
        return ("-m", "sdperf", "history", "import", "runs", "--history", str(self._database))

    def prepare(self) -> None:
        """Write the runs, and import them once undisturbed."""
        runs = self._folder / "runs"
        runs.mkdir()
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        for number in range(RUNS):
            instant = (begin + timedelta(hours=number)).isoformat()
            data = [1.0 + number / 1000] * 5
            bench = {"fullname": "test_a.py::test_a", "name": "test_a", "stats": {"data": data}}
            document = {"datetime": instant, "benchmarks": [bench], "commit_info": {}}
            (runs / f"{number:04}.json").write_text(json.dumps(document))
        started_s = time.monotonic()
        if _run(self._folder, self._arguments, None) != 0 or self._count() != RUNS:
            raise SystemExit("the import does not even run undisturbed")
        self.whole_s = time.monotonic() - started_s
        self._begin_anew()

    def run_one(self, moment_s: float, tally: Tally) -> None:
        """Import, killed at a moment; no run that was in may be gone."""
        status = _run(self._folder, self._arguments, moment_s)
        if status is not None:
            self.finish(tally)
            return
        tally.kills += 1
        found = self._count()
        tally.kept += found
        if found < self._in:
            tally.lost.append(f"{self._in - found} runs of the history")
        self._in = found

    def finish(self, tally: Tally) -> None:
        """Import all that is left, and begin anew."""
        status = _run(self._folder, self._arguments, None)
        if status != 0 or self._count() != RUNS:
            tally.lost.append(f"an import ended with status {status} and {self._count()} runs")
        tally.completed += 1
        self._begin_anew()

    def _begin_anew(self) -> None:
        for path in self._folder.glob("history.db*"):
            path.unlink()
        self._in = 0

    def _count(self) -> int:
        if not self._database.exists():
            return 0
        connection = sqlite3.connect(self._database)
        try:
            is_there = connection.execute("select 1 from sqlite_master where name = 'runs'")
            if is_there.fetchone() is None:
                return 0
            return int(connection.execute("select count(*) from runs").fetchone()[0])
        finally:
            connection.close()


class KilledComparison:
    """A comparison of tiny pictures in several cases, gone on with after each kill until whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in: set[str] = set()
        self.whole_s = 0.0

    def prepare(self) -> None:
        """Compare once undisturbed."""
        started_s = time.monotonic()
        if _run(self._folder, AB, None) != 0:
            raise SystemExit("the comparison does not even run undisturbed")
        self.whole_s = time.monotonic() - started_s
        (self._folder / "ab.json").unlink()

    def run_one(self, moment_s: float, tally: Tally) -> None:
        """Go on with the comparison, or begin one; no case that was finished may be gone."""
        status = _run(self._folder, (*AB, *self._resume()), moment_s)
        if status is not None:
            self._check_whole(status, tally)
            return
        tally.kills += 1
        found = self._list_kept()
        tally.kept += len(found)
        tally.lost += sorted(self._in - found)
        self._in = found

    def finish(self, tally: Tally) -> None:
        """Compare what is left."""
        self._check_whole(_run(self._folder, (*AB, *self._resume()), None), tally)

    def _resume(self) -> tuple[str, ...]:
        return ("--resume",) if self._list_kept() else ()

    def _list_kept(self) -> set[str]:
        kept = [read_kept(path) for path in (self._folder / ".sdperf/ab").glob("*.json")]
        return {case.case.id for one in kept for case in one.cases}

    def _check_whole(self, status: int | None, tally: Tally) -> None:
        path = self._folder / "ab.json"
        cases = json.loads(path.read_text())["cases"] if path.exists() else []
        if status not in (0, 1) or len(cases) != AB_CASES or self._list_kept():
            tally.lost.append(f"a comparison ended with status {status} and {len(cases)} cases")
        path.unlink(missing_ok=True)
        tally.completed += 1
        self._in = set()


COMMANDS: Final[dict[str, type[Killed]]] = {
    "pytest": KilledSession,
    "history import": KilledImport,
    "ab": KilledComparison,
}


def _run(folder: Path, arguments: Sequence[str], moment_s: float | None) -> int | None:
    """Run Python in a folder; return its exit status, ``None`` where it was killed at a moment."""
    here = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": here, "SDPERF_HISTORY": str(folder / "sessions.db")},
        start_new_session=True,
    )
    try:
        return process.wait(moment_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
