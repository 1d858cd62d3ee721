"""Decides by the last nights what to do with the issue. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sdperf.nightly.night import Night, NightAnswer

BAD_NIGHTS: Final = 3
"""How many nights in a row a case has to be bad before an issue is opened."""


@dataclass(frozen=True)
class BadCase:
    """A case that is bad now.

    Attributes:
        name: Its test id.
        nights: The nights in a row that found it bad, the first one first; nights without an answer
            on the case are left out.
        last_good: The night before them that found it good; ``None`` where no such night is known.
    """

    name: str
    nights: tuple[Night, ...]
    last_good: Night | None = None


@dataclass(frozen=True)
class KnownIssue:
    """The present issue.

    Attributes:
        number: Its number.
        cases: Test ids that it lists.
        closed_on: Day on which it was closed, ``2026-11-30``; ``None`` where it is open.
        digests: Digests (`digest_name`) of further cases that it is about.
        is_over: Whether sdperf itself closed it, since every case was good.
        body: Its text.
    """

    number: int
    cases: tuple[str, ...]
    closed_on: str | None = None
    digests: frozenset[str] = frozenset()
    is_over: bool = False
    body: str = field(default="", repr=False)

    @property
    def is_open(self) -> bool:
        """Whether the issue is open."""
        return self.closed_on is None

    def is_about(self, name: str) -> bool:
        """Whether this case is one of those that the issue is about."""
        return name in self.cases or (bool(self.digests) and digest_name(name) in self.digests)


def digest_name(name: str) -> str:
    """Return four characters that replace a test id where there is no room for it.

    With 5,000 cases, a new case has the digest of one of them with a chance of 1 in 3,000.
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:3]).decode()


@dataclass(frozen=True)
class NightDecision:
    """A decision on the issue.

    Attributes:
        act: ``open``, ``update``, ``close`` or ``nothing``.
        reason: The reason, one sentence.
        bad: The cases for the issue to list.
        absent: Those of these cases that the last night did not measure.
    """

    act: str
    reason: str
    bad: tuple[BadCase, ...] = ()
    absent: tuple[str, ...] = ()


def find_bad_case(name: str, nights: Sequence[Night]) -> BadCase | None:
    """Return the nights in a row, up to the last with an answer, in which a case was bad.

    Args:
        name: Its test id.
        nights: The nights, oldest first; nights without an answer on the case do not count.

    Returns:
        ``None`` where the last night with an answer found it good, or no night had an answer.
    """
    row: list[Night] = []
    last_good = None
    for night in reversed(nights):
        answer = _get_settled(name, night)
        if answer is None:
            continue
        if not answer.is_bad:
            last_good = night
            break
        row.append(night)
    return BadCase(name, tuple(reversed(row)), last_good) if row else None


def _get_settled(name: str, night: Night) -> NightAnswer | None:
    answer = night.cases.get(name) if night.is_judged else None
    return answer if answer is not None and answer.is_settled else None


def _is_well(name: str, nights: Sequence[Night]) -> bool:
    """Tell whether the last night with an answer on a case found it good."""
    settled = (_get_settled(name, night) for night in reversed(nights))
    last = next((one for one in settled if one is not None), None)
    return last is not None and not last.is_bad


def decide(nights: Sequence[Night], issue: KnownIssue | None) -> NightDecision:
    """Decide what to do with the issue.

    A case enters it after three bad nights in a row and leaves it when a night finds it good. An
    open answer (INCONCLUSIVE, NO BASELINE, INCOMPARABLE, CHANGED) does not count, and a case that
    is no longer measured stays. A person who closed the issue is not told about the same cases
    again: only a case that it did not list opens another issue.

    Args:
        nights: The last nights, oldest first.
        issue: The open issue, else the one that was closed last; ``None`` where there was none.
    """
    if not nights:
        return NightDecision("nothing", "no night is known")
    last = nights[-1]
    if not last.is_judged:
        return NightDecision("nothing", f"the last night says nothing: {last.open}")
    rows = {name: find_bad_case(name, nights) for name in last.list_bad()}
    lasting = {
        name: row for name, row in rows.items() if row is not None and len(row.nights) >= BAD_NIGHTS
    }
    if issue is None or not issue.is_open:
        if any(issue is None or not _is_told(row, issue) for row in lasting.values()):
            bad = tuple(lasting.values())
            return NightDecision("open", f"worse for {BAD_NIGHTS} nights or more", bad)
        if lasting:
            return NightDecision("nothing", "what is worse was in the issue that somebody closed")
        bad_now = len(last.list_bad())
        return NightDecision("nothing", f"no case is worse for {BAD_NIGHTS} nights ({bad_now} now)")
    seen = (name for night in nights for name in night.cases if issue.is_about(name))
    known = dict.fromkeys((*issue.cases, *seen))
    still = (name for name in known if not _is_well(name, nights))
    names = dict.fromkeys((*still, *lasting))
    if not names:
        return NightDecision("close", "every case that the issue lists is well again")
    bad = tuple(find_bad_case(name, nights) or BadCase(name, ()) for name in names)
    absent = tuple(name for name in names if name not in last.cases)
    return NightDecision("update", "cases are still worse", bad, absent)


def _is_told(row: BadCase, closed: KnownIssue) -> bool:
    """Tell whether a case has been bad without a break since a person closed an issue about it.

    An issue that sdperf closed, since all was good, does not cover later nights.
    """
    if closed.is_over:
        return False
    began = row.nights[0].date
    has_begun_before = row.last_good is None or began <= (closed.closed_on or "")
    return closed.is_about(row.name) and has_begun_before
