"""Tells what the gate would do on this machine, from sessions of unchanged code. Pure.

Each session in turn is compared with all others: any SLOWER is a false alarm. Then one of its cases
is slowed down in the numbers, more and more, until the gate finds it.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sdperf.judging.latency import screen_latency
from sdperf.judging.session.held import HeldCase, estimate_session
from sdperf.judging.session.judge import judge_session
from sdperf.judging.session.limits import Limits
from sdperf.judging.suite_estimate import FEWEST_SESSIONS
from sdperf.record.verdict import Outcome
from sdperf.units import format_quantity

FEWEST_TO_CALIBRATE: Final = FEWEST_SESSIONS + 1
SLOWDOWNS: Final = tuple(
    percent / 100 for percent in (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 35, 50, 75, 100)
)
"""Slowdowns that are tried in the numbers, as fractions."""

MOST_CASES_TRIED: Final = 12
POWER: Final = 0.95

Session = Mapping[str, Sequence[float]]
"""Seconds of the rounds of each case, by name."""


@dataclass(frozen=True)
class MachineNoise:
    """What unchanged sessions tell about a machine and about the gate on it.

    Attributes:
        sessions: Sessions of unchanged code.
        cases: How many cases all of them hold.
        max_slowdown: The limit that was tried, as a fraction.
        red_sessions: Sessions that the saved numbers alone call SLOWER somewhere: false alarms.
        red_bound: The true share of red sessions is below this with 95 % confidence.
        suspicious_sessions: Sessions in which a case would be measured again.
        smallest_proven: Slowdown of one case that the saved numbers alone prove in 95 % of trials;
            ``None`` where even the largest tried one is not proven.
        smallest_suspected: Slowdown of one case that is measured again in 95 % of trials.
        telling_width: Change that the noisiest unchanged case stays below in 95 % of sessions, as
            a fraction.
        noisiest: Name of that case.
        widths: The same for every case, by name.
    """

    sessions: int
    cases: int
    max_slowdown: float
    red_sessions: int
    red_bound: float
    suspicious_sessions: int
    smallest_proven: float | None
    smallest_suspected: float | None
    telling_width: float
    noisiest: str
    widths: Mapping[str, float] = field(default_factory=dict)

    @property
    def supports_limit(self) -> bool:
        """Whether the limit lies above the noise of every case."""
        return self.telling_width <= self.max_slowdown


def compute_machine_noise(sessions: Sequence[Session], max_slowdown: float) -> MachineNoise:
    """Try the gate on sessions of unchanged code.

    Args:
        sessions: Oldest first, six or more.
        max_slowdown: The limit to try, of each case and of all together, as a fraction.

    Raises:
        ValueError: Fewer than six sessions, no case that all of them hold, or a duration that is
            not positive and finite.
    """
    limits = Limits(max_slowdown=max_slowdown, suite_slowdown=max_slowdown)
    first = sessions[0] if sessions else {}
    names = [name for name in first if all(name in one for one in sessions)]
    if len(sessions) < FEWEST_TO_CALIBRATE or not names:
        raise ValueError(
            f"{len(sessions)} sessions with {format_quantity(len(names), 'case')} in common"
        )
    red = suspicious = 0
    widths: dict[str, list[float]] = {name: [] for name in names}
    proven: list[float] = []
    suspected: list[float] = []
    tried = names[:: max(1, math.ceil(len(names) / MOST_CASES_TRIED))]
    for held_out in range(len(sessions)):
        cases = _hold_out(sessions, held_out, names)
        judged = judge_session(cases, limits).speed
        findings = [*judged.cases.values(), *([] if judged.suite is None else [judged.suite])]
        red += any(finding.outcome is Outcome.SLOWER for finding in findings)
        suspicious += bool(_list_suspects(cases, limits))
        for case in judged.estimates.values():
            if case.interval is not None:
                widths[case.data.case].append(math.expm1(case.interval.half_width))
        for name in tried:
            smallest = _find_smallest(sessions, held_out, names, name, limits)
            proven.append(smallest[0])
            suspected.append(smallest[1])
    medians = {name: statistics.median(seen) for name, seen in widths.items() if seen}
    noisiest = max(medians, key=medians.__getitem__)
    return MachineNoise(
        sessions=len(sessions),
        cases=len(names),
        max_slowdown=max_slowdown,
        red_sessions=red,
        red_bound=compute_upper_bound(red, len(sessions)),
        suspicious_sessions=suspicious,
        smallest_proven=_reached(proven),
        smallest_suspected=_reached(suspected),
        telling_width=medians[noisiest],
        noisiest=noisiest,
        widths=medians,
    )


def compute_upper_bound(seen: int, trials: int, confidence: float = 0.95) -> float:
    """Bound the probability of an event from how often it was seen.

    >>> round(compute_upper_bound(0, 8), 3)
    0.312

    Source: Clopper and Pearson (1934), one-sided: the p at which seeing so few has probability
        1 - confidence; by bisection of the binomial sum.
    """
    if seen >= trials:
        return 1.0
    low, high = seen / trials, 1.0
    for _ in range(60):
        p = (low + high) / 2
        below = math.fsum(
            math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(seen + 1)
        )
        low, high = (p, high) if below > 1 - confidence else (low, p)
    return high


def _hold_out(
    sessions: Sequence[Session],
    held_out: int,
    names: Sequence[str],
    slowed: tuple[str, float] | None = None,
) -> dict[str, HeldCase]:
    """Compare one session with all others, one case of it slowed down where asked."""
    others = [one for index, one in enumerate(sessions) if index != held_out]
    return {
        name: HeldCase(
            history_s=tuple(statistics.median(one[name]) for one in others),
            rounds_s=tuple(
                seconds * (1 + slowed[1] if slowed is not None and slowed[0] == name else 1)
                for seconds in sessions[held_out][name]
            ),
        )
        for name in names
    }


def _list_suspects(cases: Mapping[str, HeldCase], limits: Limits) -> list[str]:
    screening = screen_latency(estimate_session(cases, limits), limits.latency)
    return [suspect.case.data.case for suspect in screening.suspects]


def _find_smallest(
    sessions: Sequence[Session],
    held_out: int,
    names: Sequence[str],
    name: str,
    limits: Limits,
) -> tuple[float, float]:
    """Return the smallest slowdown of one case that is proven, and that is suspected."""

    def is_proven(slowdown: float) -> bool:
        cases = _hold_out(sessions, held_out, names, (name, slowdown))
        return judge_session(cases, limits).speed.cases[name].outcome is Outcome.SLOWER

    def is_suspected(slowdown: float) -> bool:
        cases = _hold_out(sessions, held_out, names, (name, slowdown))
        return name in _list_suspects(cases, limits)

    found = []
    for is_seen in (is_proven, is_suspected):
        index = bisect.bisect_left(SLOWDOWNS, True, key=is_seen)
        found.append(SLOWDOWNS[index] if index < len(SLOWDOWNS) else math.inf)
    return found[0], found[1]


def _reached(smallest: Sequence[float]) -> float | None:
    """Return the slowdown that is seen in 95 % of trials; ``None`` when none tried is."""
    ordered = sorted(smallest)
    reached = ordered[min(len(ordered) - 1, math.ceil(POWER * len(ordered)) - 1)]
    return reached if math.isfinite(reached) else None
