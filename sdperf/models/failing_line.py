"""Finds the line that an error comes from: a line of the user, else the last line."""

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
    """Return where an error was raised: file, line, function and the text of the line.

    It is the last line of the user's own code on the way to the error: not of an installed package,
    of Python's library or of sdperf.

    Args:
        error: The caught error.
        last: Whether to return the last line of all where no line is the user's.

    Returns:
        A text such as ``mine.py:12 in make: weights["unet"]``; ``None`` where there is no such
        line.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)]
    if not own and not last:
        return None
    chosen = (own or frames)[-1:]
    return _format_frame(chosen[0]) if chosen else None


@contextlib.contextmanager
def failures_explained() -> Iterator[None]:
    """Turn any error of a pipeline into one that can be sent to another process."""
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
