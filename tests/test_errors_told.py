"""How a message is printed: one line in a pipe, a line for each part where somebody reads it."""

import io

import pytest

from sdperf.errors import ConfigurationError
from sdperf.report.text.wrapping import format_error

ERROR = ConfigurationError(
    "the size is none", got="\x1b[31mbig", expected="8x8", hint="fetch https://me:secret@host/x"
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "between"), [(Terminal(), "\n    "), (io.StringIO(), "; "), (None, "; ")]
)
def test_parts_stand_apart_on_a_terminal_only(stream, between):
    told = format_error("sdperf ab", ERROR.list_parts(), stream)
    parts = told.split(between)
    assert parts[:3] == ["sdperf ab: the size is none", "got: ?[31mbig", "expected: 8x8"]
    assert parts[3].startswith("do: fetch https://")
    assert "secret" not in told


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_long_part_is_wrapped_at_the_width_of_the_terminal_only(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    parts = ["there is no command sweeep", "expected: " + "one of them, " * 20, "do: sdperf --help"]
    lines = format_error("sdperf", parts, Terminal()).splitlines()
    assert len(lines) > 4
    assert max(map(len, lines)) <= columns
    assert lines[0] == "sdperf: there is no command sweeep"
    assert lines[1].startswith("    expected: one of them, ")
    assert lines[2].startswith("        ")
    assert lines[-1] == "    do: sdperf --help"
    assert "\n" not in format_error("sdperf", parts, io.StringIO())


def test_a_closed_stream_is_asked_nothing():
    stream = Terminal()
    stream.close()
    assert "\n" not in format_error("sdperf", ["one", "do: two"], stream)


def test_where_another_says_who_speaks_the_message_begins_with_what_is_wrong():
    assert format_error("", ["one", "do: two"], None) == "one; do: two"
