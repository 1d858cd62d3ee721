"""The measured gains, one line per case. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sdperf.record.measurement import Gain
from sdperf.record.workload import TORCH, Variant, name_engine
from sdperf.report.text.lines import Line, wrap_line
from sdperf.report.text.session.cases import Row
from sdperf.units import format_quantity, format_score, format_seconds


def format_gains(rows: Iterable[Row]) -> list[Line]:
    """Say for each case with a gain how many times as fast as plain it is, with its image score."""
    lines = []
    for row in rows:
        measured = row.measurement
        if measured is None or measured.gain is None:
            continue
        scores = [image.score("plain") for image in measured.images]
        ssim = min((score.ssim for score in scores if score is not None), default=None)
        own = (name_engine(measured.variant.engine), *measured.variant.optimisations)
        names = "+".join(name for name in own if name != TORCH) or "plain"
        plain = f"plain {measured.gain.against.precision}"
        if measured.variant.threads != measured.gain.against.threads:
            names += f" with {_name_threads(measured.variant)}"
            plain += f" with {_name_threads(measured.gain.against)}"
        lines.append(Line(f"{row.case}: {format_gain(measured.gain)}", bold=True))
        lines += wrap_line(
            f"    {names}: {format_seconds(measured.seconds_per_image)} an image against "
            f"{format_seconds(measured.gain.plain_s_per_image)} of "
            f"{plain} in turns; SSIM {format_score(ssim)}"
        )
    return lines


def _name_threads(variant: Variant) -> str:
    """Name the threads that each worker was asked for; without a number it takes all cores."""
    if variant.threads is None:
        return "as many threads as performance cores"
    return format_quantity(variant.threads, "thread")


def format_gain(gain: Gain) -> str:
    """Say how many times as fast as plain a case is, with the bounds and how sure they are."""
    blocks = (len(gain.plain_rounds_s) + 1) // 2
    if blocks < 2:
        return f"{gain.ratio:.2f} times as fast as plain (one block: no interval)"
    return (
        f"{gain.ratio:.2f} times as fast as plain [{gain.lower:.2f}, {gain.upper:.2f}] "
        f"({100 * gain.coverage:.0f} %, {blocks} blocks)"
    )
