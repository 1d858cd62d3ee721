"""A figure as the page shows it."""

from __future__ import annotations

from dataclasses import dataclass

from sdperf.report.table import Table


@dataclass(frozen=True)
class Plot:
    """A figure as it stands in the page."""

    name: str
    title: str
    caption: str
    svg: str
    table: Table
