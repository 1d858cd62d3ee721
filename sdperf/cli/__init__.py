"""The ``sdperf`` command: parse, call, print. Imports no torch until a command needs it."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from sdperf import __version__
from sdperf.errors import SdperfError

COMMANDS: Final = (
    "ab",
    "baseline",
    "bisect",
    "calibrate",
    "compare",
    "contribute",
    "doctor",
    "engines",
    "export",
    "figures",
    "generate",
    "history",
    "mps-check",
    "quality",
    "replay",
    "report",
    "resume",
    "trend",
    "tune",
)
"""Modules of this package, with _ for -.

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the ``sdperf`` script.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="sdperf",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sdperf {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    given = list(sys.argv[1:] if arguments is None else arguments)[:1]
    for name in given if given and given[0] in COMMANDS else COMMANDS:
        _import_command(name).add_parser(subparsers)
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 0
    try:
        status = _import_command(parsed.command).run(parsed)
        sys.stdout.flush()
    except SdperfError as error:
        print(f"sdperf {parsed.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"sdperf {parsed.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(status)


def _import_command(name: str) -> Any:
    return importlib.import_module(f"sdperf.cli.{name.replace('-', '_')}")
