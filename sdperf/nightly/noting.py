"""Makes the night of a saved run, in the job that measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sdperf.judging.settling import suggest_bisect
from sdperf.nightly.night import ALL_CASES, ASPECTS, Night, NightAnswer
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding
from sdperf.store.runs import SavedRun


def note_night(run: SavedRun) -> Night:
    """Return the outcome of each case of a run, with options for bisect where it is worse.

    A run that is void or was interrupted says nothing: neither that a case is bad nor that it is
    good.
    """
    summary = run.summary
    if summary is None:
        return Night(open="the run holds no answers of sdperf")
    if summary.void is not None:
        return Night(open=f"void: {summary.void}"[:300])
    if summary.interrupted:
        return Night(open="it was interrupted")
    measured = {
        name: case.measurement for name, case in run.cases.items() if case.measurement is not None
    }
    first = next(iter(measured.values()), None)
    outcomes = dict(summary.outcomes)
    if summary.suite is not None:
        outcomes[ALL_CASES] = summary.suite
    return Night(
        {
            name: NightAnswer(
                outcome,
                _find_reason(outcome, run.findings.get(name, ())),
                _suggest(outcome, measured.get(name, first)),
            )
            for name, outcome in outcomes.items()
        }
    )


def _find_reason(outcome: str, findings: Iterable[Finding]) -> str:
    return next((one.reason for one in findings if one.outcome.value == outcome), "")


def _suggest(outcome: str, measured: Measurement | None) -> tuple[str, ...]:
    aspect = ASPECTS.get(outcome)
    if aspect is None or measured is None:
        return ()
    return suggest_bisect(measured, aspect)
