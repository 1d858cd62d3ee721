"""A night: what one nightly run said of each case, as the small file that its job leaves. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from sdperf.errors import RecordError
from sdperf.record.verdict import Outcome
from sdperf.units import shorten

FORMAT_VERSION: Final = 1
NIGHT_FILE: Final = "night.json"
LARGEST_NIGHT_BYTES: Final = 2**20
ALL_CASES: Final = "all cases together"
"""The name under which a night says what its cases have in common."""

_MOST_CASES: Final = 5_000
_LONGEST_NAME: Final = 500
_LONGEST_REASON: Final = 300
_MOST_WORDS: Final = 40


@dataclass(frozen=True)
class NightAnswer:
    """What a night said of a case.

    Attributes:
        outcome: In the words of `sdperf.record.verdict.Outcome`.
        reason: What was seen; empty where nothing was said.
        bisect: What follows ``sdperf bisect GOOD BAD`` to ask since when this case is worse; empty
            where it is not, or where nothing is known to ask.
    """

    outcome: str
    reason: str = ""
    bisect: tuple[str, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether the outcome fails a run."""
        return self.outcome in _BAD

    @property
    def is_settled(self) -> bool:
        """Whether the outcome says that the case is bad or that it is well; others say neither."""
        return self.is_bad or self.outcome in _WELL

    @property
    def aspect(self) -> str | None:
        """What ``sdperf bisect --for`` searches for; ``None`` where nothing is worse."""
        return ASPECTS.get(self.outcome)


_BAD: Final = frozenset(one.value for one in Outcome if one.is_failure)
_WELL: Final = frozenset({Outcome.PASS.value, Outcome.FASTER.value})
ASPECTS: Final[Mapping[str, str]] = {
    Outcome.SLOWER.value: "speed",
    Outcome.HEAVIER.value: "memory",
    Outcome.DEGRADED.value: "image",
    Outcome.BROKEN.value: "image",
}
"""What ``sdperf bisect --for`` searches for, by what a case came to."""


@dataclass(frozen=True)
class Night:
    """One nightly run.

    Attributes:
        cases: What was said of each case, by its test id.
        open: Why the night says nothing: it was void, interrupted, or measured nothing; ``None``
            where it does.
        commit: Commit that was measured, all 40 digits; empty unknown.
        date: Day on which it began, ``2026-11-30``; empty unknown.
        url: Where the run can be looked at; empty unknown.
    """

    cases: Mapping[str, NightAnswer] = field(default_factory=dict)
    open: str | None = None
    commit: str = ""
    date: str = ""
    url: str = ""

    @property
    def is_judged(self) -> bool:
        """Whether it says anything."""
        return self.open is None

    def list_bad(self) -> list[str]:
        """Return the cases that were bad, in order."""
        return [name for name, answer in self.cases.items() if answer.is_bad]


def format_night(night: Night) -> str:
    """Return a night as JSON; commit, day and address come from GitHub, not from the file."""
    document = {
        "sdperf_night": FORMAT_VERSION,
        "open": night.open,
        "cases": {
            name: {
                "outcome": answer.outcome,
                "reason": shorten(answer.reason, _LONGEST_REASON),
                "bisect": list(answer.bisect),
            }
            for name, answer in night.cases.items()
        },
    }
    return json.dumps(document, indent=1) + "\n"


def parse_night(content: bytes, *, commit: str = "", date: str = "", url: str = "") -> Night:
    """Read a night; nothing in the file is trusted.

    Args:
        content: The file.
        commit: Of the run, as GitHub has it.
        date: Likewise.
        url: Likewise.

    Raises:
        RecordError: It is too large, no JSON, of another version, or says what no night says.
    """
    if len(content) > LARGEST_NIGHT_BYTES:
        raise RecordError("the night's file is too large", got=f"{len(content)} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecordError("the night's file is no JSON", got=str(error)) from error
    if not isinstance(document, dict) or document.get("sdperf_night") != FORMAT_VERSION:
        raise RecordError(
            "the night's file is of another format", expected=f"sdperf_night {FORMAT_VERSION}"
        )
    listed, reason = document.get("cases"), document.get("open")
    if not isinstance(listed, dict) or len(listed) > _MOST_CASES:
        raise RecordError("the night's file holds no cases", expected=f"at most {_MOST_CASES}")
    if reason is not None and not _is_text(reason, _LONGEST_REASON):
        raise RecordError("the night's file does not say why it is open", got=type(reason).__name__)
    cases = {_check_name(name): _parse_answer(name, one) for name, one in listed.items()}
    return Night(cases, reason, commit, date, url)


def _parse_answer(name: str, document: Any) -> NightAnswer:
    one = document if isinstance(document, dict) else {}
    outcome, reason, words = one.get("outcome"), one.get("reason"), one.get("bisect")
    if (
        not isinstance(outcome, str)
        or outcome not in _KNOWN
        or not _is_text(reason, _LONGEST_REASON)
        or not isinstance(words, list)
        or len(words) > _MOST_WORDS
        or not all(_is_text(word, _LONGEST_NAME) for word in words)
    ):
        raise RecordError(
            "the night's file holds a case that cannot be read", got=shorten(name, 100)
        )
    return NightAnswer(outcome, reason, tuple(words))


_KNOWN: Final = frozenset(one.value for one in Outcome)


def _check_name(name: str) -> str:
    if not _is_text(name, _LONGEST_NAME) or not name:
        raise RecordError("the night's file names a case oddly", got=shorten(repr(name), 100))
    return name


def _is_text(value: object, most: int) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= most
