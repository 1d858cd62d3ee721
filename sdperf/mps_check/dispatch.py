"""Tells where a version of torch sends each operator on MPS, by a table or torchgen's list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from sdperf.errors import ConfigurationError
from sdperf.mps_check.python_registrations import read_python_registrations
from sdperf.mps_check.torchgen_routes import LETTERS, Letter, read_torchgen_routes

FORMAT: Final = 2
TABLE_PATH: Final = Path(__file__).parent / "dispatch.json"
_NAMESPACE: Final = "aten::"


@dataclass(frozen=True)
class DispatchTable:
    """Where operators of ``aten`` go on MPS in one version of torch.

    Attributes:
        version: The judged version.
        source: The source of the letters, for people.
        letters: By operator and overload (``add.Tensor``); see `torchgen_routes.LETTERS`.
        knows_library: Whether kernels that are registered in C++ only are part of it.
        in_python: Where Python registers an operator, by its name and overload: file and line,
            and the module that must be imported first, if one must.
        note: An open question about it; empty without one.
    """

    version: Version
    source: str
    letters: Mapping[str, Letter]
    knows_library: bool
    in_python: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def letter(self, operator: str) -> Letter | None:
        """Return where an operator goes; ``None`` for one outside ``aten``.

        Args:
            operator: With its namespace, such as ``aten::add.Tensor``.
        """
        if not operator.startswith(_NAMESPACE):
            return None
        return self.letters.get(operator.removeprefix(_NAMESPACE), "-")


def known_versions() -> tuple[str, ...]:
    """List the versions of the shipped table, oldest first."""
    return tuple(one["version"] for one in _read_table()["versions"])


def versions_with_kernel(operator: str) -> tuple[str, ...]:
    """List the known versions in which an operator has a kernel for MPS.

    Args:
        operator: With its namespace.
    """
    letters = _read_table()["operators"].get(operator.removeprefix(_NAMESPACE), "-")
    versions = known_versions()
    each = letters * len(versions) if len(letters) == 1 else letters
    return tuple(one for one, letter in zip(versions, each, strict=True) if letter == "m")


def load_dispatch_table(version: str | None, installed: str) -> DispatchTable:
    """Return the table of a version of torch.

    Args:
        version: The version that the user names; a release without its last number (``2.14``) is
            its newest known version. ``None`` is the installed one.
        installed: The version that is installed; where the shipped table lacks it, the list of
            its own torchgen is read.

    Raises:
        ConfigurationError: The version is unknown.
    """
    wanted = parse_version("--torch-version", version or installed)
    found = _find_version(wanted)
    if found is not None:
        return _from_table(found)
    if wanted == parse_version("torch", installed):
        return _from_installed(wanted)
    raise ConfigurationError(
        "nothing is known of this version of torch",
        got=version,
        expected=f"one of {', '.join(known_versions())}, or the installed {installed}",
        hint=f"--torch-version {_find_nearest(wanted)}; or install torch {wanted} and leave "
        "--torch-version out, which reads what its own torchgen lists; or, in a clone of sdperf, "
        f"add its table: python -m tools.mps_tables {wanted}",
    )


def parse_version(option: str, text: str) -> Version:
    """Read a version, without what follows a plus sign.

    Raises:
        ConfigurationError: The text is not a version.
    """
    try:
        return Version(Version(text).public)
    except InvalidVersion as error:
        raise ConfigurationError(
            f"{option} is no version",
            got=text,
            expected="numbers with dots between them, such as 2.14.1",
            hint="sdperf mps-check --help",
        ) from error


def _find_version(wanted: Version) -> str | None:
    known = [(Version(text), text) for text in known_versions()]
    exact = next((text for version, text in known if version == wanted), None)
    is_release = len(wanted.release) == 2 and not wanted.is_prerelease
    if is_release and wanted.public == f"{wanted.major}.{wanted.minor}":
        same = [text for version, text in known if version.release[:2] == wanted.release]
        return same[-1] if same else exact
    return exact


def _find_nearest(wanted: Version) -> str:
    """Return the newest known version up to a wanted one, else the oldest known."""
    known = known_versions()
    return next((text for text in reversed(known) if Version(text) <= wanted), known[0])


def _from_table(version: str) -> DispatchTable:
    table = _read_table()
    index = known_versions().index(version)
    letters: dict[str, Letter] = {
        name: each if len(each) == 1 else each[index] for name, each in table["operators"].items()
    }
    about = table["versions"][index]
    in_python = {each["operator"]: _say_place(each) for each in about["python"]}
    source = f"operators and library of {about['wheel']}"
    return DispatchTable(Version(version), source, letters, True, in_python)


def _from_installed(version: Version) -> DispatchTable:
    """Read an installed torch that the shipped table lacks: its list, and its Python sources."""
    letters = read_torchgen_routes()
    found = util.find_spec("torch")
    root = Path(str(found and found.origin)).parent
    paths = [str(path.relative_to(root.parent)) for path in root.rglob("*.py")]
    in_python = {}
    for each in read_python_registrations(paths, lambda path: _read_source(root.parent / path)):
        letters[each.operator] = "p"
        in_python[each.operator] = _say_place({"place": each.place, "needs": each.needs})
    newest = known_versions()[-1]
    age = f"newer than {newest}, the newest" if version > Version(newest) else "not one of those"
    return DispatchTable(
        version,
        "native_functions.yaml of the installed torchgen",
        letters,
        False,
        in_python,
        f"torch {version} is {age} that sdperf has a table of: kernels that are registered in C++ "
        "only are unknown, and so are limits that came with it; in a clone of sdperf, python -m "
        f"tools.mps_tables {version} adds it",
    )


def _read_source(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _say_place(entry: Mapping[str, str]) -> str:
    return entry["place"] + (f", where {entry['needs']} was imported" if entry["needs"] else "")


@cache
def _read_table() -> Any:
    table = json.loads(TABLE_PATH.read_text(encoding="utf-8"))
    versions = len(table["versions"])
    if table["format"] != FORMAT or any(
        len(letters) not in (1, versions) or not set(letters) <= LETTERS.keys()
        for letters in table["operators"].values()
    ):
        raise ConfigurationError(
            f"{TABLE_PATH.name} is damaged",
            hint="reinstall sdperf, or, in a clone of it, python -m tools.mps_tables",
        )
    return table
