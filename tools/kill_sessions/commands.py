"""The commands that are killed, and how to tell what each of them had finished by then."""

from __future__ import annotations

import json
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sdperf.store.journal import list_journals, read_journal
from tools.kill_sessions.surroundings import Surroundings, Tally

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
    *("-q", "-p", "no:cacheprovider", "--sd-unwatched"),
    *("--sd-precision=fp32", "--sd-mode=sync", "--sd-steps=1", "--sd-size=64x64"),
    *("--sd-rounds=3", "--sd-guards=off"),
)


class KilledCommand(ABC):
    """A command that is gone on with after each kill until its work is whole, then begun anew.

    Args:
        surroundings: Where it is run.

    Attributes:
        whole_s: Seconds that it takes undisturbed.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.folder = surroundings.folder
        self.whole_s = 0.0
        self._finished: set[str] = set()

    def prepare(self) -> None:
        """Lay out what it works on, and take its time."""
        self.lay_out()
        started_s = time.monotonic()
        tally = Tally()
        status = self.run((), None, tally)
        complaint = self.explain_incomplete(status)
        if complaint is not None or tally.left:
            words = self.surroundings.read_words()
            raise SystemExit(f"not even undisturbed: {complaint}, {tally.left}; it said: {words}")
        self.whole_s = time.monotonic() - started_s
        self.begin_anew()

    def run_one(self, moment_s: float, tally: Tally) -> None:
        """Go on with the work, or begin it; kill it at a moment and look what is left."""
        status = self.run(self.find_resuming(), moment_s, tally)
        if status is not None:
            self._check_whole(status, tally)
            return
        tally.kills += 1
        found = self.list_finished()
        tally.kept += len(found)
        tally.lost += sorted(self._finished - found)
        self._finished = found

    def finish(self, tally: Tally) -> None:
        """Bring the work to its end, and look whether it is whole."""
        self._check_whole(self.run(self.find_resuming(), None, tally), tally)

    def run(self, resuming: Sequence[str], moment_s: float | None, tally: Tally) -> int | None:
        """Run it; return its exit status, ``None`` where it was killed at a moment."""
        arguments = (*self.arguments, *resuming)
        return self.surroundings.run(arguments, moment_s, tally)

    def _check_whole(self, status: int | None, tally: Tally) -> None:
        complaint = self.explain_incomplete(status)
        if complaint is not None:
            tally.lost.append(f"{complaint}; it said: {self.surroundings.read_words()}")
        tally.completed += 1
        self._finished = set()
        self.begin_anew()

    def find_resuming(self) -> Sequence[str]:
        """Return the arguments that make it go on with what is there."""
        return ()

    @property
    @abstractmethod
    def arguments(self) -> Sequence[str]:
        """The arguments of the interpreter."""

    @abstractmethod
    def lay_out(self) -> None:
        """Write what it works on."""

    @abstractmethod
    def list_finished(self) -> set[str]:
        """List the finished pieces of work that lie on the disk."""

    @abstractmethod
    def explain_incomplete(self, status: int | None) -> str | None:
        """Say why the work of a command that ended is not whole; ``None`` where it is."""

    @abstractmethod
    def begin_anew(self) -> None:
        """Remove what was finished."""


class KilledSession(KilledCommand):
    """A pytest session of tiny pictures in a worker, resumed after each kill until it is whole."""

    arguments: Sequence[str] = ("-m", "pytest", *PYTEST)

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._expected: set[str] = set()

    def lay_out(self) -> None:
        """Write the tests."""
        (self.folder / "pytest.ini").write_text("[pytest]\n")
        (self.folder / "conftest.py").write_text(CONFTEST)
        (self.folder / "test_bench.py").write_text(BENCHMARKS.format(cases=CASES))

    def find_resuming(self) -> Sequence[str]:
        """Return the option that goes on, where a journal holds a finished case."""
        left = list_journals(self.folder)
        entries = [path for path in left if path.stat().st_size and read_journal(path).entries]
        return ("--sd-resume",) if entries else ()

    def run_one(self, moment_s: float, tally: Tally) -> None:
        """Run, kill, look: what pytest called passed has to be in the journal."""
        status = self.run(self.find_resuming(), moment_s, tally)
        if status is not None:
            self._check_whole(status, tally)
            return
        tally.kills += 1
        noted, found = self._read_noted(), self.list_finished()
        if not list_journals(self.folder) and noted and len(noted) == len(self._expected):
            found = self._read_last_run()  # killed after the session was saved
            self.begin_anew()
        tally.kept += len(found)
        tally.lost += sorted(noted - found)

    def list_finished(self) -> set[str]:
        """List the cases of the newest journal."""
        left = list_journals(self.folder)
        return set(read_journal(left[-1]).entries) if left and left[-1].stat().st_size else set()

    def explain_incomplete(self, status: int | None) -> str | None:
        """Say which status it ended with, and how many cases the saved run holds."""
        whole = self._read_last_run() if status == 0 else set()
        self._expected = self._expected or whole
        if len(whole) > CASES and whole == self._expected:
            return None
        return f"a session ended with status {status} and {len(whole)} cases"

    def begin_anew(self) -> None:
        """Forget what pytest called passed."""
        (self.folder / "finished.txt").unlink(missing_ok=True)

    def _read_noted(self) -> set[str]:
        path = self.folder / "finished.txt"
        return set(path.read_text().splitlines()) if path.exists() else set()

    def _read_last_run(self) -> set[str]:
        document = json.loads((self.folder / ".sdperf/last-run.json").read_text())
        return set(document["sdperf"]["outcomes"])


class KilledInProcess(KilledSession):
    """The same session in one process that was forked with everything imported.

    Most moments fall into measuring and writing then.
    """

    arguments = (*PYTEST, "--sd-in-process")

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        import multiprocessing

        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tools.kill_sessions.session"])

    def prepare(self) -> None:
        """Run once for the server that sessions are forked from, which imports everything."""
        self.lay_out()
        self.run((), None, Tally())
        self.begin_anew()
        super().prepare()

    def run(self, resuming: Sequence[str], moment_s: float | None, tally: Tally) -> int | None:
        """Fork a session."""
        from tools.kill_sessions.session import run_session

        process = self._context.Process(
            target=run_session,
            args=(self.folder, (*self.arguments, *resuming), self.surroundings.environment),
        )
        process.start()
        process.join(moment_s)
        if process.exitcode is not None:
            self.surroundings.look_for_files(tally)
            return process.exitcode
        process.kill()
        process.join()
        return None


class KilledImport(KilledCommand):
    """An import of many runs into a history, repeated after each kill until all are in."""

    arguments = ("-m", "sdperf", "history", "import", "runs", "--history", "history.db")

    def lay_out(self) -> None:
        """Write the runs."""
        runs = self.folder / "runs"
        runs.mkdir()
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        for number in range(RUNS):
            instant = (begin + timedelta(hours=number)).isoformat()
            data = [1.0 + number / 1000] * 5
            bench = {"fullname": "test_a.py::test_a", "name": "test_a", "stats": {"data": data}}
            document = {"datetime": instant, "benchmarks": [bench], "commit_info": {}}
            (runs / f"{number:04}.json").write_text(json.dumps(document))

    def list_finished(self) -> set[str]:
        """List the runs of the history."""
        return read_column(self.folder / "history.db", "runs", "select id from runs")

    def explain_incomplete(self, status: int | None) -> str | None:
        """Say how many runs are in."""
        count = len(self.list_finished())
        if status == 0 and count == RUNS:
            return None
        return f"an import ended with status {status} and {count} runs"

    def begin_anew(self) -> None:
        """Remove the history."""
        for path in self.folder.glob("history.db*"):
            path.unlink()


def read_column(database: Path, table: str, query: str) -> set[str]:
    """Read a column of an SQLite file as texts; nothing where file or table is not there."""
    if not database.exists():
        return set()
    connection = sqlite3.connect(database)
    try:
        is_there = "select 1 from sqlite_master where name = ?"
        if connection.execute(is_there, (table,)).fetchone() is None:
            return set()
        return {str(row[0]) for row in connection.execute(query)}
    finally:
        connection.close()
