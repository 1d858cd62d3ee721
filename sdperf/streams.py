"""Standard output and error that can fail without ending the program or its exit status.

After a reader went away (``| head``), on a full disk, or on a stream that the shell closed
(``>&-``), measuring and judging continue, and the failure is reported at the end.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CLEAR_LINE: Final = "\r\x1b[2K"
"""Control codes that go to the beginning of a terminal's line and clear it."""

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
"""Exit status of a command that did its work but could not print its output."""


class _TolerantFile(io.FileIO):
    """A file descriptor that accepts every write, and remembers the first failure."""

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

    Characters that the encoding lacks are written as escapes.

    Args:
        descriptor: 1 or 2.
        replaced: The stream that it replaces; ``None`` where the shell closed it.
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
        """Why text was not written; ``None`` where all was written."""
        return self._raw.failure

    @property
    def is_lost(self) -> bool:
        """Whether text was lost although a reader was still there."""
        return self.failure is not None and self.failure.errno != errno.EPIPE

    def settle(self) -> None:
        """Write the buffer; after a failure nothing is tried again, not even at exit."""
        self.stream.flush()
        if self.failure is not None and self.failure.errno != errno.EBADF:
            _point_to_nothing(self._raw.fileno())

    def _fail(self, error: BaseException) -> None:
        self._raw.failure = error if isinstance(error, OSError) else OSError(errno.EBADF, "closed")
        _point_to_nothing(self._raw.fileno())


def occupy_closed_descriptors() -> None:
    """Open 0, 1 and 2 where the shell closed them, since the next file would get such a number."""
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
    """Replace standard output and error by tolerant streams.

    Yields:
        Standard output; ``None`` where other code, such as a test, replaced it by its own stream.
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


def strip_controls(text: str) -> str:
    """Return one line without codes that a terminal or a workflow's log would obey.

    A character that cannot be printed becomes ``?``, line breaks too. GitHub's runner takes a line
    that begins with ``::``, or holds ``##[``, for a command.
    """
    if not text.isprintable():
        text = "".join(one if one.isprintable() or one in _SPACES else "?" for one in text)
    if "##[" in text or text.lstrip().startswith("::"):
        text = text.replace("##[", "# #[").replace("::", ": :", 1)
    return text
