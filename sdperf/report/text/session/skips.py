"""Why cases were skipped: each reason once, with its number of cases. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sdperf.report.text.lines import Line, wrap_line
from sdperf.units import format_quantity


def format_skips(reasons: Iterable[str]) -> list[Line]:
    """Lay out for a terminal why cases did not run.

    Args:
        reasons: One of each skipped case.
    """
    words = describe_skips(reasons)
    return wrap_line(f"skipped: {words}") if words else []


def describe_skips(reasons: Iterable[str], most: int | None = None) -> str:
    """Say why cases did not run: each reason with its number of cases, the most frequent first.

    >>> describe_skips(["slow", "long", "slow"])
    '2 x slow; 1 x long'
    >>> describe_skips(["slow", "long", "slow"], most=1)
    '2 x slow; 1 more reason'

    Args:
        reasons: One of each skipped case.
        most: How many reasons are named; ``None`` names all.
    """
    counted = Counter(reasons)
    words = [
        (f"{count} x " if len(counted) > 1 or count > 1 else "") + _explain_skip(reason)
        for reason, count in counted.most_common(most)
    ]
    if len(counted) > len(words):
        words.append(format_quantity(len(counted) - len(words), "more reason"))
    return "; ".join(words)


def _explain_skip(reason: str) -> str:
    """Say why cases did not run; pytest-benchmark's own words do not fit the quality suite."""
    if "--benchmark-only" not in reason:
        return reason
    return (
        "not timed by pytest-benchmark (the quality suite), because of --benchmark-only; leave it "
        "out to ask them too"
    )
