"""Footprint and disk traffic of sdperf's own processes on macOS, directly from the kernel."""

from __future__ import annotations

import ctypes
import functools
from typing import Final

from sdperf.measure.resources.apple.apple_parsers import RUSAGE_V4, ProcessReading, parse_rusage

_LIBRARY: Final = "/usr/lib/libproc.dylib"
_RUSAGE_INFO_V4: Final = 4


def read_process_usage(pid: int) -> ProcessReading | None:
    """Call ``proc_pid_rusage``; ``None`` on other systems and for processes of other users."""
    library = _load_library()
    if library is None:
        return None
    buffer = ctypes.create_string_buffer(RUSAGE_V4.size)
    if library.proc_pid_rusage(pid, _RUSAGE_INFO_V4, buffer) != 0:
        return None
    return parse_rusage(buffer.raw)


@functools.cache
def _load_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
