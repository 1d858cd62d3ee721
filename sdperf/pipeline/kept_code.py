"""Where compiled code is kept for the next session, which executes what it finds there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sdperf
from sdperf.errors import ConfigurationError
from sdperf.models.hashing import default_cache_dir

_COMPILED: Final = "compiled"
_OURS: Final = re.compile(r"sdperf-[\w.+!]+-torch-[\w.+]+(-\w+-[0-9a-f]{8})?")
"""Names of folders that this module makes or made, and may therefore remove."""

_UNUSED_DAYS: Final = 30
_DAY_S: Final = 86_400
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_ROOT: Final = 0

_CPU_INFO: Final = Path("/proc/cpuinfo")
_CPU_FACTS: Final = (
    *("vendor_id", "cpu family", "model", "model name", "flags"),
    *("CPU implementer", "CPU variant", "CPU part", "Features"),
)
"""What of Linux's ``/proc/cpuinfo`` says what code a processor runs: x86's names, and Arm's."""

_INDUCTOR, _TRITON = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"

_before: dict[str, str | None] = {}
_cleaned: set[Path] = set()


def keep_compiled_code() -> Path:
    """Let torch's compiler keep its code in this user's cache folder until `stop_keeping_code`.

    What lies there is executed by the next session that finds it. So the folder is this user's,
    and nobody else but root can write there or put another in its place: all folders on the way
    to it are looked at. Each version of sdperf and torch has its own on each kind of processor: of
    that torch's key has only the width of its vectors, while C++ is compiled for all it can. Within
    it torch looks code up by source, shapes, settings and GPU. Code of other versions goes once it
    was not used for a month.

    Returns:
        The folder.

    Raises:
        ConfigurationError: There is none that can be trusted.
    """
    import torch

    cache = default_cache_dir()
    if cache is None:
        raise ConfigurationError(
            "there is no folder to keep compiled code in", hint="set SDPERF_CACHE or HOME"
        )
    folder = cache
    try:
        _make(cache)
        *way, real = _list_way(cache)
        kept = real / _COMPILED
        versions = f"sdperf-{sdperf.__version__}-torch-{torch.__version__}"
        folder = kept / f"{versions}-{_name_processor()}"
        for one in (kept, folder):
            one.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        for one in way:
            _refuse_on_the_way(one)
        for one in (real, kept, folder):
            _refuse_untrusted(one)
        os.utime(folder)
    except OSError as error:
        raise ConfigurationError(
            f"no compiled code can be kept in {folder}",
            got=error.strerror or str(error),
            hint="leave kept_code out, or point SDPERF_CACHE to another folder",
        ) from error
    if kept not in _cleaned:
        _cleaned.add(kept)
        _drop_unused(kept, folder)
    # Triton's would otherwise be the environment's, or that of the case before.
    for name, value in {_INDUCTOR: folder, _TRITON: folder / "triton"}.items():
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = str(value)
    return folder


def stop_keeping_code() -> None:
    """Let torch's compiler keep its code where it did before `keep_compiled_code`."""
    for name, value in _before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    _before.clear()


def _make(folder: Path) -> None:
    """Make a folder and those that it lies in for this user alone, where they are missing."""
    for one in (*reversed(folder.parents), folder):
        one.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def _list_way(path: Path) -> list[Path]:
    """List the folders and links that a path leads through, from the root to its real folder."""
    here = Path(path.anchor)
    way, left = [here], list(path.parts[1:])
    while left:
        part = left.pop(0)
        if part == "..":
            here = here.parent
            continue
        step = here / part
        way.append(step)
        if not step.is_symlink():
            here = step
            continue
        target = step.readlink()
        left = [*target.parts[bool(target.anchor) :], *left]
        here = Path(target.anchor) if target.anchor else here
    return [*way, here]


def _refuse_on_the_way(one: Path) -> None:
    """Refuse a folder or link by which another user could lead the path elsewhere."""
    found = one.lstat()
    if found.st_uid not in (_ROOT, os.getuid()):
        raise _distrust(one, "it is another user's", _ELSEWHERE)
    is_open = bool(found.st_mode & _WRITABLE_BY_OTHERS) and not found.st_mode & stat.S_ISVTX
    if is_open and not stat.S_ISLNK(found.st_mode):
        raise _distrust(one, "others can write there", _close(one, found))


def _refuse_untrusted(folder: Path) -> None:
    """Refuse a folder that is not this user's alone."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _distrust(
            folder, "it is not a folder", f"remove it (a link may stand for all of {folder.parent})"
        )
    if found.st_uid != os.getuid():
        raise _distrust(folder, "it is another user's", _ELSEWHERE)
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise _distrust(folder, "others can write there", _close(folder, found))


_ELSEWHERE: Final = "point SDPERF_CACHE to a folder of yours"


def _close(folder: Path, found: os.stat_result) -> str:
    return f"chmod go-w {folder}" if found.st_uid == os.getuid() else _ELSEWHERE


def _distrust(folder: Path, got: str, hint: str) -> ConfigurationError:
    return ConfigurationError(
        f"kept code could be another's, and would be executed: {folder} cannot be trusted",
        got=got,
        expected="a folder of yours, to which and on the way to which only you and root can write",
        hint=f"{hint}, or leave kept_code out",
    )


def _name_processor() -> str:
    facts = "\n".join(_read_processor()) or platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def _read_processor() -> Iterator[str]:
    """Read what the first processor can; outside Linux there is no such file."""
    with contextlib.suppress(OSError), _CPU_INFO.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.strip():
                return
            if line.partition(":")[0].strip() in _CPU_FACTS:
                yield line.strip()


def _drop_unused(kept: Path, used: Path) -> None:
    """Remove old folders of ours; another session may do the same at the same time."""
    with contextlib.suppress(OSError):
        for one in list(kept.iterdir()):
            if one != used and _OURS.fullmatch(one.name):
                with contextlib.suppress(OSError):
                    found = one.lstat()
                    age_s = time.time() - found.st_mtime
                    if stat.S_ISDIR(found.st_mode) and age_s > _UNUSED_DAYS * _DAY_S:
                        shutil.rmtree(one, ignore_errors=True)
