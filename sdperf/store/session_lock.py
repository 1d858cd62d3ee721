"""The lock that allows one session or comparison per folder, and its owner."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from sdperf.errors import ConfigurationError
from sdperf.folders import open_lock, try_lock

LOCK_FILE: Final = "session.lock"


@dataclass
class FolderLock:
    """The lock of a folder in which one session at a time measures.

    The system releases the lock when its process ends, in any way; the next process takes over the
    file of a killed one.

    Attributes:
        file: The open lock file.
    """

    file: IO[str]

    @classmethod
    def take(cls, folder: Path) -> FolderLock:
        """Take the lock.

        Args:
            folder: The folder ``.sdperf``, which is made when missing.

        Raises:
            ConfigurationError: Another session has the lock.
            OSError: The folder cannot be written, or a link lies in the place of the lock.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOCK_FILE
        file = open_lock(path)
        try:
            if not try_lock(file, fcntl.LOCK_EX):
                file.seek(0)
                raise ConfigurationError(
                    "another session measures in this folder: two at once would disturb each other",
                    got=_describe_owner(file.read(500)),
                    expected="one session at a time",
                    hint="wait for it to end, or end it",
                )
            if not _is_still_there(file, path):
                file.close()
                return cls.take(folder)
            file.seek(0)
            file.truncate()
            owner = {
                "pid": os.getpid(),
                "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            file.write(json.dumps(owner) + "\n")
            file.flush()
        except BaseException:
            file.close()
            raise
        return cls(file)

    def release(self) -> None:
        """Release the lock, and leave no file behind."""
        path = Path(self.file.name)
        with contextlib.suppress(OSError):
            self.file.truncate(0)
        with contextlib.suppress(OSError, ValueError):
            if _is_still_there(self.file, path):
                path.unlink()  # while it is locked: another process that opened it opens it again
        with contextlib.suppress(OSError):
            self.file.close()


def _is_still_there(file: IO[str], path: Path) -> bool:
    """Tell whether an open file still has its name: its last owner may have removed it."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _describe_owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {int(owner['pid'])}, since {str(owner['started_at'])[:40]!r}"
    except (ValueError, TypeError, KeyError):
        return "a process that did not say which it is"
