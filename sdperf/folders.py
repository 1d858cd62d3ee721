"""Folders that several processes share: their locks, and their content."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Final

POLL_S: Final = 0.2


def open_lock(path: Path) -> IO[str]:
    """Open a lock file as it is, to read and to append; it is made when missing.

    Its bytes stay until it is locked, and no link in its place is followed: the file that a link
    leads to is not ours to write.

    Raises:
        OSError: It is a link, or cannot be opened.
    """

    def open_itself(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o666)  # minus the umask

    return open(path, "a+", encoding="utf-8", opener=open_itself)


def wait_for_lock(
    lock: IO[str],
    operation: int,
    *,
    on_wait: Callable[[], None],
    wait_s: Callable[[float], None],
) -> None:
    """Take a lock, and wait while another process has it; ended processes release their locks.

    Args:
        lock: The open lock file.
        operation: ``fcntl.LOCK_EX`` or ``fcntl.LOCK_SH``.
        on_wait: Called once, when there is something to wait for.
        wait_s: Waits a number of seconds.
    """
    said = False
    while not try_lock(lock, operation):
        if not said:
            on_wait()
            said = True
        wait_s(POLL_S)


def try_lock(lock: IO[str], operation: int) -> bool:
    """Take a lock if no other process has it; tell whether it was taken."""
    try:
        fcntl.flock(lock, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def list_folder(folder: Path) -> list[Path]:
    """List the entries of a folder, sorted; empty where it does not exist."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def measure_bytes(folder: Path) -> int:
    """Sum the sizes of all files below a folder."""
    size_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size_bytes += (Path(root) / name).lstat().st_size
    return size_bytes


def remove_unused(
    folders: Iterable[Path],
    open_lock: Callable[[Path], IO[str]],
    remove: Callable[[Path], None],
) -> tuple[int, list[Path]]:
    """Remove the folders whose locks no process holds.

    Args:
        folders: All of them.
        open_lock: Opens a folder's lock file.
        remove: Removes a folder.

    Returns:
        Bytes that were freed, and the folders that are in use and were kept.
    """
    freed, kept = 0, []
    for folder in folders:
        with open_lock(folder) as lock:
            if try_lock(lock, fcntl.LOCK_EX):
                size_bytes = measure_bytes(folder)
                remove(folder)
                freed += size_bytes
            else:
                kept.append(folder)
    return freed, kept


def remove_marked(folder: Path, marker: str) -> None:
    """Remove a folder, first its marker, so that a folder left by a kill does not count.

    Raises:
        OSError: The folder cannot be removed.
    """
    (folder / marker).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def suggest_runs() -> str:
    """Say where saved runs lie in this folder, or how to make one."""
    places = [name for name in (".sdperf", ".benchmarks") if Path(name).is_dir()]
    if places:
        return f"name a file that exists; ls {' '.join(places)} shows saved runs"
    return "name a file that exists; pytest benchmarks makes a run in this folder"
