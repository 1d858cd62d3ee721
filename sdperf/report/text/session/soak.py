"""How memory and seconds moved over many rounds, one line per case. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sdperf.judging.resources.growth import compute_drift, compute_growth, describe_growth
from sdperf.report.text.lines import Line
from sdperf.report.text.session.cases import Row
from sdperf.report.text.wrapping import wrap_text
from sdperf.stats.slope import Slope


def format_soaks(rows: Iterable[Row]) -> list[Line]:
    """Say for each case with enough rounds how its memory and its seconds moved over them."""
    lines = []
    for row in rows:
        drift = None if row.measurement is None else compute_drift(row.measurement)
        if row.measurement is None or drift is None:
            continue
        texts = [*map(describe_growth, compute_growth(row.measurement)), describe_drift(drift)]
        shown = f"{row.case}: {'; '.join(texts)}"
        lines += [Line(piece) for piece in wrap_text(shown, subsequent_indent="    ")]
    return lines


def describe_drift(drift: Slope) -> str:
    """Say how far the seconds of a round moved from the first round to the last."""
    change, lower, upper = (
        100 * drift.values * one for one in (drift.per_value, drift.lower, drift.upper)
    )
    return (
        f"a round's seconds drift by {change:+.1f} % over {drift.values} rounds "
        f"({lower:+.1f} % to {upper:+.1f} %)"
    )
