"""One answer to "is this machine fit to be measured on?", as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GuardState = Literal["ok", "warn", "fail", "unknown"]


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
