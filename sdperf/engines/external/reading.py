"""Reading files that others wrote: regular ones only, and never more than a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, most_bytes: int, *, may_be_link: bool = False) -> bytes:
    """Read the beginning of a regular file; a pipe or a folder is never waited for.

    Args:
        path: Of the file.
        most_bytes: How much is read.
        may_be_link: Whether a link to such a file will do.

    Raises:
        OSError: There is no such file, or it is something else.
    """
    link = 0 if may_be_link else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | link)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes)
    finally:
        os.close(descriptor)
