"""The line that an error comes from: the user's own, or else the last one of all."""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sdperf.errors import GenerationError, SdperfError

_PACKAGES: Final = ("site-packages", "dist-packages")
_SDPERF: Final = Path(__file__).resolve().parents[1]
_LIBRARY: Final = Path(sysconfig.get_path("stdlib")).resolve()
_LONGEST_LINE: Final = 120


def describe_failing_line(error: BaseException, *, last: bool = False) -> str | None:
    """Say where an error was raised: file, line, function and what is written there.

    The line is the last one of the user's own on the way to the error: of no installed package,
    not of Python's library and not of sdperf.

    Args:
        error: As it was caught.
        last: Where no line is the user's, name the last one of all instead.

    Returns:
        Such as ``mine.py:12 in make: weights["unet"]``; ``None`` where there is no such line.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)]
    if not own and not last:
        return None
    chosen = (own or frames)[-1:]
    return _format_frame(chosen[0]) if chosen else None


@contextlib.contextmanager
def failures_explained() -> Iterator[None]:
    """Turn whatever a pipeline raises into one error that crosses the process border whole."""
    try:
        yield
    except SdperfError:
        raise
    except (Exception, SystemExit) as error:  # a subject may call sys.exit
        kind = type(error).__name__
        is_out_of_memory = kind == "OutOfMemoryError" or "out of memory" in str(error).lower()
        if is_out_of_memory:
            raise GenerationError(
                "the device ran out of memory",
                got=f"{kind}: {error}",
                hint="use a smaller size, fewer workers or a 16-bit precision",
            ) from error
        line = describe_failing_line(error, last=True)
        raise GenerationError(
            "the pipeline failed",
            got=f"{kind}: {error}" if line is None else f"{kind}: {error} ({line})",
            hint="look at that line",
        ) from error


def _is_own(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    is_installed = any(name in path.parts for name in _PACKAGES)
    return not (is_installed or path.is_relative_to(_LIBRARY) or path.is_relative_to(_SDPERF))


def _format_frame(frame: traceback.FrameSummary) -> str:
    path = Path(frame.filename)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    line = " ".join((frame.line or "").split())[:_LONGEST_LINE]
    where = f"{path}:{frame.lineno} in {frame.name}"
    return f"{where}: {line}" if line else where
