"""Standard output and error that can fail without ending the program or its exit status.

A reader that went away (``| head``), a full disk, a stream that the shell closed (``>&-``): what is
measured and judged goes on, and the failure is known at the end.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CLEAR_LINE: Final = "\r\x1b[2K"
"""Goes back to the beginning of a terminal's line and empties it."""

_CODES: Final = {"bold": "1", "red": "31", "yellow": "33", "green": "32"}


def colour_text(text: str, *names: str) -> str:
    """Return a text with a terminal's codes for bold and colours; unknown names change nothing.

    Source: ECMA-48, select graphic rendition.
    """
    codes = [_CODES[name] for name in names if name in _CODES]
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes else text


_SPACES: Final = "\xa0\u202f\u2009"
"""Spaces between figures and units, which `str.isprintable` does not count."""

EXIT_LOST: Final = 2
"""Exit status of a command that did what it should and could not say it."""


class _TolerantFile(io.FileIO):
    """A file descriptor that takes every write, and remembers the first that failed."""

    failure: OSError | None = None
    is_closed_by_shell = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or drop what can no longer be written."""
        if self.is_closed_by_shell:
            self.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


class TolerantOutput:
    """A text stream over a file descriptor whose writes never raise.

    What the encoding lacks is written as an escape.

    Args:
        descriptor: 1 or 2.
        replaced: The stream that it stands in for; ``None`` where the shell closed it.
    """

    def __init__(self, descriptor: int, replaced: Any) -> None:
        self._raw = _TolerantFile(descriptor, "w", closefd=False)
        if replaced is None:
            self._raw.is_closed_by_shell = True
        else:
            try:
                replaced.flush()
            except (OSError, ValueError) as error:
                self._fail(error)
        self.stream: IO[str] = cast(
            "IO[str]",
            io.TextIOWrapper(
                io.BufferedWriter(self._raw),
                encoding=getattr(replaced, "encoding", None) or "utf-8",
                errors="backslashreplace",
                line_buffering=self._raw.isatty(),
            ),
        )

    @property
    def failure(self) -> OSError | None:
        """Why something was not written; ``None`` where all was."""
        return self._raw.failure

    @property
    def is_lost(self) -> bool:
        """Whether something was not written that somebody was still reading."""
        return self.failure is not None and self.failure.errno != errno.EPIPE

    def settle(self) -> None:
        """Write what is buffered; after a failure nothing is tried again, at exit neither."""
        self.stream.flush()
        if self.failure is not None and self.failure.errno != errno.EBADF:
            _point_to_nothing(self._raw.fileno())

    def _fail(self, error: BaseException) -> None:
        self._raw.failure = error if isinstance(error, OSError) else OSError(errno.EBADF, "closed")
        _point_to_nothing(self._raw.fileno())


def occupy_closed_descriptors() -> None:
    """Open 0, 1 and 2 where the shell closed them: else the next file that is opened gets one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


@contextlib.contextmanager
def tolerant_output() -> Iterator[TolerantOutput | None]:
    """Put tolerant streams in the place of standard output and error.

    Yields:
        Standard output; ``None`` where somebody else put a stream of theirs there, a test say.
    """
    occupy_closed_descriptors()
    found = sys.stdout, sys.stderr
    replaced = [
        None if stream is not real else TolerantOutput(descriptor, stream)
        for descriptor, stream, real in (
            (1, sys.stdout, sys.__stdout__),
            (2, sys.stderr, sys.__stderr__),
        )
    ]
    output, error = replaced
    if output is not None:
        sys.stdout = output.stream
    if error is not None:
        sys.stderr = error.stream
    try:
        yield output
    finally:
        for each in replaced:
            if each is not None:
                each.settle()
        sys.stdout, sys.stderr = found


def _point_to_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def format_error(head: str, parts: Sequence[str], stream: IO[str] | None) -> str:
    """Return a message: one line, and where somebody reads a terminal a line for each part.

    Args:
        head: Who says it; empty where another says so.
        parts: What is wrong, what was got, what was expected, what to do.
        stream: Where it is printed; in a pipe or a log a message stays one line, to be searched.
    """
    is_read = stream is not None and not stream.closed and stream.isatty()
    clean = [strip_controls(part) for part in parts]
    return (f"{head}: " if head else "") + ("\n    " if is_read else "; ").join(clean)


def strip_controls(text: str) -> str:
    """Return one line that neither a terminal nor a workflow's log obeys.

    A character that cannot be printed becomes ``?``, line breaks too. GitHub's runner takes a line
    that begins with ``::``, or holds ``##[``, for a command.
    """
    if not text.isprintable():
        text = "".join(one if one.isprintable() or one in _SPACES else "?" for one in text)
    if "##[" in text or text.lstrip().startswith("::"):
        text = text.replace("##[", "# #[").replace("::", ": :", 1)
    return text
