"""The outcome of a session: its summary, its reports and its files are made from this value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sdperf.judging.session.comparison import Comparison
from sdperf.judging.session.speed import SpeedVerdict
from sdperf.record.guard import Guard
from sdperf.record.verdict import SettledCase
from sdperf.report.text.session.cases import Row


@dataclass(frozen=True)
class SessionOutcome:
    """A session, judged.

    Attributes:
        rows: Its cases with their verdicts, in the order in which they ran.
        comparison: The runs that it was compared with.
        speed: The findings on its speed.
        settled: Findings on a case's speed that its saved numbers alone do not give, by id.
        no_overlap: Why what the session is compared with holds none of its cases.
        not_compared: Why no case could be compared with what the session is compared with.
        nothing_ran: Why a session in which no case ran fails; ``None`` where it does not fail.
        tails_left_out: Why the tails of some cases were not judged; ``None`` where all were.
    """

    rows: tuple[Row, ...]
    comparison: Comparison
    speed: SpeedVerdict
    settled: Mapping[str, SettledCase] = field(default_factory=dict)
    no_overlap: str | None = None
    not_compared: str | None = None
    nothing_ran: str | None = None
    tails_left_out: str | None = None

    @property
    def nothing_compared(self) -> str | None:
        """Why nothing was compared although a comparison was asked for."""
        return self.no_overlap or self.not_compared

    @property
    def void(self) -> str | None:
        """Why no timing counts; ``None`` where timings do."""
        return self.speed.confirmation.void


def find_guards(rows: tuple[Row, ...]) -> tuple[Guard, ...] | None:
    """Return the guards on the machine's fitness; ``None`` where no guard was asked."""
    logs = (row.measurement.guards for row in rows if row.measurement is not None)
    log = next((each for each in logs if each is not None), None)
    return None if log is None or log.policy == "off" else log.before
