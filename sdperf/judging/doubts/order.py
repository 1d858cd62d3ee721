"""Did the first case of a pipeline keep its figure to the end? The guard `order`. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from sdperf.judging.doubts.contradictions import FEWEST_CORES_KEPT, compute_cores_busy
from sdperf.record.guard import Guard, GuardState
from sdperf.record.measurement import Measurement
from sdperf.units import format_change, format_seconds

ORDER: Final = "order"
ROUNDS_AGAIN: Final = 2
SMALLEST_MOVE: Final = 0.05
"""A smaller move of the median, as a fraction, causes no warning."""

FULLY_BUSY: Final = 0.9
"""Cores busy per thread below which a case's threads did not all have a core."""

_HINT: Final = (
    "measure the cases in between alone (-k); docs/what-a-case-leaves-behind.md says what can stay"
)


def judge_order(
    case: str,
    first: Measurement,
    again_s: Sequence[float],
    again_cpu_s: Sequence[float],
    *,
    is_strict: bool = False,
) -> Guard:
    """Compare rounds of a pipeline's first case, measured again at the end, with its first rounds.

    The case moved when all new rounds lie outside the range of the first ones, by more than
    `SMALLEST_MOVE` from their median. It also moved when it keeps less than `FEWEST_CORES_KEPT` of
    the earlier number of cores busy: other users of the machine change that less than the seconds.

    Args:
        case: Name of the case.
        first: The first measurement of the case.
        again_s: Seconds of its rounds now.
        again_cpu_s: Processor seconds of all workers in each of them; empty is unknown.
        is_strict: Whether a move fails.
    """
    before_s, now_s = statistics.median(first.rounds_s), statistics.median(again_s)
    slower = min(again_s) > max(*first.rounds_s, before_s * (1 + SMALLEST_MOVE))
    faster = max(again_s) < min(*first.rounds_s, before_s / (1 + SMALLEST_MOVE))
    ratio = now_s / before_s
    words = f"{format_seconds(before_s)} a round at first, {format_seconds(now_s)} at the end"
    busy_before = first.cores_busy
    busy_now = compute_cores_busy(again_cpu_s, again_s)
    is_on_cpu = first.environment.device_kind == "cpu"
    lost = (
        is_on_cpu
        and busy_before is not None
        and busy_now is not None
        and busy_now < FEWEST_CORES_KEPT * busy_before
    )
    if is_on_cpu and busy_before is not None and busy_now is not None:
        words += f", {busy_before:.2f} cores busy and {busy_now:.2f}"
    if not (slower or faster or lost):
        return Guard(ORDER, "ok", format_change(ratio), f"{case} kept its figure: {words}")
    state: GuardState = "fail" if is_strict else "warn"
    kept = busy_now / busy_before if is_on_cpu and busy_before and busy_now is not None else None
    threads = (first.worker_threads or 0) * first.variant.workers
    has_idle = busy_now is not None and busy_now < FULLY_BUSY * threads
    sentence = (
        f"{case} moved while the cases of its pipeline ran: {words}; "
        f"{_explain(kept, is_faster=faster, has_idle=has_idle)}"
    )
    return Guard(ORDER, state, format_change(ratio), sentence, _HINT)


def _explain(kept: float | None, *, is_faster: bool, has_idle: bool) -> str:
    """Say what may have moved a case, judged by the cores that it kept busy.

    Args:
        kept: Cores busy at the end over those at first; ``None`` is unknown.
        is_faster: Whether it is faster at the end than at first.
        has_idle: Whether fewer cores were busy than the case has threads.
    """
    if kept is None:
        return "a case in between left something behind, or the machine changed"
    if kept < FEWEST_CORES_KEPT:
        return "a case in between left something behind that takes cores, or others took them"
    if kept > 1 / FEWEST_CORES_KEPT:
        return "other work took cores when the first case was measured"
    if has_idle:
        return (
            "fewer cores were busy than there are threads: other work took processor time, and "
            "not always as much, or the threads waited for something"
        )
    if is_faster:
        return (
            "as many cores were busy, so that nothing took them: the machine became faster "
            "(clocks, neighbours), or what warms up had not when the first case was measured"
        )
    return (
        "as many cores were busy, so that nothing took them: the machine became slower (clocks, "
        "neighbours), or a case in between left memory or caches that cost time"
    )


def describe_leftovers(leftovers: Sequence[str]) -> Guard | None:
    """Name what requests left changed in a worker; ``None`` where nothing changed."""
    if not leftovers:
        return None
    said = "; ".join(dict.fromkeys(leftovers))
    return Guard(
        ORDER,
        "warn",
        None,
        f"a round left its worker changed, which was put back before the next: {said}",
        "the pipeline under test changes what outlives a call: restore it there",
    )
