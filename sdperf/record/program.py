"""What a foreign program says of itself, as it is kept in a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

EXTERNAL: Final = "external:"
"""What the name of an engine begins with that is a program of the user's."""


def is_external(engine: str) -> bool:
    """Tell whether an engine is a program of the user's and runs no pipeline of diffusers."""
    return engine.startswith(EXTERNAL)


def name_engine(engine: str) -> str:
    """Return the short name of an engine: ``external-NAME`` of ``external:NAME=COMMAND``.

    The command stays out of it, so that a program keeps its cases when its environment moves.
    """
    if not is_external(engine):
        return engine
    return "external-" + engine.removeprefix(EXTERNAL).partition("=")[0]


@dataclass(frozen=True)
class ProgramFacts:
    """What a program answered when it was asked to describe itself.

    Attributes:
        name: Its name, such as ``mflux``.
        version: Its version.
        model: What it draws with, in its own words.
        device: ``cpu``, ``cuda`` or ``mps``.
        device_name: The device in its own words; empty is unknown.
        precision: Number format that it runs where it is told none, such as ``q8``.
        precisions: Number formats of ours that it can be told; empty is none.
        accepts: What it can be told beside prompt and seed; see `docs/external.md`.
        queue: Requests that it takes before it has answered the first of them.
        largest_seed: The largest seed that it tells from others.
        versions: Versions of the packages that it is made of.
    """

    name: str
    version: str
    model: str
    device: str
    device_name: str = ""
    precision: str = "unknown"
    precisions: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    queue: int = 1
    largest_seed: int = 2**63 - 1
    versions: Mapping[str, str] = field(default_factory=dict)
