"""Commands for a reader to copy into a shell, and the words around them. Pure."""

from __future__ import annotations

import shlex
import string
from collections.abc import Sequence
from typing import Final

from sdperf.streams import strip_controls

_PLAIN: Final = frozenset((string.ascii_letters + string.digits + "-_./=").encode())
"""Bytes that `printf` is given as they are."""


class NextStep(str):
    """What to do next, in words, with the commands in it, which a printer does not divide.

    To any reader but the printer it is a text like any other.

    Attributes:
        commands: The commands in the text, each as its words in the quotes of a POSIX shell.
    """

    __slots__ = ("commands",)

    commands: tuple[tuple[str, ...], ...]

    def __new__(cls, text: str, commands: Sequence[tuple[str, ...]] = ()) -> NextStep:
        """Make a text that contains commands."""
        made = super().__new__(cls, text)
        made.commands = tuple(commands)
        return made

    def __add__(self, other: str) -> NextStep:
        """Return the text with another behind it; the commands of both stay known.

        >>> ("do: " + join_command(["sdperf", "resume"]) + "; or wait").commands
        (('sdperf', 'resume'),)
        """
        return join_step(self, other)

    def __radd__(self, other: str) -> NextStep:
        """Return the text with another before it."""
        return join_step(other, self)


def join_command(words: Sequence[str]) -> NextStep:
    r"""Return a command as it is typed.

    >>> join_command(["pytest", "a.py::test[it's]"])
    'pytest \'a.py::test[it\'"\'"\'s]\''
    """
    quoted = tuple(_quote(word) for word in words)
    return NextStep(" ".join(quoted), [quoted])


def join_step(*pieces: str) -> NextStep:
    """Return pieces of a text as one text, which knows the commands in them.

    >>> join_step("next: ", join_command(["sdperf", "resume"]), " goes on").commands
    (('sdperf', 'resume'),)
    """
    return NextStep("".join(pieces), [one for piece in pieces for one in list_commands(piece)])


def list_commands(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that a text is known to contain; none for an ordinary `str`."""
    return text.commands if isinstance(text, NextStep) else ()


def _quote(word: str) -> str:
    r"""Quote a word for a POSIX shell, in characters that can be printed.

    A shell that reads the word restores its control characters, but not a line break at its end.

    >>> print(_quote("a\tb"))
    "$(printf '%b' 'a\0011b')"
    """
    if strip_controls(word) == word and not word.startswith("::"):
        return shlex.quote(word)
    try:
        data = word.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        data = word.encode(errors="replace")
    escaped = "".join(chr(one) if one in _PLAIN else f"\\0{one:03o}" for one in data)
    return f"\"$(printf '%b' '{escaped}')\""
