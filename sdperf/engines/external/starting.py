"""Starting the program of an engine's name, in the way that its command asks for."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sdperf.engines.external.naming import (
    NamedCommand,
    parse_external,
    refuse_alternatives,
    unescape_choices,
)
from sdperf.engines.external.piped import PipedProgram
from sdperf.engines.external.process import refuse_command
from sdperf.engines.external.program import Program, choose_environment, fill_own_places
from sdperf.engines.external.template import TemplateProgram, is_template
from sdperf.errors import ConfigurationError
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.settings import ENGINE

_PYTHON: Final = re.compile(r"(?:python|pypy)[0-9.]*")
_SHELL: Final = re.compile(r"bash|dash|zsh|sh")
_FLAGS: Final = re.compile(r"-[bBdEIiOPqRsSuvx]+")
"""Options of Python that take no word."""

_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
"""Errors of a path at which there is surely no file."""


def read_engine(engine: str) -> NamedCommand:
    """Read an engine's name that begins with ``external:``.

    Raises:
        ConfigurationError: It names no program.
    """
    try:
        return refuse_alternatives(parse_external(engine))
    except ValueError as error:
        raise ConfigurationError(
            f"{ENGINE} cannot be used", got=engine, expected=str(error)
        ) from error


def start_program(named: NamedCommand, limit_s: float, clock: Clock = monotonic_clock) -> Program:
    """Start a program and have it describe itself; a command line for each picture starts later.

    Args:
        named: The program.
        limit_s: Time limit of one picture, seconds.
        clock: Times the pictures.

    Raises:
        EngineError: It cannot be started or used, or the script that it is to run is missing.
        WorkerError: It ended, was late, or said what is no reply.
    """
    words = fill_own_places([unescape_choices(word) for word in named.command])
    refuse_missing_script(words)
    make = TemplateProgram if is_template(words) else PipedProgram
    environment = choose_environment(named.command, os.environ)
    return make(named.name, words, limit_s, clock, environment)


def refuse_missing_script(words: Sequence[str]) -> None:
    """Refuse a script that does not exist: its interpreter starts, and tells in words of its own.

    A script is looked for where Python or a shell is the program, and no option that takes a word,
    such as ``-c`` or ``-m``, stands before it. Shells also look for a name on the search path.
    Where it cannot be told whether a script exists, the interpreter says so.

    Raises:
        EngineError: There is no such script.
    """
    program = Path(words[0]).name
    is_python = bool(_PYTHON.fullmatch(program))
    if not (is_python or _SHELL.fullmatch(program)):
        return
    rest = (word for word in words[1:] if not (is_python and _FLAGS.fullmatch(word)))
    script = next(rest, "-")
    if script.startswith("-" if is_python else ("-", "+")) or "{" in script:
        return
    by_name = not is_python and os.sep not in script
    fault = _find_fault(Path(script))
    others = os.get_exec_path() if by_name else []
    if fault is not None and all(_find_fault(Path(place, script)) for place in others):
        raise refuse_command([script], fault)


def _find_fault(path: Path) -> OSError | None:
    """Return why there is surely no such file; ``None`` where there is one, or it is unknown."""
    try:
        path.stat()
    except OSError as error:
        return error if error.errno in _MISSING else None
    except ValueError:
        return None
    return None
