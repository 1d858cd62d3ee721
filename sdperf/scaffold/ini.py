"""Lines for the file that pytest reads its settings from, put in beside what stands there. Pure.

Only lines are added: the file is never written anew from what was parsed, so comments and layout
stay. What comes out is parsed again, and has to hold what it held, and the new settings.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import iniconfig

from sdperf.errors import ConfigurationError
from sdperf.scaffold.lines import insert_lines, split_lines

_BOM: Final = "\N{BYTE ORDER MARK}"


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
"""In the order in which pytest looks; the first that is there wins. Source: pytest, reference of
configuration file formats (9.0 reads ``pytest.toml`` and ``[tool.pytest]`` too)."""


def find_place(files: Mapping[str, str]) -> IniPlace:
    """Return where settings belong: where pytest reads them today, else where they disturb least.

    Args:
        files: Text of those of the files of `PLACES` that exist, by name.

    Raises:
        ConfigurationError: One of them cannot be parsed.
    """
    parsed = {name: _parse(name, text) for name, text in files.items()}
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
    return _section(place, _parse(place.file, text)) or {}


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
    _check(text, result, place, settings)
    return result


def _read_header(line: str, place: IniPlace) -> str:
    """Return a line without its comment, which begins as the file's kind has it."""
    return re.split("#" if place.is_toml else "[#;]", line.removeprefix(_BOM), maxsplit=1)[
        0
    ].strip()


def _check(text: str, result: str, place: IniPlace, settings: Mapping[str, str]) -> None:
    expected = copy.deepcopy(_parse(place.file, text))
    section = expected
    for key in place.keys:
        section = section.setdefault(key, {})
    section.update(settings)
    if _parse(place.file, result) != expected:
        raise ConfigurationError(
            f"{place.file} cannot be added to without changing what it says",
            hint=f"add these below [{place.section}] by hand: "
            + ", ".join(f"{key} = {value}" for key, value in settings.items()),
        )


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        if name.endswith(".toml"):
            return tomllib.loads(text)
        parsed = iniconfig.IniConfig(name, data=text)
    except (tomllib.TOMLDecodeError, iniconfig.ParseError) as error:
        raise ConfigurationError(
            f"{name} cannot be read", got=str(error), hint=f"repair {name}"
        ) from error
    return {section: dict(parsed[section].items()) for section in parsed.sections}


def _section(place: IniPlace, parsed: Mapping[str, Any]) -> dict[str, Any] | None:
    found: Any = parsed
    for key in place.keys:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    # [tool.pytest] is native TOML; as the mere parent of ini_options it is no place.
    if place.section == "tool.pytest" and set(found) <= {"ini_options"}:
        return None
    return dict(found)
