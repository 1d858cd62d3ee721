"""Loading, first calls and tails in a session: judged, and suspects measured again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sdperf.errors import SdperfError
from sdperf.judging import starts, tail
from sdperf.judging.session.gate import JudgedCase
from sdperf.judging.starts import START_GATES, StartGate, StartLimits
from sdperf.measure.clock import monotonic_clock
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.run.arm import CaseArm, make_arm
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.plugin.session import SdSession


@dataclass(frozen=True)
class Repeated:
    """What one fresh process made of a suspect.

    Attributes:
        start: Like the measurement's, for `sdperf.judging.starts`.
        rounds_s: Timed rounds, where the tail was suspect.
    """

    start: Measurement
    rounds_s: tuple[float, ...]


Repeat = Callable[[str, int], Repeated | None]
"""Runs a case with so many rounds in a fresh process; ``None`` where none can be had any more."""


def judge_starts(
    judged: Mapping[str, JudgedCase],
    limits: Mapping[StartGate, StartLimits],
    max_tail: float,
    repeat: Repeat | None,
) -> dict[str, list[Finding]]:
    """Judge loading, first call and tail of all cases; suspects are measured again.

    Loading and first call belong to a set of workers, which cases share: the first case that ran
    on it answers for all.

    Args:
        judged: The session's cases by test id.
        limits: Of loading and first call.
        max_tail: Of the tail.
        repeat: Measures a case again; ``None`` judges by the numbers alone.

    Returns:
        Findings by test id.
    """
    findings: dict[str, list[Finding]] = {name: [] for name in judged}
    measured = [(name, one.measurement) for name, one in judged.items()]
    for gate in START_GATES:
        for name in starts.find_first_of_each_load(measured, _identify_workers):
            one = judged[name]
            found = starts.judge_start(gate, one.measurement, one.history, limits[gate])
            if found is not None and found.outcome is Outcome.SLOWER and repeat is not None:
                repeats_s = _repeat_start(gate, name, one.measurement, repeat)
                found = starts.judge_start(
                    gate, one.measurement, one.history, limits[gate], repeats_s
                )
            findings[name] += [] if found is None else [found]
    for name, one in judged.items():
        rounds_s = one.measurement.rounds_s
        found = tail.judge_tail(rounds_s, one.history, max_tail)
        if found is not None and found.outcome is Outcome.SLOWER and repeat is not None:
            again = [repeat(name, len(rounds_s)) for _ in range(tail.REPEATS)]
            rounds = [seen.rounds_s for seen in again if seen is not None]
            found = tail.judge_tail(rounds_s, one.history, max_tail, rounds)
        findings[name] += [] if found is None else [found]
    return findings


def _identify_workers(measurement: Measurement) -> object:
    """Tell sets of workers apart: those of one load share its seconds to the last digit."""
    variant = measurement.variant
    pipeline = (variant.precision, variant.optimisations, variant.engine, variant.workers)
    return (*pipeline, measurement.load_s)


def _repeat_start(
    gate: StartGate, name: str, current: Measurement, repeat: Repeat
) -> list[float] | None:
    """Measure a start in more fresh processes; only those with the same caches count."""
    repeats_s = []
    for _ in range(starts.REPEATS):
        seen = repeat(name, 0)
        if seen is None:
            break
        seconds = starts.read_start_s(gate, seen.start)
        caches = starts.describe_caches(gate, seen.start)
        if seconds is not None and caches == starts.describe_caches(gate, current):
            repeats_s.append(seconds)
    return repeats_s


def explain_tails(judged: Mapping[str, JudgedCase]) -> str | None:
    """Say which compared cases have too few rounds for their tail to be judged; one line."""
    compared = [one for one in judged.values() if any(saved is not None for saved in one.history)]
    short = [one for one in compared if not tail.has_tail(one.measurement)]
    if not short:
        return None
    fewest = min(len(one.measurement.rounds_s) for one in short)
    return (
        f"tails not judged: {format_quantity(len(short), 'case')} of {len(compared)} with fewer "
        f"than {tail.FEWEST_ROUNDS} rounds ({fewest} at least); --sd-rounds {tail.FEWEST_ROUNDS}"
    )


def make_repeat(ours: SdSession, judged: Mapping[str, JudgedCase], budget_s: float) -> Repeat:
    """Make what measures a case again on workers of its own, while the time lasts.

    Args:
        ours: The session.
        judged: Its cases.
        budget_s: Seconds after which nothing more begins.
    """
    started_s = monotonic_clock()

    def repeat(name: str, rounds: int) -> Repeated | None:
        if ours.interrupted or monotonic_clock() - started_s > budget_s:
            return None
        suite, measurement = ours.suite(), judged[name].measurement
        suite.pool.close()
        arm = make_arm(
            suite,
            measurement,
            pool=suite.pool.make_beside(),
            warmup=ours.settings.warmup,
            subject=suite.subject,
            code=suite.code,
        )
        ours.live_line.say(f"measuring {name.rpartition('::')[2]} again in a fresh process")
        try:
            return _run_again(arm, measurement, rounds)
        except SdperfError:
            return None
        except KeyboardInterrupt:  # what was judged stands, as in `confirm_suspects`
            ours.interrupted = True
            return None
        finally:
            arm.close()

    return repeat


def _run_again(arm: CaseArm, measurement: Measurement, rounds: int) -> Repeated:
    case = arm.start()
    start = replace(
        measurement,
        load_s=case.load_s,
        first_call_s=case.first_call_s,
        start=case.describe_start(),
    )
    for _ in range(arm.warmup if rounds else 0):
        case.warm_up()
    return Repeated(start, tuple(case.measure_round() for _ in range(rounds)))
