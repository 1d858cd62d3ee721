"""Where a session's state lies; read in every session, so it imports nothing of sdperf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sdperf.plugin.session import SdSession

KEY: pytest.StashKey[SdSession] = pytest.StashKey()
"""The session's state; absent for as long as no test and no option asks for any of ours."""
