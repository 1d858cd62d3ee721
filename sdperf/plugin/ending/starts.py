"""Measures suspects of a slow start or a long tail again, in fresh processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sdperf.ab.turns.case_arm import CaseArm, make_arm
from sdperf.errors import SdperfError
from sdperf.judging import tail
from sdperf.judging.session.gate import JudgedCase
from sdperf.judging.session.recorded import Repeat, Repeated
from sdperf.measure.clock import monotonic_clock
from sdperf.record.measurement import Measurement
from sdperf.settings import ROUNDS
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession


def explain_tails(judged: Mapping[str, JudgedCase]) -> str | None:
    """Say which compared cases have too few rounds for their tail to be judged; one line."""
    compared = [one for one in judged.values() if any(saved is not None for saved in one.history)]
    short = [one for one in compared if not tail.has_tail(one.measurement)]
    if not short:
        return None
    fewest = min(len(one.measurement.rounds_s) for one in short)
    return (
        f"tails not judged: {format_quantity(len(short), 'case')} of {len(compared)} with fewer "
        f"than {tail.FEWEST_ROUNDS} rounds ({fewest} at least); {ROUNDS} {tail.FEWEST_ROUNDS}"
    )


def make_repeat(live: LiveSession, judged: Mapping[str, JudgedCase], budget_s: float) -> Repeat:
    """Make a function that measures a case again on separate workers, while time is left.

    Args:
        live: The session.
        judged: Its cases.
        budget_s: Seconds after which nothing more begins.
    """
    started_s = monotonic_clock()

    def repeat(name: str, rounds: int) -> Repeated | None:
        if live.interrupted or monotonic_clock() - started_s > budget_s:
            return None
        suite, measurement = live.suites.own(), judged[name].measurement
        suite.pool.close()
        arm = make_arm(
            suite,
            measurement,
            pool=suite.pool.make_beside(),
            warmup=live.settings.warmup,
            subject=suite.subject,
            code=suite.code,
        )
        live.live_line.say(f"measuring {name.rpartition('::')[2]} again in a fresh process")
        try:
            return _run_again(arm, measurement, rounds)
        except SdperfError:
            return None
        except KeyboardInterrupt:  # the first judgement stays, as in `confirm_suspects`
            live.interrupted = True
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
