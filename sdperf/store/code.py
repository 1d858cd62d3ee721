"""Computes one hash over all code that could take part in a measurement."""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

SUFFIXES: Final = frozenset(
    {
        ".py",
        ".pyx",
        ".so",
        ".pyd",
        ".dylib",
        ".c",
        ".cc",
        ".cpp",
        ".cu",
        ".cuh",
        ".h",
        ".hpp",
        ".m",
        ".mm",
        ".metal",
        ".toml",
        ".ini",
        ".cfg",
    }
)
"""Files that count as code or as its settings."""

SKIPPED: Final = frozenset({"__pycache__", "node_modules", "build", "dist"})
"""Folders without code of the user; folders that begin with a point are left out too."""

MOST_FILES: Final = 20_000
MOST_BYTES: Final = 512 * 2**20


def hash_code(places: Iterable[Path]) -> str | None:
    """Hash code: names and contents, in an order that does not depend on the file system.

    Virtual environments inside the folders are left out: the record's environment has the versions
    of packages.

    Args:
        places: Folders, and single files.

    Returns:
        The hash; ``None`` where there are more than `MOST_FILES` files or `MOST_BYTES` bytes, or
        where a file cannot be read.
    """
    digest = hashlib.sha256()
    files, size_bytes = 0, 0
    for place in sorted({place.resolve() for place in places}):
        folder = place if place.is_dir() else place.parent
        for path in _list_code(place) if place.is_dir() else [place]:
            try:
                content = path.read_bytes()
            except OSError:
                return None
            files, size_bytes = files + 1, size_bytes + len(content)
            if files > MOST_FILES or size_bytes > MOST_BYTES:
                return None
            name = os.fsencode(path.relative_to(folder))
            digest.update(b"%d:%s:%d:" % (len(name), name, len(content)))
            digest.update(content)
    return digest.hexdigest()


def locate_module(module: str, search_path: Sequence[str]) -> Path | None:
    """Return the place of a module's outermost package, without importing it.

    Args:
        module: Its dotted name.
        search_path: Folders to search, as in ``sys.path``.

    Returns:
        The package's folder, or the module's file; ``None`` where it cannot be found.
    """
    outermost = module.partition(".")[0]
    found = importlib.machinery.PathFinder.find_spec(outermost, list(search_path))
    if found is None or found.origin is None:
        return None
    path = Path(found.origin)
    return path.parent if path.stem == "__init__" else path


def _list_code(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in SKIPPED
            and not (Path(root) / name / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            path = Path(root) / name
            if path.suffix in SUFFIXES and path.is_file():
                yield path
