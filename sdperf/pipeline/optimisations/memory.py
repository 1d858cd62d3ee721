"""What the C library does with memory that is freed: give it back to the system, or keep it."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from typing import Any, Final

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import OPTIMISATIONS, check_library, find_c_library

_NAME: Final = "keep_freed_memory"

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of `mallopt`, as glibc's ``malloc.h`` numbers them."""

_MOST: Final = 2**31 - 1
_PAD_BYTES: Final = 64 * 2**20
"""What a heap of a thread reaches at most: less than this is left of it, so it is never removed."""

_KEPT: Final = ((_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _PAD_BYTES), (_MMAP_MAX, 0))
_GIVEN_BACK: Final = ((_TRIM_THRESHOLD, 128 * 1024), (_TOP_PAD, 0), (_MMAP_MAX, 65536))
"""glibc's own values."""

_PROBE_BYTES: Final = 8 * 2**20


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    ]


def keep_freed_memory() -> None:
    """Let the C library keep all that the process frees, for its next tensors.

    Of each tensor that is freed glibc may hand the pages back, and the next one's are then made and
    cleared by the system page by page.

    Raises:
        ConfigurationError: The C library is another one, or another allocator is in its place.
    """
    check_library([_NAME], find_c_library())
    library = ctypes.CDLL(None)
    if not all(library.mallopt(parameter, value) for parameter, value in _KEPT):
        raise _refuse("glibc's mallopt takes no such values")
    if not _takes_effect(library):
        give_freed_memory_back([_NAME])
        raise _refuse("another allocator in its place, perhaps preloaded")


def give_freed_memory_back(names: Collection[str]) -> None:
    """Put glibc's own values back and hand over what was kept.

    Args:
        names: Optimisations that were on; without this one there is nothing to put back.
    """
    if _NAME not in names or find_c_library() != OPTIMISATIONS[_NAME].library:
        return
    library = ctypes.CDLL(None)
    for parameter, value in _GIVEN_BACK:
        library.mallopt(parameter, value)
    library.malloc_trim(0)


def _takes_effect(library: Any) -> bool:
    """Tell whether a large block comes out of glibc's heaps, and not from the system.

    True before glibc 2.33, which cannot say.
    """
    if not hasattr(library, "mallinfo2"):
        return True
    library.mallinfo2.restype = _Mallinfo2
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    before = library.mallinfo2()
    block = library.malloc(_PROBE_BYTES)
    after = library.mallinfo2()
    library.free(block)
    is_in_a_heap: bool = after.uordblks - before.uordblks >= _PROBE_BYTES
    return is_in_a_heap and after.hblks <= before.hblks


def _refuse(got: str) -> ConfigurationError:
    return ConfigurationError(
        f"{_NAME} cannot be used here: it sets how glibc's allocator keeps memory",
        got=got,
        expected="glibc's own allocator",
        hint=f"leave {_NAME} out, or run without LD_PRELOAD",
    )
