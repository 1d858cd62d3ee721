"""How a user names a program: ``external:COMMAND``, ``external:NAME=COMMAND``, or by a table.

What is kept is always ``external:NAME=COMMAND``, which says everything by itself. A command is
divided into words as a shell divides it, and no shell ever runs it.
"""

from __future__ import annotations

import itertools
import math
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdperf.engines.external.reading import read_regular
from sdperf.record.workload import EXTERNAL

TABLES: Final = "sdperf.toml"
"""Where a name is looked up that comes without a file: in the current folder."""

EXPECTED: Final = (
    "external:COMMAND, external:NAME=COMMAND, or external:NAME with a table [external.NAME] and "
    f"its command in {TABLES} (external:FILE.toml:NAME in another file)"
)

_NAME: Final = r"[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?"
_NAMED: Final = re.compile(rf"({_NAME})=(.*)", re.DOTALL)
_IN_FILE: Final = re.compile(rf"(.+\.toml):({_NAME})")
_STARTERS: Final = re.compile(r"(?:python|pypy|bash|dash|zsh|sh|env|node|uv|uvx|nice)[0-9.]*")
_VALUE: Final = r"[^{}|\s\"'`$;&()<>]*"
_CHOICE: Final = re.compile(rf"(?<!\{{)\{{({_VALUE}(?:\|{_VALUE})+)\}}(?!\}})")
_ESCAPED: Final = re.compile(rf"\{{(\{{{_VALUE}(?:\|{_VALUE})+\}})\}}")
_MOST_ALTERNATIVES: Final = 32
_MOST_FILE_BYTES: Final = 1 << 16
_MOST_CHARACTERS: Final = 4096


@dataclass(frozen=True)
class NamedCommand:
    """A program as it was named.

    Attributes:
        name: Short, part of the names of its cases.
        command: Program and arguments.
    """

    name: str
    command: tuple[str, ...]

    @property
    def engine(self) -> str:
        """The name of the engine that says everything: ``external:NAME=COMMAND``."""
        return f"{EXTERNAL}{self.name}={shlex.join(self.command)}"


def parse_external(text: str, folder: Path | None = None) -> NamedCommand:
    """Read how a user named a program.

    Args:
        text: As typed, with ``external:``.
        folder: Where `TABLES` is looked for; ``None`` is the current folder.

    Raises:
        ValueError: It names no program; says what is expected.
    """
    given = text.removeprefix(EXTERNAL).strip()
    if len(given) > _MOST_CHARACTERS or not given:
        raise ValueError(EXPECTED)
    in_file = _IN_FILE.fullmatch(given)
    if in_file is not None:
        return _read_table(Path(in_file.group(1)).expanduser(), in_file.group(2))
    tables = (Path.cwd() if folder is None else folder) / TABLES
    if re.fullmatch(_NAME, given) and tables.is_file():
        return _read_table(tables, given)
    named = _NAMED.fullmatch(given)
    words = _divide(given if named is None else named.group(2))
    return NamedCommand(_name(words) if named is None else named.group(1), words)


