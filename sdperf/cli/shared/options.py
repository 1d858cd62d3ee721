"""The options that several commands have in common, each told once.

Those that a pytest run has too come from the table of settings. They are functions, not parent
parsers: see docs/decisions/0046-functions-add-shared-options.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sdperf.errors import ConfigurationError
from sdperf.settings import (
    BASELINES,
    DEVICE,
    EXACT,
    GUARDS,
    INPUT_IMAGE,
    MASK,
    MODEL,
    STRENGTH,
    STRICT,
    SUBJECT,
    TASK,
    kinds,
)
from sdperf.settings.kinds import Kind, Setting

if TYPE_CHECKING:
    from sdperf.models.tasks.choosing import AskedPicture

T = TypeVar("T")

COUNT: Final = kinds.whole()
SECONDS: Final = kinds.positive("seconds")
SCORE: Final = kinds.number(-1, 1, "an SSIM")


class Options(Protocol):
    """A parser of a command line, or a group of one."""

    def add_argument(self, *names: str, **more: Any) -> argparse.Action:
        """Register an option."""


def add_option(
    options: Options,
    flag: str,
    kind: Kind[Any],
    about: str,
    *,
    metavar: str = "N",
    default: Any = None,
    shown: str | None = None,
) -> None:
    """Register an option with one value of a kind.

    Args:
        options: Where.
        flag: The option.
        kind: What it takes.
        about: What it means, one phrase.
        metavar: What stands for its value.
        default: Its value where it is not typed.
        shown: What holds then, in words; ``None`` is the default as the kind writes it.
    """
    if shown is None and default is not None:
        shown = kind.format(default)
    expected = f": {kind.expected}" if kind.expected else ""
    told = f"{about}{expected}" + (f" ({shown})" if shown else "")
    options.add_argument(
        flag,
        type=checked(flag, kind.parse),
        default=default,
        metavar=metavar,
        help=told.replace("%", "%%"),
    )


def add_setting(
    options: Options, setting: Setting[Any], *, default: Any = None, shown: str | None = None
) -> None:
    """Register a setting as an option of a command.

    Args:
        options: Where.
        setting: The setting, or a changed copy of it.
        default: Its value where it is not typed; without one, ``auto`` may be typed too.
        shown: What holds then, in words; ``None`` is the default of this command, else pytest's.
    """
    if setting.is_switch:
        options.add_argument(
            setting.flag, action="store_true", help=setting.about.replace("%", "%%")
        )
        return
    if shown is None and default is None:
        shown = setting.usual
    is_open = default is None and setting.auto is not None
    add_option(
        options,
        setting.flag,
        replace(setting.kind, parse=setting.parse_or_auto) if is_open else setting.kind,
        setting.about,
        metavar=setting.metavar,
        default=default,
        shown=shown,
    )


def checked(flag: str, parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser whose error is a message of sdperf's own.

    Args:
        flag: The option that is read.
        parse: Raises `ValueError` with what it expects.
    """

    def read(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise ConfigurationError(
                f"{flag} cannot be used", got=text, expected=str(error)
            ) from error

    return read


def add_what_is_run(options: Options) -> None:
    """Register model, subject and device where each may be left to something else."""
    add_setting(options, MODEL)
    add_setting(options, SUBJECT)
    add_setting(options, DEVICE)


def add_picture(options: Options) -> None:
    """Register what is drawn from beside the prompt."""
    for setting in (TASK, INPUT_IMAGE, MASK, STRENGTH):
        add_setting(options, setting)


def read_picture_asked(arguments: argparse.Namespace) -> AskedPicture:
    """Return what was typed of task and picture."""
    from sdperf.models.tasks.choosing import AskedPicture

    return AskedPicture(arguments.task, arguments.input_image, arguments.mask, arguments.strength)


def add_guards(options: Options) -> None:
    """Register what is done about a machine that is not fit."""
    about = "a machine that is not fit: refuse it, say so and redo its blocks, or never look"
    add_setting(options, GUARDS.taking(GUARDS.kind, about), default="warn")


def add_baselines(options: Options, folder: Path) -> None:
    """Register where the accepted sessions lie."""
    sessions = BASELINES.taking(kinds.PATH, "folder of the accepted sessions")
    add_setting(options, sessions, default=folder)


def add_strictness(options: Options, *, is_exact: bool = False) -> None:
    """Register what fails a judgement that would pass otherwise."""
    add_setting(options, STRICT)
    if is_exact:
        add_setting(options, EXACT)


def add_format(options: Options, *names: str) -> None:
    """Register how the answer is printed, the first way by itself."""
    add_option(
        options,
        "--format",
        kinds.choice(names),
        "how to print",
        metavar="FORMAT",
        default=names[0],
    )


def add_written_files(options: Options) -> None:
    """Register the files that a measuring command writes beside what it prints."""
    options.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary to paste")
