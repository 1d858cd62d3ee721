"""Starting the program of an engine's name, in the way that its command asks for."""

from __future__ import annotations

import os

from sdperf.engines.external.naming import (
    NamedCommand,
    parse_external,
    refuse_alternatives,
    unescape_choices,
)
from sdperf.engines.external.piped import PipedProgram
from sdperf.engines.external.program import Program, choose_environment, fill_own_places
from sdperf.engines.external.template import TemplateProgram, is_template
from sdperf.errors import ConfigurationError
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.settings import ENGINE


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
        EngineError: It cannot be started or used.
        WorkerError: It ended, was late, or said what is no reply.
    """
    words = fill_own_places([unescape_choices(word) for word in named.command])
    make = TemplateProgram if is_template(words) else PipedProgram
    environment = choose_environment(named.command, os.environ)
    return make(named.name, words, limit_s, clock, environment)
