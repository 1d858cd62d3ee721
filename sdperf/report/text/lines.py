"""Lines of text with colours that a terminal may give them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sdperf.record.verdict import Outcome
from sdperf.report.text.wrapping import wrap_text
from sdperf.streams import colour_text, strip_controls


@dataclass(frozen=True)
class Line:
    """A line of text with the colour that a terminal may give it.

    Attributes:
        text: At most `WIDTH` characters, but for a longer word such as a path, without codes that a
            terminal or a log would obey.
        colour: ``red``, ``yellow``, ``green`` or ``""``.
        bold: Whether to stress it.
    """

    text: str
    colour: str = ""
    bold: bool = False

    def __post_init__(self) -> None:
        """Remove what names from files can contain: control characters, line breaks, commands."""
        object.__setattr__(self, "text", strip_controls(self.text))


def format_ansi(line: Line) -> str:
    """Return a line with the escape codes of its colour."""
    return colour_text(line.text, *(["bold"] if line.bold else []), line.colour)


def colour_of(outcome: Outcome) -> str:
    """Return the colour of an outcome: failures red, open answers yellow, the rest green."""
    return "red" if outcome.is_failure else "yellow" if outcome.is_open else "green"


def wrap_line(text: str, colour: str = "") -> list[Line]:
    """Break a long line at spaces, the rest of it indented."""
    pieces = wrap_text(text, subsequent_indent="    ")
    return [Line(piece, colour) for piece in pieces]
