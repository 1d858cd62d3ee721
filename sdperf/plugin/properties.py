"""Figures of a case as properties of pytest's own JUnit report (``--junitxml``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sdperf.run.case import CaseResult


def record_properties(item: pytest.Item, results: Mapping[str, CaseResult]) -> None:
    """Record what a case measured, as the fixture ``record_property`` would.

    The verdict is missing: speed is judged when all cases are done, and by then pytest has closed
    its report of this one. ``sdperf export --format junit`` has both.
    """
    result = results.get(item.nodeid)
    if result is None:
        return
    from sdperf.report.export import list_figures, list_properties

    measured = result.measurement
    figures = list_figures(measured.rounds_s, measured)
    item.user_properties.extend(list_properties(figures).items())
