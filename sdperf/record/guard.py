"""One answer to "is this machine fit to be measured on?", as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

GuardState = Literal["ok", "warn", "fail", "unknown"]

GUARD_NAMES: Final = (
    "thermal level",
    "thermal throttling",
    "supply voltage",
    "power source",
    "power mode",
    "clock governor",
    "memory pressure",
    "available memory",
    "swap",
    "load",
    "priority",
    "virtual machine",
    "background work",
    "Rosetta",
    "container limits",
    "steal",
    "environment variables",
    "other GPU users",
    "GPU clocks",
    "GPU memory limit",
    "order",
)
"""All guards of all platforms; a machine has those that mean something on it."""


@dataclass(frozen=True)
class Guard:
    """One answer.

    Attributes:
        name: What was looked at, such as ``thermal level``.
        state: ``ok``, ``warn``, ``fail``, or ``unknown``, which is never ok.
        value: What was found, in words; ``None`` where nothing was.
        sentence: What it means for a measurement.
        hint: What to do about it.
    """

    name: str
    state: GuardState
    value: str | None
    sentence: str
    hint: str | None = None

    @property
    def slug(self) -> str:
        """Its name as it is typed: ``clock-governor``."""
        return slugify_guard(self.name)


def slugify_guard(name: str) -> str:
    """Return a guard's name as it is typed.

    >>> slugify_guard("other GPU users")
    'other-gpu-users'
    """
    return name.lower().replace(" ", "-")
