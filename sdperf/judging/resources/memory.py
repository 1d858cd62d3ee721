"""Did peak memory grow? Relative and absolute limits together, so that small cases stay quiet."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.record.measurement import MemoryUsage
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.units import format_bytes, format_change

DEFAULT_MAX_GROWTH: Final = 0.10
DEFAULT_MAX_GROWTH_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class MemoryLimits:
    """A peak is HEAVIER when it grew by more than *both* limits.

    Attributes:
        max_growth: Tolerated growth as a fraction of the baseline.
        max_growth_bytes: Tolerated growth in bytes.
    """

    max_growth: float = DEFAULT_MAX_GROWTH
    max_growth_bytes: int = DEFAULT_MAX_GROWTH_BYTES


def judge_memory(
    current: MemoryUsage, history: Sequence[MemoryUsage], limits: MemoryLimits | None = None
) -> Finding:
    """Judge peak device memory and peak resident memory against the accepted sessions.

    The baseline of each is the median of the accepted peaks; a peak that was reached before is
    never HEAVIER. A peak that can no longer be read is INCONCLUSIVE, not fine. Device peaks sampled
    at borders and peaks tracked by the allocator are never compared with each other.

    Args:
        current: Peaks of the current session.
        history: Peaks of the accepted sessions.
        limits: Both limits.

    Returns:
        The worse of the two answers; NO BASELINE where no accepted session knows any of the peaks.
    """
    limits = limits or MemoryLimits()
    device_history = [past for past in history if past.peak_device_bytes is not None]
    alike = [
        past for past in device_history if past.peak_device_sampled == current.peak_device_sampled
    ]
    findings = [
        _judge_peak(
            "RSS",
            current.peak_rss_bytes,
            [past.peak_rss_bytes for past in history if past.peak_rss_bytes is not None],
            limits,
        )
    ]
    if device_history and not alike and current.peak_device_bytes is not None:
        kinds = ("sampled", "tracked") if current.peak_device_sampled else ("tracked", "sampled")
        reason = f"the device peak is {kinds[0]}, that of the compared sessions {kinds[1]}"
        findings.append(
            Finding(Outcome.INCOMPARABLE, "memory", reason, "sdperf baseline accept --reason TEXT")
        )
    else:
        known = alike if current.peak_device_bytes is not None else device_history
        findings.append(
            _judge_peak(
                "device memory",
                current.peak_device_bytes,
                [p.peak_device_bytes for p in known if p.peak_device_bytes is not None],
                limits,
            )
        )
    judged = [finding for finding in findings if finding.outcome is not Outcome.NO_BASELINE]
    if not judged:
        return findings[0]
    decisive = Verdict("", tuple(judged)).decisive
    return Finding(
        decisive[0].outcome,
        "memory",
        "; ".join(finding.reason for finding in decisive),
        decisive[0].next_step,
    )


def _judge_peak(
    name: str, current_bytes: int | None, accepted_bytes: Sequence[int], limits: MemoryLimits
) -> Finding:
    if not accepted_bytes:
        return Finding(Outcome.NO_BASELINE, "memory", "no compared session knows its peak memory")
    baseline_bytes = statistics.median(accepted_bytes)
    if current_bytes is None:
        reason = f"peak {name} is unknown, but was {format_bytes(baseline_bytes)}"
        return Finding(Outcome.INCONCLUSIVE, "memory", reason)
    growth_bytes = current_bytes - baseline_bytes
    change = "" if baseline_bytes == 0 else f" ({format_change(current_bytes / baseline_bytes)})"
    reason = (
        f"peak {name} {format_bytes(current_bytes)} against {format_bytes(baseline_bytes)}{change}"
    )
    if (
        growth_bytes > limits.max_growth * baseline_bytes
        and growth_bytes > limits.max_growth_bytes
        and current_bytes > max(accepted_bytes)
    ):
        limit = (
            f"limits {format_change(1 + limits.max_growth)} and "
            f"{format_bytes(limits.max_growth_bytes)}"
        )
        return Finding(Outcome.HEAVIER, "memory", f"{reason}, {limit}")
    return Finding(Outcome.PASS, "memory", reason)
