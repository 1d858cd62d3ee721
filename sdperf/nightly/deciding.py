"""What is to become of the issue, by the last nights. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sdperf.nightly.night import Night, NightAnswer

BAD_NIGHTS: Final = 3
"""Nights in a row in which a case has to be bad before anybody is told."""


@dataclass(frozen=True)
class BadCase:
    """A case that is bad now.

    Attributes:
        name: Its test id.
        nights: The nights in a row that said so, the first one first; nights that settled nothing
            of the case are left out.
        last_good: The night before them that said that it was well; ``None`` where none is known.
    """

    name: str
    nights: tuple[Night, ...]
    last_good: Night | None = None


@dataclass(frozen=True)
class KnownIssue:
    """The issue as it is.

    Attributes:
        number: Its number.
        cases: Test ids that it lists.
        closed_on: Day on which it was closed, ``2026-11-30``; ``None`` where it is open.
        digests: Of the cases that it is about beside those, `digest_name`.
        is_over: Whether sdperf itself closed it, since every case was well.
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
        """Whether it is."""
        return self.closed_on is None

    def is_about(self, name: str) -> bool:
        """Whether it was made of this case among others."""
        return name in self.cases or (bool(self.digests) and digest_name(name) in self.digests)


def digest_name(name: str) -> str:
    """Return four characters that stand for a test id where there is no room for it.

    Of 5,000 cases a new one is taken for one of them once in 3,000.
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:3]).decode()


@dataclass(frozen=True)
class NightDecision:
    """What to do.

    Attributes:
        act: ``open``, ``update``, ``close`` or ``nothing``.
        reason: Why, one sentence.
        bad: The cases that the issue is to list.
        absent: Those of them that the last night did not measure.
    """

    act: str
    reason: str
    bad: tuple[BadCase, ...] = ()
    absent: tuple[str, ...] = ()


def find_bad_case(name: str, nights: Sequence[Night]) -> BadCase | None:
    """Return in which nights, up to the last that settled anything of it, a case was bad.

    Args:
        name: Its test id.
        nights: Oldest first; nights that settle nothing of the case count neither way.

    Returns:
        ``None`` where the last night that settled it found it well, or none settled it.
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
    """Tell whether the last night that settled a case found it well."""
    settled = (_get_settled(name, night) for night in reversed(nights))
    last = next((one for one in settled if one is not None), None)
    return last is not None and not last.is_bad


def decide(nights: Sequence[Night], issue: KnownIssue | None) -> NightDecision:
    """Say what is to become of the issue.

    A case gets into it after three bad nights in a row and leaves it when a night finds it well; an
    answer that settles nothing (INCONCLUSIVE, NO BASELINE, INCOMPARABLE, CHANGED) counts neither
    way, and a case that is measured no longer stays. Somebody who closed the issue is not
    told the same again: only a case that it did not list opens another.

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
    """Tell whether a case is bad without a break since somebody closed an issue about it.

    An issue that sdperf closed, since all was well, tells of nothing that came after it.
    """
    if closed.is_over:
        return False
    began = row.nights[0].date
    has_begun_before = row.last_good is None or began <= (closed.closed_on or "")
    return closed.is_about(row.name) and has_begun_before
