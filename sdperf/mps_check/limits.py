"""The list of known limits and bugs of MPS, with versions and sources; ``limits.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from sdperf.errors import ConfigurationError
from sdperf.mps_check.calls import OperatorCall
from sdperf.mps_check.predicates import PREDICATES

Effect = Literal["error", "crash", "wrong", "fallback", "slow", "differs"]
Certainty = Literal["reported", "suspected"]

EFFECTS: Final[dict[Effect, str]] = {
    "error": "raises an exception",
    "crash": "ends the process",
    "wrong": "gives wrong numbers without a word",
    "fallback": "copies to the CPU and back at each call",
    "slow": "is slower than it need be",
    "differs": "gives other numbers than on other devices",
}
LIMITS_PATH: Final = Path(__file__).parent / "limits.toml"
CHIPS: Final = ("", "M1", "M1 and M2", "M5 and later", "virtual machines")
"""The chips that an entry may name; a virtual machine also names the chip that it runs on."""

EVERY_OPERATOR: Final = "*"

_SOURCE: Final = re.compile(r"[\w.-]+/[\w.-]+#\d+|wheel|docs: .+")
_GENERATION: Final = re.compile(r"\bM(\d+)\b")
_DAY: Final = re.compile(r"20\d\d-[01]\d-[0-3]\d")
_STAGES: Final = ("text encoding", "denoising", "decoding", "any")


@dataclass(frozen=True)
class Limit:
    """One known limit or bug.

    Attributes:
        id: Its name.
        title: What happens, as a sentence.
        effect: The kind of harm.
        certainty: ``suspected`` where no report shows exactly this in exactly this version.
        torch: Versions that have it.
        macos: Versions that have it; all where empty.
        chips: Chips that have it, one of `CHIPS`; all where empty.
        operators: Names of operators of ``aten``, or ``*``.
        predicate: Name of the predicate that chooses calls; see `sdperf.mps_check.predicates`.
        stages: The stages of a generation with such operators.
        remedy: What to do about it.
        sources: Issues and pull requests; ``wheel`` where the message is in the library.
        reported: Day of the newest report that was read, such as ``2026-09-20``; empty where the
            entry is older than this field, or comes from the wheels.
        wheel_text: The message in the library, or a part of it.
        note: An open question about it.
    """

    id: str
    title: str
    effect: Effect
    certainty: Certainty
    torch: SpecifierSet
    macos: SpecifierSet
    chips: str
    operators: tuple[str, ...]
    predicate: str
    stages: tuple[str, ...]
    remedy: str
    sources: tuple[str, ...]
    reported: str = ""
    wheel_text: str = ""
    note: str = ""

    def holds_for_torch(self, version: Version) -> bool:
        """Whether a version of torch has the limit, including pre-releases."""
        return self.torch.contains(version, prereleases=True)

    def holds_for_chip(self, chip: str | None) -> bool:
        """Whether a chip has the limit, or may have it.

        Args:
            chip: Its name in macOS, such as ``Apple M2 Max`` or ``Apple M1 (Virtual)``; an unknown
                chip may be any one, but not that of a virtual machine.
        """
        if self.chips == "virtual machines":
            return chip is not None and "virtual" in chip.lower()
        if chip is None:
            return True
        found = _GENERATION.search(chip)
        generation = int(found.group(1)) if found else 0
        if self.chips == "M5 and later":
            return generation >= 5
        return not self.chips or f"M{generation}" in self.chips.split(" and ")

    def concerns(self, call: OperatorCall) -> bool:
        """Whether the limit is about a call."""
        return self.names(call) and PREDICATES[self.predicate](call)

    def names(self, call: OperatorCall) -> bool:
        """Whether the limit is about the operator of a call, in some form or other."""
        return EVERY_OPERATOR in self.operators or (
            call.operator.startswith("aten::") and call.name in self.operators
        )


@dataclass(frozen=True)
class Unseen:
    """A known trap that no record of operators can show.

    Attributes:
        id: Its name.
        case: What happens.
        why: Why a recording cannot show it, and what can.
        sources: Its reports.
    """

    id: str
    case: str
    why: str
    sources: tuple[str, ...]


@cache
def load_limits() -> tuple[Limit, ...]:
    """Read the list of limits.

    Raises:
        ConfigurationError: It is damaged.
    """
    return tuple(parse_limit(each) for each in _read()["limit"])


@cache
def load_unseen() -> tuple[Unseen, ...]:
    """Read the list of traps that this check cannot find.

    Raises:
        ConfigurationError: It is damaged.
    """
    return tuple(
        Unseen(each["id"], each["case"], each["why"], tuple(each["sources"]))
        for each in _read()["unseen"]
    )


def load_reading() -> str:
    """Return the date up to which reports for the list were read, in words."""
    reading = _read()["reading"]
    return f"reports up to {reading['newest']}, read on {reading['on']}"


def parse_limit(entry: dict[str, Any]) -> Limit:
    """Check one entry.

    Raises:
        ConfigurationError: A field is missing, unknown, or of another kind.
    """
    try:
        limit = Limit(
            **{
                **entry,
                "torch": SpecifierSet(entry["torch"]),
                "macos": SpecifierSet(entry.get("macos", "")),
                "chips": entry.get("chips", ""),
                "certainty": entry.get("certainty", "reported"),
                "operators": tuple(entry["operators"]),
                "stages": tuple(entry["stages"]),
                "sources": tuple(entry["sources"]),
            }
        )
    except (KeyError, TypeError, InvalidSpecifier) as error:
        raise _damaged(entry, f"{type(error).__name__}: {error}") from error
    faults = [
        fault
        for is_fault, fault in (
            (not limit.title or not limit.remedy, "an empty title or remedy"),
            (limit.effect not in EFFECTS, f"effect {limit.effect}"),
            (limit.certainty not in get_args(Certainty), f"certainty {limit.certainty}"),
            (limit.chips not in CHIPS, f"chips {limit.chips}"),
            (not limit.operators, "no operators"),
            (limit.predicate not in PREDICATES, f"predicate {limit.predicate}"),
            (not limit.stages or not set(limit.stages) <= set(_STAGES), f"stages {limit.stages}"),
            (not limit.sources, "no source"),
            (not all(map(_SOURCE.fullmatch, limit.sources)), f"sources {limit.sources}"),
            (limit.reported and not _DAY.fullmatch(limit.reported), f"reported {limit.reported}"),
            (("wheel" in limit.sources) != bool(limit.wheel_text), "a wheel without its message"),
        )
        if is_fault
    ]
    if faults:
        raise _damaged(entry, ", ".join(faults))
    return limit


def _damaged(entry: dict[str, Any], got: str) -> ConfigurationError:
    return ConfigurationError(
        f"{LIMITS_PATH.name} is damaged at {entry.get('id', 'an entry without an id')}", got=got
    )


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(LIMITS_PATH.read_text(encoding="utf-8"))
