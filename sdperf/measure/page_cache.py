"""Reads how much of a model's files is in the page cache, which decides how fast it loads."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sdperf.record.measurement import CacheState

WARM_SHARE: Final = 0.95
COLD_SHARE: Final = 0.05


def describe_page_cache(files: Iterable[Path]) -> CacheState | None:
    """Tell whether files are in the system's page cache; ``None`` where it is unknown.

    The files are not read: their pages are mapped but not touched.
    """
    resident = pages = 0
    for path in files:
        counted = _count_resident(path)
        if counted is None:
            return None
        resident, pages = resident + counted[0], pages + counted[1]
    if not pages:
        return None
    share = resident / pages
    return "warm" if share >= WARM_SHARE else "cold" if share <= COLD_SHARE else "partly"


def describe_compile_cache() -> CacheState:
    """Tell whether torch's compiler has a cache on this machine: warm, else cold."""
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    user = os.environ.get("USER") or "root"
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"torchinductor_{user}"
    with contextlib.suppress(OSError):
        if any(folder.iterdir()):
            return "warm"
    return "cold"


def _count_resident(path: Path) -> tuple[int, int] | None:
    """Return resident pages and pages of a file; ``None`` where the system does not tell."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        mincore = libc.mincore
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return 0, 0
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
                pages = -(-size // mmap.PAGESIZE)
                states = (ctypes.c_ubyte * pages)()
                start = ctypes.c_char.from_buffer(mapped)
                try:
                    failed = mincore(
                        ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), states
                    )
                finally:
                    del start
    except (OSError, AttributeError, ValueError, TypeError):
        return None
    return None if failed else (sum(state & 1 for state in states), pages)