def list_alternatives(text: str, folder: Path | None = None) -> list[NamedCommand]:
    """Read how a user named a program whose command may leave a choice: ``--quantize {q4|q8}``.

    Args:
        text: As for `parse_external`.
        folder: As for `parse_external`.

    Returns:
        A program for each combination; its name ends with what was chosen, such as ``mflux-q4``.
        One choice that stands in several places is chosen once. A choice has no blanks: what has
        some is a shell's code, and stays as it is.

    Raises:
        ValueError: It names no program, or too many; says what is expected.
    """
    named = parse_external(text, folder)
    choices = list(dict.fromkeys(one for word in named.command for one in _CHOICE.findall(word)))
    values = [one.split("|") for one in choices]
    count = math.prod(map(len, values))
    if count > _MOST_ALTERNATIVES:
        raise ValueError(
            f"at most {_MOST_ALTERNATIVES} programs from the choices of a command, not {count}"
        )
    found = [
        NamedCommand(
            "-".join([named.name, *(_slugify(value) or "none" for value in chosen)]),
            _fill_choices(named.command, dict(zip(choices, chosen, strict=True))),
        )
        for chosen in itertools.product(*values)
    ]
    names = [one.name for one in found]
    bad = next((name for name in names if not re.fullmatch(_NAME, name)), None)
    if bad is not None:
        raise ValueError(f"choices whose names with the program's have at most 40 letters: {bad}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"choices that make different names: two make {twice}")
    return found


def refuse_alternatives(named: NamedCommand) -> NamedCommand:
    """Return a program whose command leaves no choice.

    Raises:
        ValueError: It leaves one.
    """
    choice = next(filter(None, map(_CHOICE.search, named.command)), None)
    if choice is not None:
        raise ValueError(f"one program: choose one of {choice.group(0)}")
    return named


def _fill_choices(command: Sequence[str], chosen: Mapping[str, str]) -> tuple[str, ...]:
    """Put what was chosen in the place of each choice."""
    return tuple(_CHOICE.sub(lambda found: chosen[found.group(1)], word) for word in command)


def unescape_choices(word: str) -> str:
    """Return a word of a command as the program gets it: ``{{a|b}}`` is ``{a|b}``. Pure."""
    return _ESCAPED.sub(r"\1", word)


def divide_engines(text: str) -> list[str]:
    """Divide a list of engines at its commas; those of a command in quotes belong to it. Pure."""
    found, quote = [""], ""
    for letter in text:
        if letter == "," and not quote:
            found.append("")
            continue
        if letter in "'\"":
            quote = "" if letter == quote else quote or letter
        found[-1] += letter
    return [one.strip() for one in found]


def _divide(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ValueError(f"a command with every quote closed: {EXPECTED}") from error
    if not words:
        raise ValueError(EXPECTED)
    return words


def _name(words: tuple[str, ...]) -> str:
    """Name a command by its script, or by its program where it starts none."""
    starters = [bool(_STARTERS.fullmatch(Path(word).name)) or word == "{python}" for word in words]
    left = [
        word
        for word, is_starter in zip(words, starters, strict=True)
        if not (is_starter or word.startswith("-") or "{" in word or "=" in word)
    ]
    if "-m" in words[:-1] and starters[0]:
        chosen = words[words.index("-m") + 1].rpartition(".")[2]
    else:
        chosen = left[0] if starters[0] and left else words[0]
    return _slugify(Path(chosen).stem) or "program"


def _slugify(text: str) -> str:
    """Make of a text what can stand in a name."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:40].strip("-._")


def _read_table(path: Path, name: str) -> NamedCommand:
    """Read ``[external.NAME]`` of a file of the user's.

    Raises:
        ValueError: The file cannot be read, or holds no such table with a command.
    """
    try:
        text = read_regular(path, _MOST_FILE_BYTES + 1, may_be_link=True)
        if len(text) > _MOST_FILE_BYTES:
            raise ValueError(f"a file of at most {_MOST_FILE_BYTES} bytes, which {path} is not")
        tables = tomllib.loads(text.decode())
    except OSError as error:
        raise ValueError(f"a file that can be read ({path}: {error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"a file in TOML ({path}: {error})") from error
    named = tables.get("external")
    table: Any = named.get(name) if isinstance(named, dict) else None
    if not isinstance(table, dict):
        known = ", ".join(map(str, named)) if isinstance(named, dict) else "none"
        raise ValueError(f"a table [external.{name}] in {path}, which has: {known}")
    unknown = sorted(set(table) - {"command"})
    command = table.get("command")
    if unknown:
        raise ValueError(f"nothing but command in [external.{name}] of {path}, not {unknown[0]}")
    if isinstance(command, list) and command and all(isinstance(one, str) for one in command):
        return _limit(NamedCommand(name, tuple(command)), path)
    if isinstance(command, str):
        return _limit(NamedCommand(name, _divide(command)), path)
    raise ValueError(f'command = "..." or a list of words in [external.{name}] of {path}')


def _limit(named: NamedCommand, path: Path) -> NamedCommand:
    """Refuse a command that could not be read again where it is kept."""
    if len(named.engine) - len(EXTERNAL) > _MOST_CHARACTERS:
        raise ValueError(
            f"a command of at most {_MOST_CHARACTERS} characters, with its name and its quotes, in "
            f"[external.{named.name}] of {path}"
        )
    return named
