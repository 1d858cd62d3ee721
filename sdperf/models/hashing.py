"""The identity of a model: a hash over names and contents, remembered between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_MEMORY_NAME: Final = "file-hashes.json"
_SETTLED_NS: Final = 2_000_000_000
"""Seconds: a younger file could change again within one tick of the file system's clock."""


def default_cache_dir() -> Path | None:
    """Return the folder of caches; ``None`` where the user has no home.

    ``SDPERF_CACHE`` names it, else it is in ``XDG_CACHE_HOME`` or in the system's cache folder.
    """
    own = os.environ.get("SDPERF_CACHE")
    if own and Path(own).is_absolute():
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "sdperf"
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "sdperf"
        return Path.home() / ".cache" / "sdperf"
    except RuntimeError:
        return None


def compute_model_hash(folder: Path, names: Iterable[str], cache_dir: Path | None) -> str:
    """Hash the relative names and contents of a model's files.

    A file's hash is remembered under its path, size and both of its times, so that gigabytes
    are read once. Where the memory cannot be read or written, the files are read each time.

    Args:
        folder: The model's folder.
        names: Its files, relative.
        cache_dir: Where hashes are remembered; ``None`` remembers none.

    Returns:
        64 hexadecimal digits (SHA-256).

    Raises:
        OSError: A file cannot be read.
    """
    files = sorted(names)
    total = hashlib.sha256()
    digests = compute_file_hashes([folder / name for name in files], cache_dir)
    for digest, name in zip(digests, files, strict=True):
        total.update(os.fsencode(f"{digest} {name}\n"))
    return total.hexdigest()


def combine_hashes(digests: Iterable[str]) -> str:
    """Hash several hashes, in order: the identity of a model that has several parts. Pure.

    Args:
        digests: Hexadecimal digits of each.
    """
    return hashlib.sha256(" ".join(digests).encode("ascii")).hexdigest()


def compute_file_hashes(paths: Sequence[Path], cache_dir: Path | None) -> list[str]:
    """Hash the contents of files; see `compute_model_hash`.

    Args:
        paths: The files.
        cache_dir: Where hashes are remembered; ``None`` remembers none.

    Returns:
        64 hexadecimal digits (SHA-256) of each.

    Raises:
        OSError: A file cannot be read.
    """
    memory_path = None if cache_dir is None else cache_dir / _MEMORY_NAME
    remembered = {} if memory_path is None else _read_memory(memory_path)
    learned: dict[str, str] = {}
    digests = []
    for path in (one.resolve() for one in paths):
        key, settled = _stamp(path)
        digest = remembered.get(key)
        if digest is None:
            digest = _hash_file(path)
            if settled and _stamp(path)[0] == key:
                learned[key] = digest
        digests.append(digest)
    if memory_path is not None and learned:
        with contextlib.suppress(OSError):
            _write_memory(memory_path, {**_read_memory(memory_path), **learned})
    return digests


def _stamp(path: Path) -> tuple[str, bool]:
    status = path.stat()
    key = f"{path}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"
    newest_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    return key, time.time_ns() - newest_ns > _SETTLED_NS


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_memory(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {
        key: digest
        for key, digest in document.items()
        if isinstance(digest, str) and len(digest) == 64
    }


def _write_memory(path: Path, memory: dict[str, str]) -> None:
    known = {key: digest for key, digest in memory.items() if Path(key.split("|")[0]).exists()}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(known, file, indent=0, sort_keys=True)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
