"""Where a session's wall time went, one line per activity. Pure."""

from __future__ import annotations

from typing import Final

from sdperf.measure.ledger import Durations
from sdperf.report.text.lines import Line
from sdperf.units import format_quantity, format_seconds

LARGEST_SHARE: Final = 0.15
"""The share of time that a session may spend outside rounds before the line is coloured."""

_WIDTH: Final = 16


def format_durations(durations: Durations) -> list[Line]:
    """Say what each activity took, what share lies outside the rounds, and what loaded twice."""
    total_s = durations.total_s
    if total_s <= 0:
        return []
    lines = [Line("durations", bold=True)]
    lines += [
        Line(f"    {name:<{_WIDTH}} {format_seconds(seconds):>9} {100 * seconds / total_s:5.1f} %")
        for name, seconds in durations.seconds.items()
    ]
    share = durations.share_outside
    if share is not None:
        lines.append(
            Line(
                f"    {100 * share:.1f} % of the time after start-up lies outside rounds "
                "(warm-up, measured, profiled)",
                "yellow" if share > LARGEST_SHARE else "",
            )
        )
    loads = format_quantity(sum(durations.loads.values()), "model load")
    twice = "none into a worker that had it" if not durations.reloads else "again: "
    lines.append(
        Line(
            f"    {loads}, {twice}{', '.join(dict.fromkeys(durations.reloads))}",
            "yellow" if durations.reloads else "",
        )
    )
    return lines
