"""Finds and removes what a killed process left behind.

A temporary folder has a lock file that its process keeps locked. The system releases the lock when
the process ends in any way, so a folder whose lock can be taken belongs to nobody. Child processes
watch their parent and end with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sdperf.folders import list_folder, try_lock

PREFIX: Final = "sdperf-"
EXIT_ORPHANED: Final = 113
"""Exit code of a child process whose parent has ended."""

_LOCK: Final = ".sdperf-lock"
_NOTES: Final = ".sdperf-notes"
_BEGINNING_S: Final = 60.0


@contextlib.contextmanager
def temporary_folder(kind: str) -> Iterator[Path]:
    """Make a temporary folder that is removed afterwards, or by the next command after a kill.

    Args:
        kind: The second word of its name, after ``sdperf-``.

    Raises:
        OSError: The folder cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-"))
    try:
        with (folder / f"{_LOCK}.new").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{_LOCK}.new").rename(folder / _LOCK)  # never seen without its lock held
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def note_leftover(folder: Path, *words: str) -> None:
    """Note what has to be undone in other places before a temporary folder is removed.

    Args:
        folder: A folder from `temporary_folder`.
        words: The note that `sweep` passes on.
    """
    with (folder / _NOTES).open("a", encoding="utf-8") as notes:
        notes.write(json.dumps(words) + "\n")


def sweep(
    undo: Callable[[list[str]], None] = lambda _: None, *, kind: str = "", root: Path | None = None
) -> int:
    """Remove the temporary folders of this user that no living process holds.

    Args:
        undo: Called with each note of a folder before it is removed.
        kind: The kind given to `temporary_folder`; empty for all.
        root: Their parent folder; ``None`` is the system's temporary folder.

    Returns:
        How many folders were removed.
    """
    removed = 0
    for folder in list_folder(Path(tempfile.gettempdir()) if root is None else root):
        if not folder.name.startswith(PREFIX + kind) or not _is_ours(folder):
            continue
        with contextlib.suppress(OSError):
            _remove_unbegun(folder)
        with contextlib.suppress(OSError), (folder / _LOCK).open(encoding="utf-8") as lock:
            if try_lock(lock, fcntl.LOCK_EX):
                for note in _read_notes(folder):
                    undo(note)
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def leave_with_parent() -> None:
    """End this process as soon as its parent has ended, also by ``kill -9``."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(EXIT_ORPHANED)

    threading.Thread(target=watch, name="sdperf-parent-watch", daemon=True).start()


def _remove_unbegun(folder: Path) -> None:
    """Remove a folder whose process was killed before it took the lock: it holds nothing else."""
    names = {path.name for path in folder.iterdir()}
    if names <= {f"{_LOCK}.new"} and time.time() - folder.lstat().st_mtime > _BEGINNING_S:
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder is real and belongs to this user; others can make folders there too."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return False


def _read_notes(folder: Path) -> list[list[str]]:
    """Read a folder's notes, without a last line that a kill cut short."""
    notes = []
    with contextlib.suppress(OSError):
        for line in (folder / _NOTES).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                notes.append([str(word) for word in json.loads(line)])
    return notes
