"""What is made sure of before anything is measured: that everything can be written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdperf.errors import ConfigurationError
from sdperf.units import format_bytes

if TYPE_CHECKING:
    from sdperf.plugin.options import Settings

LEAST_FREE_BYTES: Final = 32 * 2**20
"""Room that a disk has to have: pictures of some hundred kilobytes each, records, a report."""

_PROBE: Final = bytes(4096)


def check_writable(settings: Settings, host: Any, root: Path) -> None:
    """Make sure that everything that will be written can be, before anything is measured.

    Args:
        settings: The options.
        host: pytest-benchmark's session; ``None`` without one.
        root: pytest's root folder.

    Raises:
        ConfigurationError: A folder cannot be written, or its disk is full.
    """
    checked = set()
    for what, path, is_folder in list_outputs(settings, host, root):
        folder = path if is_folder else path.parent
        if not is_folder and path.exists():
            if not path.is_file() and not path.is_dir():
                continue  # a device or a pipe
            _check_file(what, path)
        folder = _find_existing(folder)
        if folder not in checked:
            _check_folder(what, folder)
            checked.add(folder)


def list_outputs(settings: Settings, host: Any, root: Path) -> Iterator[tuple[str, Path, bool]]:
    """List what a session writes: what asks for it, where, and whether that is a folder."""
    yield "the session's own folder", root / ".sdperf", True
    for option in ("html", "markdown", "trace"):
        path = getattr(settings, option)
        if path is not None:
            yield f"--sd-{option}", path, False
    history = settings.history
    if history and "://" not in history:
        yield "--sd-history", Path(history).expanduser().absolute(), False
    if host is not None and host.json:
        yield "--benchmark-json", Path(host.json).absolute(), False
    if host is not None and (host.save or host.autosave) and hasattr(host.storage, "path"):
        option = "--benchmark-save" if host.save else "--benchmark-autosave"
        yield option, Path(host.storage.path).absolute(), True
    temporary = os.environ.get("TMPDIR")
    if temporary:
        yield "TMPDIR, the folder of temporary files", Path(temporary), True


def _find_existing(folder: Path) -> Path:
    for one in (folder, *folder.parents):
        if one.exists():
            return one
    return folder


def _check_file(what: str, path: Path) -> None:
    try:
        path.open("ab").close()
    except OSError as error:
        raise _refuse(what, path, error) from error


def _check_folder(what: str, folder: Path) -> None:
    """Write a small file there and remove it again; look at what room is left."""
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".sdperf-probe-")
        try:
            os.write(handle, _PROBE)
            os.fsync(handle)
        finally:
            os.close(handle)
            Path(name).unlink()
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise _refuse(what, folder, error) from error
    if free_bytes < LEAST_FREE_BYTES:
        raise ConfigurationError(
            f"{what}: the disk of {folder} is nearly full",
            got=f"{format_bytes(free_bytes)} free",
            expected=f"{format_bytes(LEAST_FREE_BYTES)} or more",
            hint="free some space; nothing was measured",
        )


def _refuse(what: str, path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{what}: {path} cannot be written",
        got=error.strerror or str(error),
        expected="a folder that can be written and has room",
        hint="choose another place, or free some space; nothing was measured",
    )
