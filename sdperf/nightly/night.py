"""A night: the answers of one nightly run on each case, as a small file of its job. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from sdperf.errors import RecordError
from sdperf.record.verdict import Outcome
from sdperf.units import shorten

FORMAT_VERSION: Final = 1
NIGHT_FILE: Final = "night.json"
LARGEST_NIGHT_BYTES: Final = 2**20
ALL_CASES: Final = "all cases together"
"""The name under which a night has the answer for all cases together."""

_MOST_CASES: Final = 5_000
_LONGEST_NAME: Final = 500
_LONGEST_REASON: Final = 300
_MOST_WORDS: Final = 40
_HEAD_BYTES: Final = 8_192
"""Bytes for the parts of a file beside its cases: a reason of 300 characters of 12 bytes each."""
_MOST_LEFT_OUT: Final = 10**9


@dataclass(frozen=True)
class NightAnswer:
    """The answer of a night on a case.

    Attributes:
        outcome: A value of `sdperf.record.verdict.Outcome`.
        reason: The reason; empty without one.
        bisect: Options after ``sdperf bisect GOOD BAD`` that search for the cause; empty where the
            case is not worse, or where no options are known.
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
        """Whether the outcome says that the case is bad or good; open outcomes say neither."""
        return self.is_bad or self.outcome in _WELL

    @property
    def aspect(self) -> str | None:
        """The value of ``sdperf bisect --for``; ``None`` where nothing is worse."""
        return ASPECTS.get(self.outcome)


_BAD: Final = frozenset(one.value for one in Outcome if one.is_failure)
_WELL: Final = frozenset({Outcome.PASS.value, Outcome.FASTER.value})
ASPECTS: Final[Mapping[str, str]] = {
    Outcome.SLOWER.value: "speed",
    Outcome.HEAVIER.value: "memory",
    Outcome.DEGRADED.value: "image",
    Outcome.BROKEN.value: "image",
}
"""The value of ``sdperf bisect --for`` for each outcome of a case."""


@dataclass(frozen=True)
class Night:
    """One nightly run.

    Attributes:
        cases: The answer on each case, by its test id.
        open: Why the night says nothing: it was void, interrupted, or measured nothing; ``None``
            where it has answers.
        commit: Commit that was measured, all 40 digits; empty where unknown.
        date: Day on which it began, ``2026-11-30``; empty where unknown.
        url: Address of the run's page; empty where unknown.
        left_out: How many more cases it had than its file has room for.
    """

    cases: Mapping[str, NightAnswer] = field(default_factory=dict)
    open: str | None = None
    commit: str = ""
    date: str = ""
    url: str = ""
    left_out: int = 0

    @property
    def is_judged(self) -> bool:
        """Whether the night has any answer."""
        return self.open is None

    def list_bad(self) -> list[str]:
        """Return the cases that were bad, in order."""
        return [name for name, answer in self.cases.items() if answer.is_bad]


def format_night(night: Night) -> str:
    """Return a night as JSON; commit, day and address come from GitHub, not from the file.

    The file stays within the limits of `parse_night`: names are shortened, then the options for
    bisect are left out, then cases, the bad ones last; the number of left-out cases is kept.
    """
    entries = [
        (_fit_name(name), answer)
        for name, answer in night.cases.items()
        if answer.outcome in _KNOWN
    ]
    kept = _choose_cases(entries, has_words=True)
    if len(kept) < len(entries):
        kept = _choose_cases(entries, has_words=False)
    document = {
        "sdperf_night": FORMAT_VERSION,
        "open": None if night.open is None else shorten(night.open, _LONGEST_REASON),
        "left_out": night.left_out + len(night.cases) - len(kept),
        "cases": kept,
    }
    return json.dumps(document, indent=1) + "\n"


def _choose_cases(
    entries: Sequence[tuple[str, NightAnswer]], *, has_words: bool
) -> dict[str, dict[str, object]]:
    """Return as many cases as a file may hold, bad ones first, in their order."""
    documents = {name: _describe(answer, has_words=has_words) for name, answer in entries}
    bad_first = sorted(entries, key=lambda entry: not entry[1].is_bad)
    chosen: set[str] = set()
    room = LARGEST_NIGHT_BYTES - _HEAD_BYTES
    for name in dict.fromkeys(name for name, _ in bad_first):
        text = json.dumps({name: documents[name]}, indent=1)
        room -= len(text) + text.count("\n")  # one level deeper in the file
        if room < 0 or len(chosen) == _MOST_CASES:
            break
        chosen.add(name)
    return {name: document for name, document in documents.items() if name in chosen}


def _describe(answer: NightAnswer, *, has_words: bool) -> dict[str, object]:
    words = answer.bisect if has_words and len(answer.bisect) <= _MOST_WORDS else ()
    is_short = all(len(word) <= _LONGEST_NAME for word in words)
    return {
        "outcome": answer.outcome,
        "reason": shorten(answer.reason, _LONGEST_REASON),
        "bisect": list(words) if is_short else [],
    }


def _fit_name(name: str) -> str:
    """Return a test id that fits the file: a long one keeps its start and gets a hash."""
    if len(name) <= _LONGEST_NAME:
        return name or "(no name)"
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{name[: _LONGEST_NAME - len(digest) - 4]}... {digest}"


def parse_night(content: bytes, *, commit: str = "", date: str = "", url: str = "") -> Night:
    """Read a night; no part of the file is trusted.

    Args:
        content: The file.
        commit: Hash of the commit that the run measured; empty where it is unknown.
        date: Day on which the run began, ``2026-11-30``; empty where it is unknown.
        url: Address of the run's page on GitHub; empty where it is unknown.

    Raises:
        RecordError: The file is too large, not JSON, of another version, or has values that no
            night has.
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
    left_out = document.get("left_out", 0)
    if type(left_out) is not int or not 0 <= left_out <= _MOST_LEFT_OUT:
        raise RecordError("the night's file does not say how many cases it leaves out")
    if not isinstance(listed, dict) or len(listed) > _MOST_CASES:
        raise RecordError("the night's file holds no cases", expected=f"at most {_MOST_CASES}")
    if reason is not None and not _is_text(reason, _LONGEST_REASON):
        raise RecordError("the night's file does not say why it is open", got=type(reason).__name__)
    cases = {_check_name(name): _parse_answer(name, one) for name, one in listed.items()}
    return Night(cases, reason, commit, date, url, left_out)


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
