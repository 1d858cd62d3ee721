"""The first line of a file that ``sdperf init`` wrote: by which version, and edited since? Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from sdperf.scaffold.lines import unify_line_ends

_STAMP: Final = re.compile(r"# Written by sdperf init (\S{1,40}), ([0-9a-f]{16})\. --upgrade .*")
"""``Written by sdperf init VERSION, HASH``: the hash is of everything below that line."""


def add_stamp(text: str, version: str) -> str:
    """Put the stamp above a file's text."""
    return (
        f"# Written by sdperf init {version}, {_hash(text)}. --upgrade replaces it unless edited.\n"
        f"{text}"
    )


def is_untouched(text: str) -> bool | None:
    """Tell whether a stamped file is as it was written; ``None`` where it has no stamp.

    Other line ends do not count as an edit, since git may change them.
    """
    first, _, rest = unify_line_ends(text).partition("\n")
    match = _STAMP.fullmatch(first)
    return None if match is None else match[2] == _hash(rest)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
