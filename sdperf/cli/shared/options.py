"""The options that several commands share, each defined once.

Options that a pytest run also has come from the table of settings. They are added by functions, not
by parent parsers: see docs/decisions/0046-functions-add-shared-options.md.
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
DURATION: Final = kinds.DURATION
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
        options: The parser or group.
        flag: The option.
        kind: The kind of its value.
        about: Its meaning, one phrase.
        metavar: The word for its value in the help.
        default: Its value where it is not typed.
        shown: The default in words; ``None`` shows it in the kind's form.
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
        options: The parser or group.
        setting: The setting, or a changed copy of it.
        default: Its value where it is not typed; without one, ``auto`` may be typed too.
        shown: The default in words; ``None`` shows this command's default, else pytest's.
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
        parse: Reads the text; raises `ValueError` with what it expects.
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
    """Register model, subject and device, each of which may be left out."""
    add_setting(options, MODEL)
    add_setting(options, SUBJECT)
    add_setting(options, DEVICE)


def add_picture(options: Options) -> None:
    """Register the input beside the prompt."""
    for setting in (TASK, INPUT_IMAGE, MASK, STRENGTH):
        add_setting(options, setting)


def read_picture_asked(arguments: argparse.Namespace) -> AskedPicture:
    """Return the typed task and picture."""
    from sdperf.models.tasks.choosing import AskedPicture

    return AskedPicture(arguments.task, arguments.input_image, arguments.mask, arguments.strength)


def add_guards(options: Options) -> None:
    """Register the policy for a machine that is not fit."""
    about = "a machine that is not fit: refuse it, say so and redo its blocks, or never look"
    add_setting(options, GUARDS.taking(GUARDS.kind, about), default="warn")


def add_baselines(options: Options, folder: Path) -> None:
    """Register the folder of the accepted sessions."""
    sessions = BASELINES.taking(kinds.PATH, "folder of the accepted sessions")
    add_setting(options, sessions, default=folder)


def require_baselines(folder: Path) -> None:
    """Refuse a named folder of accepted sessions that does not exist; the usual one may be missing.

    Raises:
        ConfigurationError: There is no such folder.
    """
    from sdperf.store.baselines import DEFAULT_FOLDER

    if folder != Path(DEFAULT_FOLDER) and not folder.is_dir():
        raise ConfigurationError(
            "there is no such folder of accepted sessions",
            got=str(folder),
            hint="name one that exists; sdperf baseline accept --reason TEXT makes the usual one",
        )


def add_strictness(options: Options, *, is_exact: bool = False) -> None:
    """Register the options that make a judgement stricter."""
    add_setting(options, STRICT)
    if is_exact:
        add_setting(options, EXACT)


def add_format(options: Options, *names: str) -> None:
    """Register the formats of the answer; the first one is the default."""
    add_option(
        options,
        "--format",
        kinds.choice(names),
        "how to print",
        metavar="FORMAT",
        default=names[0],
    )


def add_written_files(options: Options) -> None:
    """Register the files that a measuring command writes beside its output."""
    options.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary to paste")
