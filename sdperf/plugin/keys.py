"""Where a session's state lies and which tests are ours; imports nothing of sdperf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession

KEY: pytest.StashKey[LiveSession] = pytest.StashKey()
"""The session's state; absent for as long as no test and no option asks for any of ours."""

FIXTURES: Final = frozenset({"sd_benchmark", "sd_gain", "sd_quality"})
"""The fixtures that make a test one of ours."""


def is_ours(item: pytest.Item) -> bool:
    """Tell whether a test asks for one of our fixtures."""
    return not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
