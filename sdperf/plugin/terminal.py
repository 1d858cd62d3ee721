"""pytest's terminal on a standard output that may fail: sessions with sdperf cases continue."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from sdperf.errors import SdperfError
from sdperf.streams import TolerantOutput


def tell_error(error: SdperfError) -> str:
    """Return the text that pytest prints of an error after its own word for it."""
    from sdperf.report.text.wrapping import format_error

    return format_error("", error.list_parts(), sys.stderr)


@dataclass(frozen=True)
class GuardedTerminal:
    """pytest's terminal while writes to it cannot raise.

    Attributes:
        writer: pytest's own writer, which has no public way to change its file.
        original: The file that it had.
        output: The stream that replaces the file.
    """

    writer: Any
    original: Any
    output: TolerantOutput

    def check(self) -> None:
        """Refuse to measure where standard output fails; a reader that went away is allowed.

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
        """Restore the terminal of a session without sdperf cases, with its failure.

        Raises:
            OSError: The error of the file when it was written.
        """
        self.output.stream.flush()
        self.writer._file = self.original
        if self.output.failure is not None:
            raise self.output.failure

    def end(self) -> bool:
        """Write the rest; tell whether text was lost that a reader waited for."""
        if self.writer._file is not self.output.stream:
            return False
        self.output.settle()
        return self.output.is_lost


def guard_terminal(writer: Any) -> GuardedTerminal | None:
    """Put a tolerant stream below pytest's terminal; ``None`` unless it is plain stdout."""
    original = getattr(writer, "_file", None)
    if original is None or original is not sys.__stdout__:
        return None
    output = TolerantOutput(1, original)
    writer._file = output.stream
    return GuardedTerminal(writer, original, output)


def make_failure(item: pytest.Item, message: str) -> Any:
    """Turn a message into what pytest shows of a failed test, with lines that fit the terminal.

    The short summary and a JUnit report's ``message``, which tools read, keep the whole message.
    The place is that of the test.

    Args:
        item: The test.
        message: One paragraph a line.

    Returns:
        A report's ``longrepr``.
    """
    from sdperf.report.text.wrapping import wrap_text
    from sdperf.shell import NextStep, list_commands

    try:
        pytest.fail(message, pytrace=False)
    except pytest.fail.Exception as error:
        shown: Any = pytest.ExceptionInfo.from_exception(error).getrepr(style="value")
    for entry in shown.reprtraceback.reprentries:
        entry.lines = [
            piece
            for line in entry.lines
            for piece in wrap_text(NextStep(line, list_commands(message)), subsequent_indent="    ")
        ]
    crash = shown.reprcrash
    crash.path, crash.lineno = item.location[0], (item.location[1] or 0) + 1
    crash.message = message
    return shown
