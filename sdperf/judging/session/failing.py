"""Whether a judged session fails: one rule for pytest, ``compare`` and ``replay``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.units import format_quantity

_UNCOMPARED: Final = frozenset({Outcome.INCOMPARABLE, Outcome.NO_BASELINE})
_COMPARED: Final = frozenset({Outcome.PASS, Outcome.FASTER, Outcome.SLOWER})


def is_failed(
    verdicts: Sequence[Verdict],
    suite: Finding | None,
    *,
    strict: bool = False,
    exact: bool = False,
    is_void: bool = False,
) -> bool:
    """Tell whether anything failed or, if strict, stayed open.

    Args:
        verdicts: Those of the session's cases.
        suite: What all cases have in common; ``None`` where it cannot be told.
        strict: Whether open answers fail.
        exact: Whether an image fails that is no longer bit for bit the same.
        is_void: Whether the session ends as void, which leaves its timings open, also when strict.
    """
    told = (finding.outcome for one in verdicts for finding in one.told)
    if (exact or strict) and Outcome.CHANGED in told:  # this does not depend on times
        return True
    outcomes = [one.outcome for one in verdicts] + ([] if suite is None else [suite.outcome])
    return any(one.is_failure or (strict and not is_void and one.is_open) for one in outcomes)


def explain_nothing_compared(verdicts: Iterable[Verdict], bases: Sequence[str]) -> str | None:
    """Say that no case could be compared, although there was something to compare with.

    Such a session fails: a gate that compared nothing must not look like one that passed. Where
    there is nothing to compare with, as for the first run of all, this is no failure.

    Args:
        verdicts: Those of the cases that the session timed.
        bases: Names of the sessions that it is compared with, oldest first.
    """
    speeds = [
        {one.outcome for one in verdict.findings if one.gate == "latency"} for verdict in verdicts
    ]
    speeds = [one for one in speeds if one]
    # What makes a time doubtful can stand beside: two speeds among processes, say.
    nothing = all(one & _UNCOMPARED and not one & _COMPARED for one in speeds)
    if not bases or not speeds or not nothing:
        return None
    named = bases[0] if len(bases) == 1 else format_quantity(len(bases), "session")
    cases = "the case" if len(speeds) == 1 else f"any of the {len(speeds)} cases"
    return f"nothing was compared: {named} cannot judge {cases}; the reasons are listed"
