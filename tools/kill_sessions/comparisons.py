"""Commands that compare sides, and are killed: ``ab``, ``bisect``, ``sweep`` and ``tune``."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sdperf.ab.keeping import read_kept
from tools.kill_sessions.commands import KilledCommand, read_column

SHORTENED: Final = "tools.kill_sessions.shortened"
AB_CASES: Final = ("latency[fp32-sync-1w]", "stage[fp32-deliver]", "stage[fp32-decode_latents]")
AB: Final = (
    *("ab", "old", "HEAD", "--subject", "mine:make", "--both", "steps=1,size=64x64"),
    *("--pictures", "1", "--looks", "4", "--rounds", "1"),
    *("--a", "precision=fp32", "--b", "precision=fp32", "--no-control", "--cases"),
    ",".join(AB_CASES),
    *("--guards", "off", "--no-stages", "--max-slowdown", "900%", "--json", "ab.json"),
)
BISECT: Final = (
    *("bisect", "old", "HEAD", "--subject", "mine:make", "--for", "image", "--pictures", "1"),
    *("--set", "precision=fp32", "--guards", "off", "--report", "report.md"),
)
SWEEP: Final = (
    *("sweep", "--commits", "old..HEAD", "--subject", "mine:make", "--pictures", "1"),
    *("--set", "precision=fp32", "--guards", "off", "--json", "sweep.json"),
)
TUNE: Final = (
    *("tune", "--confirm", "1", "--seed", "1", "--device", "cpu", "--guards", "off"),
    *("--search", "guidance=3", "--search", "batch=1", "--search", "scheduler=auto"),
    *("--search", "mode=sync", "--search", "workers=1", "--search", "optimisations=none"),
    *("--search", "engine=torch"),
    *("--min-ssim", "0.01", "--min-tile", "0", "--images", "1"),
)
FEW_TRIALS: Final = (
    *("--trials", "3", "--size", "64x64", "--steps", "2", "--search", "steps=1|2"),
    *("--search", "precision=fp32"),
)
MANY_TRIALS: Final = ("--trials", "12", "--search", "steps=4|5|6|7|8|9|10|11|12|13|14|15|16|20")
PLAIN: Final = """
def make():  # {number}
    return {{"seconds": 1.0}}
"""
SAME: Final = """
def make(request):  # {number}
    return request.load()
"""
FLAT: Final = """
def make():  # {number}
    return {{"seconds": 1.0, "flat": {number} >= 3}}
