"""What the memory of several workers comes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sdperf.record.measurement import MemoryUsage
from sdperf.stats.summaries import sum_peaks


def sum_memory(
    rounds: Sequence[Sequence[MemoryUsage]], weight_bytes: Mapping[str, int]
) -> MemoryUsage:
    """Sum over workers each one's peaks over the rounds, and what it held after the last one.

    Args:
        rounds: What each worker said after each round, one or more.
        weight_bytes: What one worker's networks hold of weights, by component.
    """

    def peak(name: str, among: Sequence[Sequence[MemoryUsage]]) -> int | None:
        return sum_peaks([getattr(one, name) for one in workers] for workers in among)

    return MemoryUsage(
        peak_rss_bytes=peak("peak_rss_bytes", rounds),
        peak_device_bytes=peak("peak_device_bytes", rounds),
        peak_device_sampled=any(one.peak_device_sampled for workers in rounds for one in workers),
        live_device_bytes=peak("live_device_bytes", rounds[-1:]),
        driver_device_bytes=peak("driver_device_bytes", rounds[-1:]),
        weight_bytes=weight_bytes,
    )
