"""Do the fresh processes of one case agree? Some choose a far slower kernel and keep it."""

from __future__ import annotations

from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import PROCESSES
from sdperf.stats.bimodality import detect_bimodality
from sdperf.units import format_seconds


def judge_processes(measurement: Measurement) -> Finding | None:
    """Look for two speeds among the processes of a case.

    Returns:
        INCONCLUSIVE with both speeds and their shares; ``None`` where the processes agree, or
        where there was only one.
    """
    modes = detect_bimodality(measurement.process_medians_s)
    if modes is None:
        return None
    return Finding(
        Outcome.INCONCLUSIVE,
        "latency",
        f"{modes.slow_share:.0%} of {measurement.processes} processes run {modes.ratio:.2f}x "
        f"slower: {format_seconds(modes.slow_s)} against {format_seconds(modes.fast_s)} a round",
        f"pytest {PROCESSES} 9 shows how often; fresh processes choose different kernels",
    )
