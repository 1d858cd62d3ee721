"""Replaces pytest's options in messages by those of the typed command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection
from typing import Any, Final

from sdperf.errors import SdperfError
from sdperf.settings.kinds import PREFIX
from sdperf.shell import NextStep, list_commands

_MENTION: Final = re.compile(
    re.escape(PREFIX) + r"([a-z][a-z-]*)(?: (?=[A-Z{0-9]|(?:torch|onnx|auto|cpu)\b))?"
)
"""Matches an option, with the blank behind it where a value follows."""


WITH_SETTINGS: Final = ("ab", "bisect", "sweep", "tune")
"""Commands that take ``KEY=VALUE``: ``--a`` and ``--b``, ``--set`` (two of them), ``--default``."""


def make_speller(parsed: argparse.Namespace) -> Callable[[SdperfError], str]:
    """Return a function that turns an error into the text for the user of the command.

    Args:
        parsed: The command line; ``command`` names the command.
    """
    spell = make_respeller(parsed)
    return lambda error: str(spell(error))


def make_respeller(parsed: argparse.Namespace) -> Callable[[SdperfError], SdperfError]:
    """Return a function that turns an error into one with options of the command.

    Args:
        parsed: The command line; ``command`` names the command.
    """

    def spell(error: SdperfError) -> SdperfError:
        settings: Collection[str] = ()
        if parsed.command in WITH_SETTINGS:
            from sdperf.ab.sides.settings import list_keys

            settings = list_keys()
        return respell(error, vars(parsed), settings)

    return spell


def respell(error: SdperfError, names: Collection[str], settings: Collection[str]) -> SdperfError:
    """Return the error with options that the user can type for this command. Pure.

    Code that commands and pytest share knows pytest's options only.

    Args:
        error: The error of the command.
        names: The command's own options by their names in argparse (``max_slowdown``).
        settings: Keys that the command takes as ``KEY=VALUE``; empty for most commands.

    Returns:
        The error; an option that the command has gets the command's spelling, a setting is written
        ``KEY=``. For other options their part of the hint says that they are pytest's.
    """
    unknown = False

    def name(found: re.Match[str]) -> str:
        nonlocal unknown
        key, option = found[1].replace("-", "_"), found[0]
        if key in names:
            return option.replace(PREFIX, "--")
        if key in settings:
            return f"{key}="
        unknown = True
        return option

    def say(text: Any) -> Any:
        return _MENTION.sub(name, text) if isinstance(text, str) else text

    what, got, expected = say(error.what), say(error.got), say(error.expected)
    hint = error.hint
    if isinstance(hint, str):
        parts = []
        for part in hint.split("; "):
            unknown = False
            spelt = say(part)
            parts.append(f"with pytest benchmarks: {spelt}" if unknown else spelt)
        commands = [tuple(map(say, words)) for words in list_commands(hint)]
        hint = NextStep("; ".join(parts), commands)
    return SdperfError(what, got=got, expected=expected, hint=hint)