"""


class KilledComparison(KilledCommand):
    """A comparison of two revisions in several cases, gone on with until it is whole."""

    arguments: Sequence[str] = ("-m", SHORTENED, "stand-in", *AB)
    _subject = PLAIN

    def lay_out(self) -> None:
        """Make a repository of two revisions."""
        make_repository(self.folder, self._subject, 2)

    def find_resuming(self) -> Sequence[str]:
        """Return the option that goes on, where a case is kept."""
        return ("--resume",) if self._list_kept() else ()

    def list_finished(self) -> set[str]:
        """List the cases that are kept, or those of the result where it is written."""
        return self._list_kept() | set(AB_CASES if (self.folder / "ab.json").exists() else ())

    def _list_kept(self) -> set[str]:
        kept = [read_kept(path) for path in (self.folder / ".sdperf/ab").glob("*.json")]
        return {case.case.id for one in kept for case in one.cases}

    def explain_incomplete(self, status: int | None) -> str | None:
        """Say which cases it judged, and what it kept although it is done."""
        path = self.folder / "ab.json"
        cases = json.loads(path.read_text())["cases"] if path.exists() else []
        trees = list_worktrees(self.folder)
        if status in (0, 1) and len(cases) == len(AB_CASES) and not self._list_kept():
            return f"worktrees are left: {', '.join(trees)}" if trees else None
        return f"a comparison ended with status {status} and {len(cases)} cases"

    def begin_anew(self) -> None:
        """Remove the results."""
        (self.folder / "ab.json").unlink(missing_ok=True)


class KilledRealComparison(KilledComparison):
    """The same with torch in its workers."""

    arguments = ("-m", SHORTENED, "torch", *AB)
    _subject = SAME


class KilledBisection(KilledCommand):
    """A search for a commit that changed the picture, gone on with until it is found."""

    arguments = ("-m", SHORTENED, "stand-in", *BISECT)

    def lay_out(self) -> None:
        """Make a repository of six revisions, the fourth of which is the bad one."""
        make_repository(self.folder, FLAT, 6)

    def list_finished(self) -> set[str]:
        """List the ends and steps that were tested."""
        finished = set()
        for path in (self.folder / ".sdperf/bisect").glob("*.json"):
            state = json.loads(path.read_text())
            ends = [one for one in ("end", "closing") if state.get(one) is not None]
            finished |= {*ends, *(one["step"] for one in state["steps"])}
        return finished

    def explain_incomplete(self, status: int | None) -> str | None:
        """Say that the commit was not found, or that worktrees are left."""
        path = self.folder / "report.md"
        if status != 0 or "change 3" not in (path.read_text() if path.exists() else ""):
            return f"a search ended with status {status} and not the right commit"
        trees = list_worktrees(self.folder)
        return f"worktrees are left: {', '.join(trees)}" if trees else None

    def begin_anew(self) -> None:
        """Remove the state and the report."""
        shutil.rmtree(self.folder / ".sdperf/bisect", ignore_errors=True)
        (self.folder / "report.md").unlink(missing_ok=True)


class KilledSweep(KilledCommand):
    """A sweep over commits, gone on with until every comparison was made."""

    arguments = ("-m", SHORTENED, "stand-in", *SWEEP)

    def lay_out(self) -> None:
        """Make a repository of five revisions, of which the fourth changes the picture."""
        make_repository(self.folder, FLAT, 5)

    def list_finished(self) -> set[str]:
        """List the comparisons that were made."""
        return {
            f"{pair['a']} {pair['b']} {pair['finished']}"
            for path in (self.folder / ".sdperf/sweep").glob("*.json")
            for pair in json.loads(path.read_text())["pairs"]
        }

    def explain_incomplete(self, status: int | None) -> str | None:
        """Say that a comparison is missing, or that worktrees are left."""
        path = self.folder / "sweep.json"
        document = json.loads(path.read_text()) if path.exists() else {}
        if status != 0 or document.get("left") != 0:
            return f"a sweep ended with status {status} and {document.get('left')} comparisons left"
        trees = list_worktrees(self.folder)
        return f"worktrees are left: {', '.join(trees)}" if trees else None

    def begin_anew(self) -> None:
        """Remove the state and the answer."""
        shutil.rmtree(self.folder / ".sdperf/sweep", ignore_errors=True)
        (self.folder / "sweep.json").unlink(missing_ok=True)


class KilledTuning(KilledCommand):
    """A study, gone on with after each kill until all trials are done and confirmed."""

    arguments: Sequence[str] = ("-m", SHORTENED, "stand-in", *TUNE, *MANY_TRIALS)

    def lay_out(self) -> None:
        """Nothing is needed."""

    def list_finished(self) -> set[str]:
        """List the trials that are complete, and the confirmations."""
        database = self.folder / ".sdperf/tune.db"
        complete = "select number from trials where state = 'COMPLETE'"
        kept = "select key from study_user_attributes"
        return read_column(database, "trials", complete) | read_column(
            database, "study_user_attributes", kept
        )

    def explain_incomplete(self, status: int | None) -> str | None:
        """Say how many trials are complete."""
        finished = self.list_finished()
        if status in (0, 1) and any(one.isdecimal() for one in finished):
            return None  # a sampler that proposes known settings ends a study before its time
        return f"a study ended with status {status} and {sorted(finished)}"

    def begin_anew(self) -> None:
        """Remove the study and the profile."""
        for path in (self.folder / ".sdperf").glob("tune.db*"):
            path.unlink()
        (self.folder / "sdperf-tuned.toml").unlink(missing_ok=True)


class KilledRealTuning(KilledTuning):
    """The same with torch in its workers, and fewer trials."""

    arguments = ("-m", SHORTENED, "torch", *TUNE, *FEW_TRIALS)


def make_repository(folder: Path, text: str, count: int) -> None:
    """Make a repository of some commits of one module; the first is tagged ``old``."""
    _git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("*\n!mine.py\n")
    for number in range(count):
        (folder / "mine.py").write_text(text.format(number=number))
        _git(folder, "add", "mine.py")
        _git(folder, "commit", "--quiet", "-m", f"change {number}")
        if number == 0:
            _git(folder, "tag", "old")


def list_worktrees(folder: Path) -> list[str]:
    """List the worktrees of a repository beside its own."""
    listed = _git(folder, "worktree", "list", "--porcelain").splitlines()
    return [line.removeprefix("worktree ") for line in listed if line.startswith("worktree ")][1:]


def _git(folder: Path, *arguments: str) -> str:
    name = ("-c", "user.name=kill", "-c", "user.email=kill@localhost")
    done = subprocess.run(
        ["git", *name, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout
