"""The width of the printed output, and wrapping to it. Pure."""

from __future__ import annotations

import textwrap
from typing import Any, Final

WIDTH: Final = 100
"""Columns of a line."""


def wrap_text(text: str, width: int = WIDTH, **options: Any) -> list[str]:
    """Break a text at its spaces only, so that paths and options can be copied.

    Args:
        text: One paragraph.
        width: Columns of a line.
        **options: Further options of `textwrap.wrap`, such as indents.
    """
    return textwrap.wrap(text, width, break_on_hyphens=False, **options)
