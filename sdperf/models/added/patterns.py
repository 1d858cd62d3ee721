"""Patterns out of a LoRA's configuration, which peft matches with the name of every layer.

Python's matcher tries every way to divide a name among the repeats of a pattern: a few characters
in a file could keep a processor busy for years. So only patterns are taken whose steps can be
counted beforehand: letters, dots, classes, groups, alternatives and repeats of single characters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

LONGEST_PATTERN: Final = 4_000
"""The most characters of one pattern."""

MOST_PATTERNS: Final = 2_000
"""The most patterns of one configuration: peft compiles each of them for every layer."""

MOST_NAMES: Final = 20_000
"""The most names of one list; they are compared letter by letter."""

MOST_STEPS: Final = 4_000_000
"""The most steps of the matcher for the name of one layer, over all patterns.

A processor takes about 0.05 s for them (10 ns each, measured with the worst forms that are taken).
"""

NAME_DOTS: Final = 10
"""Dots of a layer's name, behind each of which peft tries the patterns that need no beginning."""

LONGEST_NAME: Final = 1_000
"""The most characters of a tensor's name."""

NAME_CHARACTERS: Final = 64
"""Characters of a layer's name for which the steps are counted."""

_NAMES: Final = frozenset({"target_modules", "exclude_modules", "target_parameters"})
"""Fields whose lists are names, and whose texts are patterns."""

_PATTERNS: Final = frozenset({"modules_to_save", "layers_pattern", "rank_pattern", "alpha_pattern"})
"""Fields that are patterns in any form."""

_ATOM: Final = re.compile(
    r"\\[dDwWsSbBAZ]|\\[^A-Za-z0-9]"  # a kind of character, a place, a character that means itself
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"  # one of several characters
    r"|[^\\\[\](){}|*+?]",  # a character, any character, the beginning or the end
    re.DOTALL,
)
_OPEN: Final = re.compile(r"\((?:\?[:=!])?")
_REPEAT: Final = re.compile(r"(?:[*+?]|\{\d{1,9}(?:,\d{0,9})?\})\??(?![*+?{])")
_PLAIN: Final = re.compile(r"[\w ./:-]*(?:\.string_to_param\.\*)?")
"""Names of tensors as trainers write them; an embedding's ends in a star."""

_Count = dict[int, int]
"""A number that depends on a name: how many products of so many positions in it are added up."""


@dataclass(frozen=True)
class _Cost:
    """What matching a part of a pattern at one place of a name takes.

    Attributes:
        ways: In how many ways it matches there; what follows is tried after each.
        steps: How many steps all of them take.
        literal: The text where the part matches nothing but this.
    """

    ways: _Count
    steps: _Count
    literal: str | None = None


class _NotCountedError(ValueError):
    """A pattern has something whose steps are not counted."""


def find_costly_pattern(configuration: Mapping[str, Any]) -> str | None:
    """Say which pattern of a LoRA's configuration could take long to match. Pure.

    Args:
        configuration: Arguments of peft's LoraConfig; a component of the pipeline may stand before
            a name, as in ``transformer.target_modules``.

    Returns:
        Its place and what it has too much of, in words; ``None`` where all are within bounds.
    """
    count = steps = 0
    for key, value in configuration.items():
        field = key.rpartition(".")[2]
        if field in _NAMES and isinstance(value, list):
            if len(value) > MOST_NAMES:
                return f"{key}: more than {MOST_NAMES} names"
            if not all(isinstance(one, str) for one in value):
                return f"{key}: something that is no name"
            continue
        if field not in _NAMES | _PATTERNS:
            continue
        for pattern in _list_patterns(value):
            count += 1
            if not isinstance(pattern, str):
                return f"{key}: something that is no name"
            if count > MOST_PATTERNS:
                return f"{key}: more than {MOST_PATTERNS} patterns: {pattern}"
            if len(pattern) > LONGEST_PATTERN:
                return f"{key}: more than {LONGEST_PATTERN} characters: {pattern}"
            try:
                steps += count_steps(pattern) * (NAME_DOTS if field in _PATTERNS else 1)
            except _NotCountedError as error:
                return f"{key}: {error}: {pattern}"
            if steps > MOST_STEPS:
                return f"{key}: more than {MOST_STEPS} steps for the name of a layer: {pattern}"
    return None


def find_odd_name(names: frozenset[str]) -> str | None:
    """Return a tensor's name that is more than letters and dots, or too long; `None` without one.

    diffusers makes patterns of them, which peft matches with the name of every layer.

    >>> find_odd_name(frozenset({"unet.(a+)+.lora_B.weight"}))
    'unet.(a+)+.lora_B.weight'
    """
    odd = (name for name in names if len(name) > LONGEST_NAME or _PLAIN.fullmatch(name) is None)
    return min(odd, default=None)


def count_steps(pattern: str) -> int:
    """Return an upper bound of the matcher's steps for a name of `NAME_CHARACTERS`. Pure.

    ``k`` repeats divide ``n`` characters in at most ``C(n + k, k)`` ways.

    >>> count_steps("to_q") < count_steps(".*to_q") < count_steps(".*.*to_q")
    True

    Raises:
        ValueError: The pattern has something whose steps are not counted, or has no end.
    """
    try:
        cost, end = _read_alternatives(pattern, 0)
    except RecursionError:
        raise _NotCountedError("groups in groups without end") from None
    if end < len(pattern):
        raise _NotCountedError(f"a {pattern[end]!r} that cannot be counted")
    return sum(
        number * math.comb(NAME_CHARACTERS + repeats, repeats)
        for repeats, number in cost.steps.items()
    )


def _list_patterns(value: object) -> Iterator[object]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        yield from value


def _read_alternatives(pattern: str, place: int) -> tuple[_Cost, int]:
    """Read parts with ``|`` between them up to a bracket that closes, or to the end."""
    parts = []
    while True:
        part, place = _read_sequence(pattern, place)
        parts.append(part)
        if pattern[place : place + 1] != "|":
            break
        place += 1
    if len(parts) == 1:
        return parts[0], place
    steps: _Count = {0: len(parts)}
    ways: _Count = {}
    for part in parts:
        steps, ways = _add(steps, part.steps), _add(ways, part.ways)
    texts = [part.literal for part in parts if part.literal is not None]
    if len(texts) == len(parts):  # of plain words, only beginnings of one another match together
        ways = {0: _count_beginnings(texts)}
    return _Cost(ways, steps), place


def _count_beginnings(texts: list[str]) -> int:
    """Return how many of some texts can be beginnings of one text at most."""
    most, chain = 0, list[str]()
    for text in sorted(texts):  # behind its beginnings
        while chain and not text.startswith(chain[-1]):
            chain.pop()
        chain.append(text)
        most = max(most, len(chain))
    return most


def _read_sequence(pattern: str, place: int) -> tuple[_Cost, int]:
    ways: _Count = {0: 1}
    steps: _Count = {0: 1}
    literal: str | None = ""
    while place < len(pattern) and pattern[place] not in "|)":
        part, place = _read_part(pattern, place)
        steps = _add(steps, _multiply(ways, part.steps)) if part.literal is None else steps
        ways = _multiply(ways, part.ways)
        if part.literal is not None and literal is None:
            steps = _add(steps, ways)
        literal = None if literal is None or part.literal is None else literal + part.literal
        if sum(ways.values()) > MOST_STEPS or max(ways) > NAME_CHARACTERS:
            raise _NotCountedError(f"more than {MOST_STEPS} ways to match a name")
    return _Cost(ways, steps, literal), place


def _read_part(pattern: str, place: int) -> tuple[_Cost, int]:
    """Read a character, a class or a group, with its repeat."""
    opened = _OPEN.match(pattern, place)
    if opened is not None:
        cost, place = _read_alternatives(pattern, opened.end())
        if pattern[place : place + 1] != ")":
            raise _NotCountedError("a group without end")
        place += 1
        if opened.group() in {"(?=", "(?!"}:
            cost = _Cost({0: 1}, _add({0: 1}, cost.steps))
    else:
        atom = _ATOM.match(pattern, place)
        if atom is None:
            raise _NotCountedError(f"a {pattern[place]!r} that cannot be counted")
        text, place = atom.group(), atom.end()
        plain = text if len(text) == 1 and text not in ".^$" else None
        if len(text) == 2 and text[0] == "\\" and not text[1].isalpha():
            plain = text[1]
        cost = _Cost({0: 1}, {0: 1}, plain)
    found = _REPEAT.match(pattern, place)
    if found is None:
        return cost, place
    repeat = found.group()
    if repeat[0] == "?":
        return _Cost(_add({0: 1}, cost.ways), _add({0: 1}, cost.steps)), found.end()
    if opened is not None:
        raise _NotCountedError("a group that repeats")
    return _Cost({1: 1}, {1: 1}), found.end()


def _add(one: _Count, other: _Count) -> _Count:
    return {key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()}


def _multiply(one: _Count, other: _Count) -> _Count:
    product: _Count = {}
    for first, count in one.items():
        for second, times in other.items():
            product[first + second] = product.get(first + second, 0) + count * times
    return product
