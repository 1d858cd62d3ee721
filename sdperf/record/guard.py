"""One answer to "is this machine fit to be measured on?", as a frozen value."""

from __future__ import annotations

from collections.abc import Sequence
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
"""All guards of all platforms; a machine has those that are meaningful on it."""


@dataclass(frozen=True)
class Guard:
    """One answer of one guard.

    Attributes:
        name: What the guard checks, such as ``thermal level``.
        state: ``ok``, ``warn``, ``fail``, or ``unknown``, which is never ok.
        value: The value that was found, in words; ``None`` where it is unknown.
        sentence: What the value means for a measurement.
        hint: What to do about it.
    """

    name: str
    state: GuardState
    value: str | None
    sentence: str
    hint: str | None = None

    @property
    def slug(self) -> str:
        """Its name in the form in which it is typed: ``clock-governor``."""
        return slugify_guard(self.name)

    def describe(self) -> str:
        """Say what was found, in one line.

        >>> Guard("load", "fail", "4.19 per core", "other work takes processors").describe()
        'guard fail  load: 4.19 per core: other work takes processors'
        """
        value = "" if self.value is None else f" {self.value}:"
        return f"guard {self.state}  {self.name}:{value} {self.sentence}"


def explain_disturbance(
    before: Sequence[Guard], during: Sequence[Guard], after: Sequence[Guard]
) -> str | None:
    """Say which guard failed around the rounds of a case, or that heat changed while they ran.

    Rounds in which a guard failed were measured again. A mere warning (a share of a virtual
    machine's time, a governor) is the everyday noise of many machines.

    Args:
        before: The guards before the first round.
        during: The guards that changed for the worse in rounds that count.
        after: The guards after the last round.

    Returns:
        ``None`` where the machine was fit.
    """
    for guard in during:
        if "thermal" in guard.name:
            return f"{guard.name}: {guard.sentence}"
    for guard in (*before, *after):
        if guard.state == "fail":
            return f"{guard.name}: {guard.value}"
    return None


def slugify_guard(name: str) -> str:
    """Return a guard's name in the form in which it is typed.

    >>> slugify_guard("other GPU users")
    'other-gpu-users'
    """
    return name.lower().replace(" ", "-")
