"""The ``sdperf`` command: parse, call, print. Imports no torch until a command needs it."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Collection, Sequence
from typing import Any, Final

from sdperf import __version__
from sdperf.cli.shared.parser import CommandParser
from sdperf.cli.shared.spelling import make_respeller
from sdperf.errors import SdperfError
from sdperf.report.text.wrapping import format_error
from sdperf.streams import EXIT_LOST, TolerantOutput, tolerant_output

COMMANDS: Final = {
    "ab": "ab",
    "baseline": "runs.baseline",
    "bisect": "bisect",
    "calibrate": "machine.calibrate",
    "compare": "runs.compare",
    "contribute": "machine.contribute",
    "doctor": "machine.doctor",
    "engines": "machine.engines",
    "export": "runs.export",
    "external": "machine.external",
    "figures": "runs.figures",
    "generate": "generate",
    "history": "runs.history",
    "init": "init",
    "mps-check": "machine.mps_check",
    "quality": "quality",
    "replay": "runs.replay",
    "report": "runs.report",
    "resume": "resume",
    "sweep": "sweep",
    "trend": "runs.trend",
    "tune": "tune",
}
"""Module of each command, below this package.

Each has ``add_parser(subparsers)`` and ``run(arguments) -> int``.
"""

_DESCRIPTION: Final = """\
Tell whether a change made Stable Diffusion slower, hungrier or uglier.

The main job is a pytest run:

  pytest benchmarks                        measure this machine
  pytest benchmarks --benchmark-autosave   ... and keep the run
  pytest benchmarks --benchmark-compare    ... and compare with the last one kept
"""
_EPILOG: Final = """\
exit status: 0 done, 1 the answer is no, 2 the command line or an input cannot be used,
130 interrupted
"""


def make_parser(names: Collection[str] = COMMANDS) -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Args:
        names: The commands that it knows; each is imported.
    """
    parser = CommandParser(
        prog="sdperf",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sdperf {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in names:
        _import_command(name).add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the ``sdperf`` script.

    Returns:
        The exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-") and given[0] not in COMMANDS:
        return _say_refused("sdperf", _explain_unknown(given[0]))
    try:
        parser = make_parser(given[:1] if given and given[0] in COMMANDS else COMMANDS)
    except ModuleNotFoundError as error:
        return _say_missing("sdperf", error)
    with tolerant_output() as output:
        try:
            status = _run(parser, given)
        except SystemExit as ended:
            sys.stdout.flush()
            if output is not None and output.is_lost and not ended.code:
                raise SystemExit(_say_lost(output)) from None
            raise
        sys.stdout.flush()
        if output is not None and output.is_lost and not status:
            return _say_lost(output)
        return status


def _say_refused(head: str, parts: Sequence[str]) -> int:
    """Print a message that the user can act on; return the exit status."""
    print(format_error(head, parts, sys.stderr), file=sys.stderr)
    return 2


def _explain_unknown(word: str) -> list[str]:
    """Say that the command does not exist, and which one was probably meant."""
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    do = f"sdperf {near[0]} --help" if near else "sdperf --help"
    known = ", ".join(COMMANDS)
    return [f"there is no command {word}", f"expected: one of {known}", f"do: {do}"]


def _list_commands(parser: argparse.ArgumentParser, given: Sequence[str]) -> list[str]:
    """List the command and the action of it whose options were typed."""
    names: list[str] = []
    found: argparse.ArgumentParser | None = parser
    for word in given:
        choices = [
            action.choices
            for action in (found._actions if found else ())
            if isinstance(action, argparse._SubParsersAction)
        ]
        found = choices[0].get(word) if choices else None
        if found is None:
            break
        names.append(word)
    return names


def _run(parser: argparse.ArgumentParser, given: Sequence[str]) -> int:
    """Parse the command line and run the command; an error for the user is one message."""
    try:
        parsed = parser.parse_args(given)
    except SdperfError as error:
        told = make_respeller(argparse.Namespace(command=given[0]))(error)
        help_ = f"do: sdperf {' '.join(_list_commands(parser, given))} --help"
        return _say_refused(f"sdperf {given[0]}", [*told.list_parts(), help_])
    if parsed.command is None:
        parser.print_help()
        return 0
    try:
        return int(_import_command(parsed.command).run(parsed))
    except SdperfError as error:
        told = make_respeller(parsed)(error)
        return _say_refused(f"sdperf {parsed.command}", told.list_parts())
    except OSError as error:
        at = "" if error.filename is None else f"{error.filename}: "
        print(f"sdperf {parsed.command}: {at}{error.strerror or error}", file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:
        unspelt = error.object[error.start : error.end]
        print(
            f"sdperf {parsed.command}: a name is not UTF-8 and cannot be written there; "
            f"got: {unspelt!a} in {error.object[:200]!a}; do: choose another name",
            file=sys.stderr,
        )
        return 2
    except ModuleNotFoundError as error:
        return _say_missing(f"sdperf {parsed.command}", error)
    except KeyboardInterrupt:
        print(f"sdperf {parsed.command}: interrupted", file=sys.stderr)
        return 130


def _say_missing(command: str, error: ModuleNotFoundError) -> int:
    """Name the missing package; a missing module of sdperf itself is raised instead."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "sdperf"):
        raise error
    said = f"the package {package} is not installed; do: pip install {package}"
    print(f"{command}: {said}", file=sys.stderr)
    return 2


def _say_lost(output: TolerantOutput) -> int:
    """Say that the output is lost, although the command did its work."""
    reason = "" if output.failure is None else output.failure.strerror
    print(f"sdperf: standard output cannot be written: {reason}", file=sys.stderr)
    return EXIT_LOST


def _import_command(name: str) -> Any:
    return importlib.import_module(f"sdperf.cli.{COMMANDS[name]}")
