"""The width of the printed output, and wrapping to it; messages are wrapped to the terminal's."""

from __future__ import annotations

import bisect
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import IO, Any, Final

from sdperf.shell import list_commands
from sdperf.streams import strip_controls

WIDTH: Final = 100
"""Columns of a line."""

_NARROWEST: Final = 40
"""Columns that a message takes at least, however narrow the terminal says that it is."""

_ANNOUNCED: Final = len("ERROR: ")
"""Columns that pytest takes in front of a message."""

_ARGUMENTS: Final = (
    r"(?:[-\w]+=|-\w )?(?:'[^'\n]*'|\"'\")+",  # in quotes, alone or as the value of an option
    r"-[A-Za-z] \w+",  # a short option with its word
    r"-{1,2}[A-Za-z](?:[^\s;,']*[^\s;,:.')])?",  # an option, with its value behind "="
    r"[^\s;,:'()]*[/=\[_][^\s;,')]*[^\s;,:.')]",  # a path, KEY=VALUE, a case
    r"[A-Z][A-Z0-9-]+(?![\w])",  # a stand-in such as FOLDER
    r"[0-9][0-9a-f.]*(?![\w.])",  # a number or a commit
)
_SECOND: Final = "accept|list|show|reject|import|export|prune|check|calibrate|clean"
_COMMAND: Final = re.compile(
    rf"(?<![\w./-])(?:sdperf [a-z][a-z-]*(?: (?:{_SECOND})\b)?|pytest|pip install|git [a-z]+)"
    rf"(?: (?:{'|'.join(_ARGUMENTS)}))*(?![\w-])"
)
_FIRST_WORDS: Final = len("next: ")
"""Columns of the words that stand before most commands, which then stay on their line."""

_WORD: Final = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"]|['\"])+")
"""One word of a command, with its quotes."""

_FIXED, _SPLIT, _LONG = "\x00", "\x01", "\x02"
"""What stands for a space at which no line ends, for one at which a command is continued, and for
a word of a command that is longer than a line."""


def wrap_text(text: str, width: int = WIDTH, **options: Any) -> list[str]:
    r"""Break a text at its spaces only, so that paths, options and commands can be copied.

    A command is kept on one line where it fits. A longer one is continued as a shell reads it: each
    of its lines but the last ends with a backslash. A word is never divided, such as a path: one
    that is longer than a line makes the line longer.

    The commands in a `NextStep` are known. In other texts, which only the package's own source
    writes, they are recognised by what an argument looks like, so that a lower-case word without an
    option before it ends one.

    >>> wrap_text("an example of what to type: sdperf resume", 36)
    ['an example of what to type:', 'sdperf resume']
    >>> wrap_text("next: git log --format=%H a/b.py", 26, subsequent_indent="  ")
    ['next: git log \\', '  --format=%H a/b.py']

    Args:
        text: One paragraph.
        width: Columns of a line.
        **options: Further options of `textwrap.wrap`, such as indents.
    """
    indent = max(len(options.get(name, "")) for name in ("initial_indent", "subsequent_indent"))
    narrower = width - 1  # a backslash needs a column more than its mark
    long_words: list[str] = []

    def mark(words: Sequence[str], hanging: int) -> str:
        if len(" ".join(words)) + hanging <= width - indent - _FIRST_WORDS:
            return _FIXED.join(words).replace(" ", _FIXED)
        return f"{_SPLIT} ".join(map(keep, words))

    def keep(word: str) -> str:
        room = narrower - indent - 1
        if len(word) <= room:
            return word.replace(" ", _FIXED)
        long_words.append(word)
        return _LONG * max(room, 1)

    def mark_prose(prose: str) -> str:
        spaces = [-1, *(found.start() for found in re.finditer(r"\s", prose)), len(prose)]

        def mark_found(found: re.Match[str]) -> str:
            before = found.start() - 1 - spaces[bisect.bisect_left(spaces, found.start()) - 1]
            after = spaces[bisect.bisect_left(spaces, found.end())] - found.end()
            return mark(_WORD.findall(found.group()), before + after)

        return _COMMAND.sub(mark_found, prose)

    commands = {" ".join(words): words for words in list_commands(text)}
    cleaned = re.sub(f"[{_FIXED}{_SPLIT}{_LONG}]", "?", text)
    known = "|".join(map(re.escape, sorted(commands, key=len, reverse=True)))
    pieces = re.split(f"({known})", cleaned) if known else [cleaned]
    marked = "".join(
        mark(commands[piece], _count_hanging(pieces[index - 1], pieces[index + 1]))
        if index % 2
        else mark_prose(piece)
        for index, piece in enumerate(pieces)
    )
    columns = narrower if _SPLIT in marked else width
    options = {"break_long_words": False, **options}
    lines = textwrap.wrap(marked, columns, break_on_hyphens=False, **options)
    rest = iter(long_words)
    return [re.sub(f"{_LONG}+", lambda _: next(rest), _unmark(line)) for line in lines]


def _count_hanging(before: str, after: str) -> int:
    """Return how many letters hang on to a command, such as a full stop or an odd quote's rest."""
    return len(re.split(r"\s", before)[-1]) + len(re.split(r"\s", after, maxsplit=1)[0])


def _unmark(line: str) -> str:
    continued = line.endswith(_SPLIT)
    plain = line.replace(_SPLIT, "").replace(_FIXED, " ")
    return f"{plain} \\" if continued else plain


def format_error(head: str, parts: Sequence[str], stream: IO[str] | None) -> str:
    """Return a message: on a terminal a paragraph per part, wrapped, else a single line.

    Args:
        head: The name of the program; empty where it is printed elsewhere.
        parts: What is wrong, what was got, what was expected, what to do.
        stream: Where it is printed; in a pipe or a log a message stays one line, to be searched.
    """
    is_read = stream is not None and not stream.closed and stream.isatty()
    clean = [part if part == strip_controls(part) else strip_controls(part) for part in parts]
    start = f"{head}: " if head else ""
    if not is_read:
        return start + "; ".join(clean)
    width = max(shutil.get_terminal_size().columns, _NARROWEST) - (0 if head else _ANNOUNCED)
    said = [(start + clean[0], ""), *((part, "    ") for part in clean[1:])]
    return "\n".join(
        line
        for part, indent in said
        for line in wrap_text(
            part,
            width,
            initial_indent=indent,
            subsequent_indent=" " * 8,
        )
    )
