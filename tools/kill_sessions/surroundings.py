"""Where commands are run and killed, and what a killed one leaves: processes, files, worktrees."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

MARK: Final = "SDPERF_KILL_SESSIONS"
"""Environment variable that every process of a killed command inherits."""

LONGEST_STAY_S: Final = 60.0
"""Seconds in which what a killed command started has to leave by itself."""


@dataclass
class Tally:
    """What the kills came to.

    Attributes:
        kills: Processes that were killed before they ended.
        completed: Times that the work was brought to its end.
        kept: Finished pieces of work that were found after a kill.
        lost: What was finished and is gone, in words.
        left: What a killed command left and the next one did not clear, in words.
        longest_stay_s: Seconds until the last process of a killed command was gone, at most.
    """

    kills: int = 0
    completed: int = 0
    kept: int = 0
    lost: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    longest_stay_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.completed} times completed, {self.kept} finished pieces "
            f"found after a kill, {len(self.lost)} lost, {len(self.left)} left behind"
        )


class Surroundings:
    """A folder for commands, with a folder of temporary files of its own.

    Args:
        folder: Where the commands are called.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder.parent / f"{folder.name}-temporary"
        self.temporary.mkdir()
        self._mark = secrets.token_hex(8)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a command."""
        return os.environ | {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "SDPERF_HISTORY": str(self.folder / "sessions.db"),
            "TMPDIR": str(self.temporary),
            MARK: self._mark,
        }

    def run(self, arguments: Sequence[str], moment_s: float | None, tally: Tally) -> int | None:
        """Run Python; return its exit status, ``None`` where it was killed at a moment.

        Only the command's own process is killed; what it started has to leave by itself.

        Args:
            arguments: Of the interpreter.
            moment_s: Seconds after which it is killed; ``None`` lets it end.
            tally: Told of processes that stay, and of files after a command that ended.
        """
        with (self.folder / "said.txt").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                stdout=said,
                stderr=said,
                env=self.environment,
                start_new_session=True,
            )
            try:
                status = process.wait(moment_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self.await_departure(tally)
                return None
        self.await_departure(tally)
        self.look_for_files(tally)
        return status

    def read_words(self) -> str:
        """Return the last line that the last command printed."""
        said = self.folder / "said.txt"
        lines = said.read_text(errors="replace").split("\n") if said.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def await_departure(self, tally: Tally) -> None:
        """Wait until no process of the command is there; end and note those that stay."""
        started_s = time.monotonic()
        while there := self._list_processes():
            if time.monotonic() - started_s > LONGEST_STAY_S:
                tally.left += [f"process {' '.join(one.cmdline()[:6])}" for one in there]
                for one in there:
                    one.kill()
                return
            time.sleep(0.05)
        tally.longest_stay_s = max(tally.longest_stay_s, time.monotonic() - started_s)

    def look_for_files(self, tally: Tally) -> None:
        """Note temporary files and folders that are there although a command has ended since.

        A folder that holds nothing was killed before its lock was taken; it is cleared when it is
        a minute old.
        """
        for path in self.temporary.glob("sdperf-*"):
            if not path.is_dir() or any(not one.name.endswith(".new") for one in path.iterdir()):
                tally.left.append(f"temporary {path.name}")
        for path in self.folder.rglob("*.tmp"):
            tally.left.append(f"file {path.relative_to(self.folder)}")

    def _list_processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                is_marked = process.environ().get(MARK) == self._mark
                if is_marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found
