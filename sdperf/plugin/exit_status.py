"""Exit statuses that sdperf adds to those of pytest."""

from __future__ import annotations

from typing import Final

EXIT_VOID: Final = 6
"""Exit status of a session in which the same code differed from itself; pytest uses 0 to 5."""
