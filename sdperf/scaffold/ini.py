"""Adds lines to the file of pytest's settings, beside its present content. Pure.

Only lines are added: the file is never rewritten from what was parsed, so comments and layout
stay. The result is parsed again and has to contain the old settings and the new ones.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import iniconfig

from sdperf.errors import ConfigurationError
from sdperf.scaffold.lines import BYTE_ORDER_MARK, insert_lines, split_lines


@dataclass(frozen=True)
class IniPlace:
    """One place that pytest may read its settings from.

    Attributes:
        file: Name of the file.
        section: Its table or section.
        is_default: Whether pytest reads the file even without that section.
    """

    file: str
    section: str
    is_default: bool = False

    @property
    def is_toml(self) -> bool:
        """Whether the file is TOML."""
        return self.file.endswith(".toml")

    @property
    def keys(self) -> list[str]:
        """The keys that lead to the section in what is parsed."""
        return self.section.split(".") if self.is_toml else [self.section]


PLACES: Final = (
    IniPlace("pytest.toml", "pytest", is_default=True),
    IniPlace(".pytest.toml", "pytest", is_default=True),
    IniPlace("pytest.ini", "pytest", is_default=True),
    IniPlace(".pytest.ini", "pytest", is_default=True),
    IniPlace("pyproject.toml", "tool.pytest"),
    IniPlace("pyproject.toml", "tool.pytest.ini_options"),
    IniPlace("tox.ini", "pytest"),
    IniPlace("setup.cfg", "tool:pytest"),
)
"""Places in pytest's order; the first existing one counts. Source: pytest, reference of
configuration file formats (9.0 reads ``pytest.toml`` and ``[tool.pytest]`` too)."""


def find_place(files: Mapping[str, str]) -> IniPlace:
    """Return the place for settings: the one that pytest reads, else the least disturbing one.

    Args:
        files: Text of those of the files of `PLACES` that exist, by name.

    Raises:
        ConfigurationError: One of them cannot be parsed.
    """
    parsed = {name: parse_settings(name, text) for name, text in files.items()}
    for place in PLACES:
        if place.file not in files:
            continue
        if place.is_default or _section(place, parsed[place.file]) is not None:
            return place
    if "pyproject.toml" in files:
        return IniPlace("pyproject.toml", "tool.pytest.ini_options")
    return IniPlace("pytest.ini", "pytest")


def list_set(text: str, place: IniPlace) -> dict[str, Any]:
    """Return what a file's section sets, as parsed; nothing where it has no such section."""
    return _section(place, parse_settings(place.file, text)) or {}


def add_settings(text: str, place: IniPlace, settings: Mapping[str, str]) -> str:
    """Add settings to a file's section.

    Args:
        text: The file; empty where there is none yet.
        place: File and section.
        settings: Values by key; none of them is set yet.

    Raises:
        ConfigurationError: The lines cannot be put in without changing something else.
    """
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False) if place.is_toml else value}"
        for key, value in settings.items()
    ]
    header = f"[{place.section}]"
    before = split_lines(text)
    found = [number for number, line in enumerate(before) if _read_header(line, place) == header]
    if found:
        result = insert_lines(text, found[0] + 1, lines)
    else:
        result = insert_lines(text, len(before), [*([""] if before else []), header, *lines])
    _check(text, result, place, settings, lines)
    return result


def _read_header(line: str, place: IniPlace) -> str:
    """Return a line without its comment, which begins as the file's kind has it."""
    return re.split(
        "#" if place.is_toml else "[#;]", line.removeprefix(BYTE_ORDER_MARK), maxsplit=1
    )[0].strip()


def _check(
    text: str, result: str, place: IniPlace, settings: Mapping[str, str], lines: Sequence[str]
) -> None:
    expected = copy.deepcopy(parse_settings(place.file, text))
    section = expected
    for key in place.keys:
        section = section.setdefault(key, {})
    section.update(settings)
    by_hand = f"add these below [{place.section}] by hand: " + ", ".join(lines)
    if place.is_toml and text.startswith(BYTE_ORDER_MARK):
        raise ConfigurationError(
            f"{place.file} cannot be added to: pytest reads no TOML with a byte order mark",
            hint=f"save it without that mark; or {by_hand}",
        )
    try:
        is_kept = parse_settings(place.file, result) == expected
    except ConfigurationError:
        is_kept = False
    if not is_kept:
        raise ConfigurationError(
            f"{place.file} cannot be added to without changing what it says", hint=by_hand
        )


def parse_settings(name: str, text: str) -> dict[str, Any]:
    """Parse a file of `PLACES`, without a byte order mark at its beginning.

    Raises:
        ConfigurationError: It cannot be parsed.
    """
    try:
        text = text.removeprefix(BYTE_ORDER_MARK)  # iniconfig 2.0 stumbles over it
        if name.endswith(".toml"):
            return tomllib.loads(text)
        parsed = iniconfig.IniConfig(name, data=text)
    except (ValueError, RecursionError, iniconfig.ParseError) as error:
        raise ConfigurationError(
            f"{name} cannot be read", got=str(error), hint=f"repair {name}"
        ) from error
    return {section: dict(parsed[section].items()) for section in parsed.sections}


def _section(place: IniPlace, parsed: Mapping[str, Any]) -> dict[str, Any] | None:
    found: Any = parsed
    for count, key in enumerate(place.keys, 1):
        if key not in found:
            return None
        found = found[key]
        if not isinstance(found, Mapping):
            name = ".".join(place.keys[:count])
            raise ConfigurationError(
                f"pytest cannot read its settings from {place.file}",
                got=f"{name} is no table",
                expected=f"a table [{name}]",
                hint=f"repair {place.file}",
            )
    # [tool.pytest] is native TOML; as the mere parent of ini_options it is no place.
    if place.section == "tool.pytest" and set(found) <= {"ini_options"}:
        return None
    return dict(found)
