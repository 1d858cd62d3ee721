"""Figures of a case as properties of pytest's own JUnit report (``--junitxml``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sdperf.plugin.live.session import SdSession


def record_properties(item: pytest.Item, ours: SdSession) -> None:
    """Record what a case measured, as the fixture ``record_property`` would.

    Its verdict is not among them: speed is judged when all cases are done, and by then pytest has
    closed its report of this one. ``sdperf export --format junit`` has both.
    """
    result = ours.results.get(item.nodeid)
    if result is None:
        return
    from sdperf.report.export import list_figures, list_properties

    measured = result.measurement
    figures = list_figures(measured.rounds_s, measured)
    item.user_properties.extend(list_properties(figures).items())
