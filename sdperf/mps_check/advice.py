"""Finds the known version of torch with the fewest known faults on a Mac. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from packaging.version import Version

from sdperf.mps_check.judging import HARMFUL
from sdperf.mps_check.limits import Limit

_FIRST_FOR_MACOS_14: Final = Version("2.9")
"""From this version of torch on, macOS 14 or later is needed."""

_MACOS_14: Final = Version("14")


@dataclass(frozen=True)
class TorchAdvice:
    """The version to prefer, with the known faults of it and of the installed one.

    Attributes:
        best: The known version with the fewest harmful limits, then the fewest slow ones, then the
            newest.
        best_faults: Ids of its harmful limits on this Mac.
        avoided: Ids of the installed version's limits that the best one does not have, silent and
            reported ones first; empty where the installed version is unknown.
        newer: Whether the installed version is newer than all known ones.
    """

    best: str
    best_faults: tuple[str, ...]
    avoided: tuple[str, ...]
    newer: bool

    def describe(self) -> str:
        """Describe the advice in one line."""
        count = len(self.best_faults)
        why = f"{self.best} has the fewest known faults here ({count} of the list)"
        if self.avoided:
            rest = "" if len(self.avoided) == 1 else f" and {len(self.avoided) - 1} more"
            return f"{why}; it avoids {self.avoided[0]}{rest}"
        return f"{why}; yours is newer than the list" if self.newer else why


def choose_torch(
    versions: Sequence[str],
    limits: Iterable[Limit],
    *,
    macos: Version,
    chip: str | None,
    installed: Version | None,
) -> TorchAdvice:
    """Choose among the known versions of torch.

    A fault that nobody has reported yet does not count, which favours the newest version.

    Args:
        versions: The known versions, oldest first.
        limits: Their known limits.
        macos: The Mac's system.
        chip: The chip's name; ``None`` where it is unknown.
        installed: The installed version; ``None`` without one.
    """
    held = [limit for limit in limits if limit.macos.contains(macos) and limit.holds_for_chip(chip)]
    fitting = [
        text for text in versions if macos >= _MACOS_14 or Version(text) < _FIRST_FOR_MACOS_14
    ]

    def faults(version: Version, *, slow: bool = False) -> tuple[str, ...]:
        return tuple(
            limit.id
            for limit in held
            if limit.holds_for_torch(version)
            and (limit.effect == "slow" if slow else limit.effect in HARMFUL)
        )

    def rank(text: str) -> tuple[int, int, Version]:
        version = Version(text)
        return -len(faults(version)), -len(faults(version, slow=True)), version

    best = max(fitting or versions, key=rank)
    own = () if installed is None else faults(installed)
    best_faults = faults(Version(best))
    return TorchAdvice(
        best=best,
        best_faults=best_faults,
        avoided=tuple(each for each in own if each not in best_faults),
        newer=installed is not None and installed > Version(versions[-1]),
    )
