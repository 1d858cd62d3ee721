"""Atomic files: a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

_FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)
"""The command of ``fcntl`` that waits until bytes are on the medium. On a Mac ``fsync`` hands them
to the drive only, which may keep them in its memory for a while. ``None`` on other systems, where
``fsync`` waits for the medium itself."""

_GITIGNORE: Final = b"# Made by sdperf: its own files.\n*\n"
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def sync_to_disk(descriptor: int) -> None:
    """Wait until the bytes written to an open file are on the medium.

    Raises:
        OSError: The bytes cannot be written to the medium.
    """
    if _FULL_SYNC is not None:
        with contextlib.suppress(OSError):  # network and foreign file systems have no such command
            fcntl.fcntl(descriptor, _FULL_SYNC)
            return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the medium, as far as its file system can tell.

    A file's content may be safe while its name is not: after a loss of power the file would be
    gone.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems refuse to sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file so that it appears whole or not at all, even when killed or out of space.

    The folder is made when missing, and the umask decides who may read the file. The bytes reach
    the disk before the name does, and the name does before this returns. A device or a pipe, such
    as ``/dev/stdout``, is written to and never replaced.

    Args:
        path: The file.
        content: The new content.
        mode: Who may read and write it, as in ``st_mode``; ``None`` leaves it to the umask.

    Raises:
        OSError: The folder cannot be made or written.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            stream.write(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _open_temporary(path)
    try:
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            sync_to_disk(file.fileno())
            temporary.replace(path)  # while its lock is held
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def _open_temporary(path: Path) -> tuple[int, Path]:
    """Open a new file beside a path, and lock it.

    Its name is always the same, so that the next writer of the path replaces the file of a killed
    process. Where two processes write at the same time, the second takes a random name.

    Raises:
        OSError: The file cannot be made.
    """
    usual = path.parent / f".{path.name[:100]}.tmp"
    _remove_abandoned(usual)
    with contextlib.suppress(FileExistsError):
        handle = os.open(usual, _CREATE, 0o666)  # minus the umask
        if _try_lock(handle) and _is_named(handle, usual):
            return handle, usual
        os.close(handle)  # another writer took it for abandoned
    chance = path.parent / f".{path.name[:100]}.{secrets.token_hex(8)}.tmp"
    return os.open(chance, _CREATE, 0o666), chance


def _remove_abandoned(path: Path) -> None:
    """Remove a temporary file that no process holds."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _try_lock(handle) and _is_named(handle, path):
                path.unlink()
        finally:
            os.close(handle)


def _try_lock(handle: int) -> bool:
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _is_named(handle: int, path: Path) -> bool:
    """Tell whether an open file still has a name."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False


def is_spelt_in_utf8(text: str) -> bool:
    """Tell whether a text can be written as UTF-8; some bytes of file names cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_text(text: str) -> bytes:
    """Return a text as UTF-8; bytes of file names that are not UTF-8 are written as escapes.

    Python keeps such bytes as lone surrogates, which cannot be encoded.
    """
    return text.encode("utf-8", "backslashreplace")


def keep_out_of_git(folder: Path) -> None:
    """Make git ignore sdperf's own folder.

    Raises:
        OSError: The folder cannot be written.
    """
    path = folder / ".gitignore"
    if not path.exists():
        write_atomically(path, _GITIGNORE)
