"""Finds what limits each stage, from its operations, its seconds and the device's limits. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

from sdperf.record.stages import DeviceLimits, PeakRate, Reading, StageCost, StageTimes

COMPUTE_BOUND_SHARE: Final = 0.4
"""Share of the peak from which arithmetic takes most of the time: real networks mix shapes that
reach the peak with shapes that cannot."""

LAUNCH_BOUND_SHARE: Final = 0.5
"""Share of the stage's time from which calling operators counts as the limit: half of it."""


def read_stage(
    *,
    duration_s: float,
    flop: int,
    operators: int,
    peak_flop_per_s: float | None,
    operator_s: float | None,
) -> Reading | None:
    """Say in a word what limits a stage.

    - ``compute-bound``: the stage reaches `COMPUTE_BOUND_SHARE` of the peak or more.
    - ``launch-bound``: it does not, and calling that many operators would take
      `LAUNCH_BOUND_SHARE` of its time even if they computed nothing: the device waits for the
      host. Larger batches, fewer and fused operators help.
    - ``starved``: the stage is neither; arithmetic waits for something else, most often memory, or
      runs on shapes that use the device badly.

    Args:
        duration_s: Seconds of the stage, with the device's queue empty at both ends.
        flop: Its floating-point operations.
        operators: Its number of operator calls.
        peak_flop_per_s: The device's measured peak in this format.
        operator_s: Seconds of an operator with nothing to compute.

    Returns:
        The word; ``None`` where something needed is unknown, or the stage does no arithmetic.
    """
    if flop <= 0 or duration_s <= 0 or peak_flop_per_s is None or peak_flop_per_s <= 0:
        return None
    if flop / duration_s >= COMPUTE_BOUND_SHARE * peak_flop_per_s:
        return "compute-bound"
    if operator_s is None:
        return None
    launching = operators * operator_s >= LAUNCH_BOUND_SHARE * duration_s
    return "launch-bound" if launching else "starved"


def compute_limits(
    stages: StageTimes | None,
    costs: Iterable[StageCost],
    peak: PeakRate | None,
    operator_s: float | None,
) -> DeviceLimits:
    """Compare each stage's counted cost with its seconds and the device's limits."""
    seconds = {} if stages is None else stages.by_name()
    peak_flop_per_s = None if peak is None else peak.flop_per_s
    read = []
    for cost in costs:
        duration_s = seconds.get(cost.stage)
        if duration_s is None or duration_s <= 0 or cost.flop <= 0:
            read.append(cost)
            continue
        rate = cost.flop / duration_s
        read.append(
            dataclasses.replace(
                cost,
                flop_per_s=rate,
                share_of_peak=rate / peak_flop_per_s if peak_flop_per_s else None,
                reading=read_stage(
                    duration_s=duration_s,
                    flop=cost.flop,
                    operators=cost.operators,
                    peak_flop_per_s=peak_flop_per_s,
                    operator_s=operator_s,
                ),
            )
        )
    return DeviceLimits(peak, operator_s, tuple(read))
