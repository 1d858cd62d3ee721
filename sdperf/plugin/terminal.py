"""pytest's terminal over a standard output that may fail: a session with cases of ours goes on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from sdperf.errors import SdperfError
from sdperf.streams import TolerantOutput, format_error


def tell_error(error: SdperfError) -> str:
    """Return what pytest prints of an error behind its own word for it."""
    return format_error("", error.list_parts(), sys.stderr)


@dataclass(frozen=True)
class GuardedTerminal:
    """pytest's terminal while writes to it cannot raise.

    Attributes:
        writer: pytest's own, which has no public way to change its file.
        original: The file it had.
        output: What stands in for it.
    """

    writer: Any
    original: Any
    output: TolerantOutput

    def check(self) -> None:
        """Refuse to measure what nobody could read; a reader that went away may do so.

        Raises:
            pytest.UsageError: Standard output cannot be written: a full disk, say.
        """
        self.output.stream.flush()
        if self.output.is_lost:
            failure = self.output.failure
            raise pytest.UsageError(
                "standard output cannot be written, so nothing was measured; got: "
                f"{'' if failure is None else failure.strerror}; do: free its disk, or write "
                "elsewhere"
            )

    def give_back(self) -> None:
        """Leave a session without cases of ours as it was, with the failure that it had.

        Raises:
            OSError: What the file raised when it was written.
        """
        self.output.stream.flush()
        self.writer._file = self.original
        if self.output.failure is not None:
            raise self.output.failure

    def end(self) -> bool:
        """Write what is left; tell whether words were lost that somebody was waiting for."""
        if self.writer._file is not self.output.stream:
            return False
        self.output.settle()
        return self.output.is_lost


def guard_terminal(writer: Any) -> GuardedTerminal | None:
    """Put a tolerant stream below pytest's terminal; ``None`` where it is no plain stdout."""
    original = getattr(writer, "_file", None)
    if original is None or original is not sys.__stdout__:
        return None
    output = TolerantOutput(1, original)
    writer._file = output.stream
    return GuardedTerminal(writer, original, output)


def make_failure(item: pytest.Item, message: str) -> Any:
    """Make what pytest shows of a failed test out of a message: its lines fit the terminal.

    What tools read (the short summary, a JUnit report's ``message``) keeps the message whole, and
    the place is the test's own.

    Args:
        item: The test.
        message: One paragraph a line.

    Returns:
        A report's ``longrepr``.
    """
    from sdperf.report.text.wrapping import wrap_text

    try:
        pytest.fail(message, pytrace=False)
    except pytest.fail.Exception as error:
        shown: Any = pytest.ExceptionInfo.from_exception(error).getrepr(style="value")
    for entry in shown.reprtraceback.reprentries:
        entry.lines = [
            piece for line in entry.lines for piece in wrap_text(line, subsequent_indent="    ")
        ]
    crash = shown.reprcrash
    crash.path, crash.lineno = item.location[0], (item.location[1] or 0) + 1
    crash.message = message
    return shown
