"""The width of what is printed, and long texts broken to it. Pure."""

from __future__ import annotations

import textwrap
from typing import Any, Final

WIDTH: Final = 100
"""Columns of a line."""


def wrap_text(text: str, width: int = WIDTH, **options: Any) -> list[str]:
    """Break a text at its spaces only: a path or an option that is divided cannot be copied.

    Args:
        text: One paragraph.
        width: Columns of a line.
        **options: As `textwrap.wrap` takes them, indents for the most part.
    """
    return textwrap.wrap(text, width, break_on_hyphens=False, **options)
