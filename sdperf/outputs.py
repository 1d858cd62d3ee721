"""Checks before measuring that all outputs can be written: folders, files, room.

It tries to write and does not read permissions: root may write without permission, and nobody may
write to a file system that is mounted read-only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.units import format_bytes

LEAST_FREE_BYTES: Final = 32 * 2**20
"""Free bytes that a disk needs: for pictures of some hundred kilobytes each, records, a report."""

_PROBE: Final = bytes(4096)


@dataclass(frozen=True)
class Output:
    """A file or folder that a command writes.

    Attributes:
        what: The option that asks for it, or other words.
        path: The file or folder.
        is_folder: Whether ``path`` is the folder that files are written into.
    """

    what: str
    path: Path
    is_folder: bool = False


def check_outputs(
    outputs: Iterable[Output],
    least_free_bytes: int | None = None,
    undone: str = "nothing was measured",
) -> None:
    """Check before measuring that all outputs can be written.

    Args:
        outputs: The outputs.
        least_free_bytes: Free bytes that each disk needs; ``None`` is `LEAST_FREE_BYTES`.
        undone: What the command has not done, for the message.

    Raises:
        ConfigurationError: A folder or a file cannot be written, or its disk is full.
    """
    least_free_bytes = LEAST_FREE_BYTES if least_free_bytes is None else least_free_bytes
    checked = set()
    for output in outputs:
        if not output.is_folder and output.path.exists():
            if not output.path.is_file() and not output.path.is_dir():
                continue  # a device or a pipe
            _check_file(output.what, output.path, undone)
        folder = _find_existing(output.path if output.is_folder else output.path.parent)
        if folder not in checked:
            _check_folder(output.what, folder, least_free_bytes, undone)
            checked.add(folder)


def check_result(
    option: str, path: Path, *, is_folder: bool = False, undone: str = "nothing was written"
) -> None:
    """Check before a command works that its result can be written.

    Folders that are missing may be made, and how large the result will be is not known.

    Args:
        option: The option that names it.
        path: The file, or the folder that files are written into.
        is_folder: Whether it is the folder.
        undone: What the command has not done, for the message.

    Raises:
        ConfigurationError: It cannot be written, or its disk has no room at all.
    """
    check_outputs([Output(option, path.absolute(), is_folder)], least_free_bytes=0, undone=undone)


def list_temporary_folders() -> Iterator[Output]:
    """List the folder of temporary files, where ``TMPDIR`` names one.

    Python silently uses another folder where that one cannot be written.
    """
    temporary = os.environ.get("TMPDIR")
    if temporary:
        yield Output("TMPDIR, the folder of temporary files", Path(temporary), is_folder=True)


def _find_existing(folder: Path) -> Path:
    for one in (folder, *folder.parents):
        if one.exists():
            return one
    return folder


def _check_file(what: str, path: Path, undone: str) -> None:
    try:
        path.open("ab").close()
    except OSError as error:
        raise _refuse(what, path, error, undone) from error


def _check_folder(what: str, folder: Path, least_free_bytes: int, undone: str) -> None:
    """Write a small nameless file there, and check the free space."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:  # killed, it leaves no name
            file.write(_PROBE)
            os.fsync(file.fileno())
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise _refuse(what, folder, error, undone) from error
    if free_bytes < least_free_bytes:
        raise ConfigurationError(
            f"{what}: the disk of {folder} is nearly full",
            got=f"{format_bytes(free_bytes)} free",
            expected=f"{format_bytes(least_free_bytes)} or more",
            hint=f"free some space; {undone}",
        )


def _refuse(what: str, path: Path, error: OSError, undone: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what}: {path} cannot be written",
        got=error.strerror or str(error),
        expected="a folder that can be written and has room",
        hint=f"choose another place, or free some space; {undone}",
    )
