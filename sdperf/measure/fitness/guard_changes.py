"""Finds what changed on the machine during a round, from readings before and after it. Pure.

A guard that got worse makes the round invalid. `sdperf.measure.fitness.guards` judges a single
moment.
"""

from __future__ import annotations

import os
from typing import Final

from sdperf.measure.fitness.board_guards import compare_board
from sdperf.measure.fitness.conditions import Conditions
from sdperf.measure.fitness.guards import STOLEN_SHARE, format_share, grade
from sdperf.measure.resources.apple.apple_parsers import MEMORY_PRESSURES, THERMAL_LEVELS
from sdperf.measure.resources.nvidia import SLOWDOWN
from sdperf.record.guard import Guard
from sdperf.units import format_bytes

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
OTHER_SHARE: Final = 0.10
"""The share of all processors' time that other work may take while rounds run."""
_FEWEST_PROCESSOR_S: Final = 2.0
"""Fewest processor seconds, idle ones included: over fewer seconds ticks are too coarse."""


def compute_other_work(
    before: Conditions, after: Conditions, own_cpu_s: float
) -> tuple[float, float] | None:
    """Count the processor time of other programs between two readings.

    Args:
        before: One reading.
        after: A later one.
        own_cpu_s: Processor seconds of sdperf's own processes between the two.

    Returns:
        Processor seconds of others, and of everything with idle time included; ``None`` where the
        system does not count them.
    """
    then, now = before.cpu_times, after.cpu_times
    if then is None or now is None or then.idle is None or now.idle is None:
        return None
    total = now.total - then.total
    busy = total - (now.idle - then.idle) - (now.stolen - then.stolen)
    return max(0.0, busy / _TICKS_PER_S - own_cpu_s), total / _TICKS_PER_S


def judge_other_work(other_s: float, total_s: float) -> Guard | None:
    """Judge how much time others took while a case's rounds ran; ``None`` where it is little.

    The load average is read once, before a session's first worker: it does not show work that
    begins later, and later it would include sdperf's own work.

    Args:
        other_s: Processor seconds of other programs.
        total_s: Processor seconds in all, idle time included.
    """
    if total_s < _FEWEST_PROCESSOR_S or other_s < OTHER_SHARE * total_s:
        return None
    taken = format_share(other_s / total_s)
    sentence = f"other work took {taken} of the processors' time while rounds ran"
    return Guard("load", "warn", f"{taken} in rounds", sentence, "end it and measure again")


def compare_guards(before: Conditions, after: Conditions) -> tuple[Guard, ...]:
    """Find what changed during a round.

    Returns:
        Only guards that are not ok. A round with a ``fail`` among them is invalid, for the reason
        in its sentence; a ``warn`` is kept with the round. A guard that could not be read on both
        sides is left out, since `judge_guards` has reported it already.
    """
    found = (
        _compare_thermal(before, after),
        _compare_words("power source", before.power_source, after.power_source),
        _compare_words("power mode", before.power_mode, after.power_mode),
        _compare_words("clock governor", before.governor, after.governor),
        _compare_pressure(before, after),
        _compare_swap(before, after),
        *compare_board(before, after),
        _compare_limits(before, after),
        _compare_steal(before, after),
        _compare_clock_events(after),
    )
    return tuple(guard for guard in found if guard is not None)


def _compare_thermal(before: Conditions, after: Conditions) -> Guard | None:
    was, is_now = before.thermal_level, after.thermal_level
    if was is None or is_now is None or was == is_now:
        return None
    rose = THERMAL_LEVELS.index(is_now) > THERMAL_LEVELS.index(was)
    sentence = f"the thermal level {'rose' if rose else 'fell'} from {was} to {is_now}"
    return Guard("thermal level", "fail" if rose else "warn", is_now, sentence)


def _compare_words(name: str, was: str | None, is_now: str | None) -> Guard | None:
    if was is None or is_now is None or was == is_now:
        return None
    return Guard(name, "fail", is_now, f"the {name} changed from {was} to {is_now}")


def _compare_pressure(before: Conditions, after: Conditions) -> Guard | None:
    levels = tuple(MEMORY_PRESSURES.values())
    was, is_now = before.memory_pressure, after.memory_pressure
    if was is None or is_now is None or levels.index(is_now) <= levels.index(was):
        return None
    sentence = f"memory pressure rose from {was} to {is_now}"
    return Guard("memory pressure", "fail", is_now, sentence, "quit programs, or fewer workers")


def _compare_swap(before: Conditions, after: Conditions) -> Guard | None:
    out_bytes = _growth(before.swapped_out_bytes, after.swapped_out_bytes)
    in_bytes = _growth(before.swapped_in_bytes, after.swapped_in_bytes)
    if out_bytes:
        sentence = f"{format_bytes(out_bytes)} were swapped out"
        return Guard("swap", "fail", format_bytes(out_bytes), sentence, "fewer workers")
    if in_bytes:
        sentence = f"{format_bytes(in_bytes)} were swapped in"
        return Guard("swap", "warn", format_bytes(in_bytes), sentence)
    return None


def _compare_limits(before: Conditions, after: Conditions) -> Guard | None:
    grown = _growth(before.limits.throttled_periods, after.limits.throttled_periods)
    if not grown:
        return None
    sentence = f"the container was stopped in {grown} periods, its processor time used up"
    return Guard("container limits", "warn", f"{grown} periods", sentence, "fewer threads")


def _compare_steal(before: Conditions, after: Conditions) -> Guard | None:
    if before.cpu_times is None or after.cpu_times is None:
        return None
    total = after.cpu_times.total - before.cpu_times.total
    share = (after.cpu_times.stolen - before.cpu_times.stolen) / total if total > 0 else 0.0
    state = grade(share, STOLEN_SHARE)
    if state == "ok":
        return None
    taken = format_share(share)
    return Guard("steal", state, taken, f"the hypervisor took {taken} of the time")


def _compare_clock_events(after: Conditions) -> Guard | None:
    if after.clock_events is None or not after.clock_events & SLOWDOWN:
        return None
    sentence = "the board slowed down for heat or power supply"
    return Guard("GPU clocks", "fail", "slowed down", sentence, "let it cool down")


def _growth(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
