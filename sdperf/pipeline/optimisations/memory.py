"""What the C library does with memory that is freed: give it back to the system, or keep it.

A process that kept it once is never as it was. Until any of these values is set glibc moves its
own ones with the blocks that are freed, or takes them from ``GLIBC_TUNABLES``; setting one stops
both for good, and it cannot be asked what they were. So such a process is for cases that keep
freed memory, and others take a new one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import check_library, find_c_library
from sdperf.settings import IN_PROCESS

_NAME: Final = "keep_freed_memory"

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of `mallopt`, as glibc's ``malloc.h`` numbers them."""

_MOST: Final = 2**31 - 1
_PAD_BYTES: Final = 64 * 2**20
"""What a heap of a thread reaches at most: less than this is left of it, so it is never removed."""

_KEPT: Final = ((_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _PAD_BYTES), (_MMAP_MAX, 0))
_GIVEN_BACK: Final = ((_TRIM_THRESHOLD, 128 * 1024), (_TOP_PAD, 0), (_MMAP_MAX, 65536))
"""The values that glibc starts with."""

_PROBE_BYTES: Final = 8 * 2**20
_PROBE_STEP_BYTES: Final = 20_480
_SLACK_BYTES: Final = 4096
_PROBES, _ENOUGH = 32, 3


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    ]


@dataclass
class _Process:
    """What was done to this process; both stay true when the next pipeline is loaded."""

    keeps: bool = False
    was_changed: bool = False


_process = _Process()


def changes_process(names: Collection[str]) -> bool:
    """Tell whether optimisations change their process for good."""
    return _NAME in names


def refuse_changed_process(names: Collection[str]) -> None:
    """Refuse to load a case into a process that an earlier one changed for good.

    Args:
        names: Optimisations of the case.

    Raises:
        ConfigurationError: An earlier case kept freed memory here, and this one would not.
    """
    if _process.was_changed and not changes_process(names):
        raise ConfigurationError(
            f"an earlier case of this process used {_NAME}, which cannot be undone",
            got="glibc's allocator with fixed thresholds",
            expected="a process in which glibc's allocator is as it started",
            hint=f"leave {IN_PROCESS} out, or give cases with {_NAME} a session of their own",
        )


def keep_freed_memory() -> None:
    """Let the C library keep all that the process frees, for its next tensors.

    Of each tensor that is freed glibc may hand the pages back, and the next one's are then made and
    cleared by the system page by page.

    Raises:
        ConfigurationError: The C library is another one, or another allocator is in its place.
    """
    check_library([_NAME], find_c_library())
    library = ctypes.CDLL(None)
    _process.keeps = _process.was_changed = True
    if not all(library.mallopt(parameter, value) for parameter, value in _KEPT):
        give_freed_memory_back()
        raise _refuse("glibc's mallopt takes no such values")
    if not _takes_effect(library):
        give_freed_memory_back()
        raise _refuse("another allocator in its place, perhaps preloaded")


def give_freed_memory_back() -> None:
    """Hand over what was kept, if anything is, and set the values that glibc starts with.

    They no longer move as they did; see `refuse_changed_process`.
    """
    if not _process.keeps:
        return
    _process.keeps = False
    library = ctypes.CDLL(None)
    for parameter, value in _GIVEN_BACK:
        library.mallopt(parameter, value)
    library.malloc_trim(0)


def _takes_effect(library: Any) -> bool:
    """Tell whether a large block comes out of glibc's heaps, and not from the system.

    glibc counts what all threads have in its heaps. Another thread that takes or frees memory
    meanwhile spoils a reading, so several are taken, of blocks of different sizes, and only those
    count that moved by the size of the block. True before glibc 2.33, which cannot say.
    """
    if not hasattr(library, "mallinfo2"):
        return True
    library.mallinfo2.restype = _Mallinfo2
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    found = 0
    for probe in range(_PROBES):
        size_bytes = _PROBE_BYTES + probe * _PROBE_STEP_BYTES
        before = library.mallinfo2()
        block = library.malloc(size_bytes)
        after = library.mallinfo2()
        library.free(block)
        moved_bytes = after.uordblks - before.uordblks
        found += size_bytes <= moved_bytes < size_bytes + _SLACK_BYTES
        if found == _ENOUGH:
            return True
    return False


def _refuse(got: str) -> ConfigurationError:
    return ConfigurationError(
        f"{_NAME} cannot be used here: it sets how glibc's allocator keeps memory",
        got=got,
        expected="glibc's own allocator",
        hint=f"leave {_NAME} out, or run without LD_PRELOAD",
    )
