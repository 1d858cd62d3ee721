"""Escapes words from files for Markdown: they show as they are, on one line. Pure."""

from __future__ import annotations

import re
from typing import Final

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()+!|~])")
_CALLS: Final = re.compile(r"([@#])(?=\w)")
_JOINER: Final = "\u2060"
"""A character without width; with it ``@name`` notifies nobody and ``#12`` links no issue."""


def escape_markdown(text: str) -> str:
    r"""Escape text so that it shows as it is, on one line, also in a table's cell.

    >>> print(escape_markdown("a|b <script> [x](y)"))
    a\|b &lt;script> \[x\]\(y\)
    """
    escaped = _MARKUP.sub(r"\\\1", _flatten(text)).replace("&", "&amp;").replace("<", "&lt;")
    return _CALLS.sub(rf"\1{_JOINER}", escaped)


def format_code(text: str) -> str:
    """Show text as code, also in a table's cell."""
    flat = _flatten(text).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def format_block(text: str) -> list[str]:
    """Show text as a block of code, one line, with a fence that it cannot close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, _flatten(text), fence]


def _flatten(text: str) -> str:
    """Put text on one line, without characters that cannot be printed or turn its direction."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
