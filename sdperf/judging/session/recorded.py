"""Judges the records beside the median: starts, tails, growth, energy, cores. Pure.

A session and every reader of its saved run call the same `judge_recorded` with the same values:
where the session measured a suspect again, the record holds the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sdperf.judging import starts, tail
from sdperf.judging.resources.growth import DEFAULT_MAX_LEAK_BYTES, GATE, judge_growth
from sdperf.judging.resources.use import CORES, ENERGY, judge_cores, judge_energy
from sdperf.judging.starts import START_GATES, StartGate, StartLimits
from sdperf.record.measurement import FreshRepeats, Measurement
from sdperf.record.verdict import Finding, Outcome

RECORDED_GATES: Final = frozenset({*START_GATES, tail.GATE, GATE, ENERGY, CORES})
"""The gates that `judge_recorded` judges."""


@dataclass(frozen=True)
class RecordedLimits:
    """The limits of the gates beside the median.

    Attributes:
        load: Limits of loading.
        first_call: Limits of the first call.
        max_tail: Tolerated growth of p95 over the median, as a fraction.
        max_leak_bytes: Tolerated growth of memory, bytes per picture.
        max_energy_j: Tolerated energy of a picture, joules; ``None`` tolerates any.
        min_cores: Least number of busy cores; ``None`` sets no limit.
    """

    load: StartLimits = field(default_factory=StartLimits)
    first_call: StartLimits = field(default_factory=StartLimits)
    max_tail: float = tail.DEFAULT_MAX_TAIL
    max_leak_bytes: float = DEFAULT_MAX_LEAK_BYTES
    max_energy_j: float | None = None
    min_cores: float | None = None

    def of_start(self, gate: StartGate) -> StartLimits:
        """Return the limits of loading or of the first call."""
        return self.load if gate == "load" else self.first_call


@dataclass(frozen=True)
class RecordedCase:
    """One case and the sessions that it is compared with.

    Attributes:
        measurement: Its record.
        history: The measurement in each compared session, oldest first; ``None`` where a session
            has none that counts.
    """

    measurement: Measurement
    history: Sequence[Measurement | None]


@dataclass(frozen=True)
class Repeated:
    """What one fresh process measured of a suspect.

    Attributes:
        start: Its start, in the form of the measurement's, for `sdperf.judging.starts`.
        rounds_s: Seconds of timed rounds, where the tail was suspect.
    """

    start: Measurement
    rounds_s: tuple[float, ...]


Repeat = Callable[[str, int], Repeated | None]
"""Runs a case for a number of rounds in a fresh process; ``None`` where no process is left."""


def judge_recorded(
    cases: Mapping[str, RecordedCase], limits: RecordedLimits, *, is_void: bool = False
) -> dict[str, list[Finding]]:
    """Judge all cases of a session by their records alone.

    Loading and first call belong to a set of workers, which cases share: the first case that ran
    on it answers for all.

    Args:
        cases: By test id, in the order in which they ran.
        limits: The limits to judge by.
        is_void: Whether no timing counts; memory and energy still do.

    Returns:
        Findings by test id.
    """
    findings: dict[str, list[Finding]] = {name: [] for name in cases}
    for gate in START_GATES if not is_void else ():
        for name in _list_first_of_each_load(cases):
            found = _judge_start(gate, cases[name], limits)
            findings[name] += [] if found is None else [found]
    for name, one in cases.items():
        measured = one.measurement
        found_of_each = (
            None if is_void else _judge_tail(one, limits),
            judge_growth(measured, one.history, limits.max_leak_bytes),
            judge_energy(measured, limits.max_energy_j),
            None if is_void else judge_cores(measured, limits.min_cores),
        )
        findings[name] += [found for found in found_of_each if found is not None]
    return findings


def repeat_suspects(
    cases: Mapping[str, RecordedCase], limits: RecordedLimits, repeat: Repeat
) -> dict[str, FreshRepeats]:
    """Measure suspect starts and tails again; the result goes into the record.

    Args:
        cases: By test id, in the order in which they ran.
        limits: The limits to judge by.
        repeat: Measures a case again.

    Returns:
        The new measurements, by test id; only of suspects.
    """
    found: dict[str, FreshRepeats] = {}
    for gate in START_GATES:
        for name in _list_first_of_each_load(cases):
            if _is_slower(_judge_start(gate, cases[name], limits)):
                seconds = _repeat_start(gate, name, cases[name].measurement, repeat)
                before = found.get(name, FreshRepeats())
                found[name] = (
                    replace(before, load_s=seconds)
                    if gate == "load"
                    else replace(before, first_call_s=seconds)
                )
    for name, one in cases.items():
        if _is_slower(_judge_tail(one, limits)):
            again = [repeat(name, len(one.measurement.rounds_s)) for _ in range(tail.REPEATS)]
            rounds = tuple(seen.rounds_s for seen in again if seen is not None)
            found[name] = replace(found.get(name, FreshRepeats()), rounds_s=rounds)
    return found


def _list_first_of_each_load(cases: Mapping[str, RecordedCase]) -> list[str]:
    measured = [(name, one.measurement) for name, one in cases.items()]
    return starts.find_first_of_each_load(measured, _identify_workers)


def _judge_start(gate: StartGate, case: RecordedCase, limits: RecordedLimits) -> Finding | None:
    """Judge a start, and its repeats where it was measured again."""
    of_start = limits.of_start(gate)
    found = starts.judge_start(gate, case.measurement, case.history, of_start)
    repeats = case.measurement.repeats
    if repeats is None or not _is_slower(found):
        return found
    again_s = repeats.load_s if gate == "load" else repeats.first_call_s
    return starts.judge_start(gate, case.measurement, case.history, of_start, again_s)


def _judge_tail(case: RecordedCase, limits: RecordedLimits) -> Finding | None:
    """Judge a tail, and its repeats where it was measured again.

    Where other work took processors, that work may have made the tail long: the answer stays open.
    """
    rounds_s, repeats = case.measurement.rounds_s, case.measurement.repeats
    again = None if repeats is None else repeats.rounds_s
    found = tail.judge_tail(rounds_s, case.history, limits.max_tail, again)
    if found is None or not _is_slower(found) or not _was_busy(case.measurement):
        return found
    reason = f"{found.reason}; guard load: other work took processors meanwhile"
    step = "end other work and measure again: sdperf doctor"
    return replace(found, outcome=Outcome.INCONCLUSIVE, reason=reason, next_step=step)


def _was_busy(measurement: Measurement) -> bool:
    """Tell whether a guard saw other work on the processors before the case or after it."""
    guards = measurement.guards
    seen = () if guards is None else (*guards.before, *guards.during, *guards.after)
    return any(one.name == "load" and one.state in ("warn", "fail") for one in seen)


def _is_slower(finding: Finding | None) -> bool:
    return finding is not None and finding.outcome is Outcome.SLOWER


def _identify_workers(measurement: Measurement) -> object:
    """Return what identifies a set of workers: cases of one load share its exact seconds."""
    variant = measurement.variant
    pipeline = (variant.precision, variant.optimisations, variant.engine, variant.workers)
    return (*pipeline, measurement.load_s)


def _repeat_start(
    gate: StartGate, name: str, current: Measurement, repeat: Repeat
) -> tuple[float, ...]:
    """Measure a start in further fresh processes; only processes with the same caches count."""
    repeats_s: list[float] = []
    for _ in range(starts.REPEATS):
        seen = repeat(name, 0)
        if seen is None:
            break
        seconds = starts.read_start_s(gate, seen.start)
        caches = starts.describe_caches(gate, seen.start)
        if seconds is not None and caches == starts.describe_caches(gate, current):
            repeats_s.append(seconds)
    return tuple(repeats_s)
