"""The key of a session's state, and which tests are sdperf's; imports no sdperf module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession

KEY: pytest.StashKey[LiveSession] = pytest.StashKey()
"""Key of the session's state; it is absent until a test or an option of sdperf is used."""

FIXTURES: Final = frozenset({"sd_benchmark", "sd_gain", "sd_quality"})
"""The fixtures that make a test an sdperf test."""


def is_ours(item: pytest.Item) -> bool:
    """Tell whether a test uses one of sdperf's fixtures."""
    return not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
