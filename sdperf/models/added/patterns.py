"""Patterns out of a LoRA's configuration, which peft matches with the name of every layer.

Python's matcher tries every way to divide a name among the repeats of a pattern: a few characters
in a file could keep a processor busy for years. What trainers write is far below these bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

LONGEST_PATTERN: Final = 4_000
"""The most characters of one pattern."""

MOST_PATTERNS: Final = 20_000
"""The most patterns of one configuration; a model has some thousands of layers."""

MOST_REPEATS: Final = 3
"""The most repeats (``*``, ``+``, ``{``) in one pattern: its time grows by this power."""

MOST_OPTIONAL: Final = 12
"""The most optional parts (``?``) in one pattern: its time doubles with each."""

MOST_REPEATING: Final = 16
"""The most patterns with repeats in one configuration."""

_FIELDS: Final = frozenset(
    {
        *("target_modules", "exclude_modules", "modules_to_save", "target_parameters"),
        *("layers_pattern", "rank_pattern", "alpha_pattern"),
    }
)
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_NO_OPTION: Final = re.compile(r"\(\?|[*+}?]\?")
"""A ``?`` that makes nothing optional: of the beginning of a group, or of a lazy repeat."""


def find_costly_pattern(configuration: Mapping[str, Any]) -> str | None:
    """Say which pattern of a LoRA's configuration could take long to match. Pure.

    Args:
        configuration: Arguments of peft's LoraConfig; a component of the pipeline may stand before
            a name, as in ``transformer.target_modules``.

    Returns:
        Its place and what it has too much of, in words; ``None`` where all are within bounds.
    """
    count = repeating = 0
    for key, value in configuration.items():
        if key.rpartition(".")[2] not in _FIELDS:
            continue
        for pattern in _list_patterns(value):
            count += 1
            why = _explain_cost(pattern)
            repeating += _count_repeats(pattern) > 0
            if repeating > MOST_REPEATING:
                why = f"more than {MOST_REPEATING} patterns with repeats"
            if count > MOST_PATTERNS:
                why = f"more than {MOST_PATTERNS} patterns"
            if why is not None:
                return f"{key}: {why}: {pattern}"
    return None


def _list_patterns(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        yield from (one for one in value if isinstance(one, str))


def _explain_cost(pattern: str) -> str | None:
    if len(pattern) > LONGEST_PATTERN:
        return f"more than {LONGEST_PATTERN} characters"
    if re.search(r"\)[*+{]", _ESCAPED.sub("", pattern)):
        return "a group that repeats"
    if _count_repeats(pattern) > MOST_REPEATS:
        return f"more than {MOST_REPEATS} repeats"
    if _NO_OPTION.sub("", _ESCAPED.sub("", pattern)).count("?") > MOST_OPTIONAL:
        return f"more than {MOST_OPTIONAL} optional parts"
    return None


def _count_repeats(pattern: str) -> int:
    return sum(_ESCAPED.sub("", pattern).count(one) for one in "*+{")
