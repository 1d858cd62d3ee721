"""Add versions to ``sdperf/mps_check/dispatch.json``, or write it anew; their order is free."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from packaging.version import Version

from sdperf.mps_check.dispatch import FORMAT, TABLE_PATH
from sdperf.mps_check.limits import load_limits
from sdperf.mps_check.python_registrations import (
    PythonRegistration,
    read_python_registrations,
)
from sdperf.mps_check.torchgen_routes import LETTERS
from sdperf.store.files import write_atomically
from tools.mps_tables.macho import Library
from tools.mps_tables.registrations import Registrations, read_registrations

_LIBRARY: Final = "torch/lib/libtorch_cpu.dylib"
_NAME: Final = re.compile(r"torch-([\d.]+)-.*macosx_\d+_\d+_arm64\.whl")
_ROUTES: Final = """
import json, sys
sys.path.insert(0, sys.argv[1])
from sdperf.mps_check.torchgen_routes import read_torchgen_routes
json.dump(read_torchgen_routes(), sys.stdout)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.mps_tables", description=__doc__)
    parser.add_argument(
        "versions", nargs="+", help="versions of torch to download, or macOS ARM64 wheels of it"
    )
    parser.add_argument("--anew", action="store_true", help="drop the versions that are there")
    parser.add_argument("--out", type=Path, default=TABLE_PATH)
    arguments = parser.parse_args()
    texts = sorted({limit.wheel_text for limit in load_limits() if limit.wheel_text})
    kept = [] if arguments.anew else read_versions(arguments.out, texts)
    with tempfile.TemporaryDirectory() as name:
        wheels = [find_wheel(each, Path(name)) for each in arguments.versions]
        found = [examine(wheel, texts) for wheel in wheels]
    added = {one["version"] for one in found}
    found += [one for one in kept if one["version"] not in added]
    found.sort(key=lambda one: Version(one["version"]))
    write_atomically(arguments.out, format_table(found, texts).encode())


def find_wheel(given: str, folder: Path) -> Path:
    """Return the wheel that is given, or download that of a version."""
    if given.endswith(".whl"):
        return Path(given)
    command = [sys.executable, "-m", "pip", "download", f"torch=={given}", "--no-deps", "-q"]
    command += ["--only-binary=:all:", "--python-version", "3.11", "-d", str(folder / given)]
    for system in ("macosx_11_0_arm64", "macosx_14_0_arm64"):
        command += ["--platform", system]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"pip finds no macOS ARM64 wheel of torch {given}")
    return next((folder / given).glob("torch-*.whl"))


def read_versions(path: Path, texts: list[str]) -> list[dict[str, Any]]:
    """Read the versions of a table as `examine` gave them.

    Raises:
        SystemExit: A limit names a text that was not looked for in those wheels.
    """
    table = json.loads(path.read_text(encoding="utf-8"))
    if missing := sorted(set(texts) - table["texts"].keys()):
        raise SystemExit(
            f"{path.name} was made without looking for {missing[0]!r}: give all wheels and --anew"
        )
    return [
        version
        | {
            "routes": {
                name: each
                for name, letters in table["operators"].items()
                if (each := letters if len(letters) == 1 else letters[index]) != "-"
            },
            "texts": [text for text in texts if version["version"] in table["texts"][text]],
        }
        for index, version in enumerate(table["versions"])
    ]


def examine(wheel: Path, texts: list[str]) -> dict[str, Any]:
    """Read one wheel: where its operators go, and which of the limits' texts its library holds."""
    match = _NAME.fullmatch(wheel.name)
    if match is None:
        raise SystemExit(f"{wheel.name} is no macOS ARM64 wheel of a released torch")
    print(f"{wheel.name} ...", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(wheel) as archive:
        folder = Path(name)
        members = [each for each in archive.namelist() if each.startswith("torchgen/")]
        archive.extractall(folder, [*members, _LIBRARY])
        command = [sys.executable, "-c", _ROUTES, str(folder)]
        routes = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        library = Library(folder / _LIBRARY)
        registered = read_registrations(library)
        held = [text for text in texts if library.has_text(text)]
        files = {each for each in archive.namelist() if each.startswith("torch/")}
        in_python = read_python_registrations(
            [each for each in files if each.endswith(".py")],
            lambda path: archive.read(path).decode() if path in files else None,
        )
    return {
        "version": match.group(1),
        "wheel": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "by_hand": merge(routes, registered, in_python),
        "python": [asdict(each) for each in in_python],
        "routes": routes,
        "texts": held,
    }


def merge(
    routes: dict[str, str],
    registered: Registrations,
    in_python: tuple[PythonRegistration, ...] = (),
) -> list[str]:
    """Let the library overrule the list, and Python the library, in place.

    The library and the list must agree on what torchgen wrote. What Python registers only after
    an import of its own does not take the place of a kernel.

    Returns:
        Operators that are registered in C++ only.

    Raises:
        SystemExit: The list promises a kernel that the library does not register, so one of the
            two was misread.
    """
    listed = {name for name, letter in routes.items() if letter == "m"}
    known = (registered.kernels | registered.to_cpu) & routes.keys()
    if listed - known:
        raise SystemExit(f"listed but not registered: {', '.join(sorted(listed - known)[:9])}")
    for name in known - listed:
        routes[name] = "c" if name in registered.to_cpu else "m"
    for each in in_python:
        if not each.needs or routes.get(each.operator) == "x":
            routes[each.operator] = "p"
    return sorted(known - listed)


def format_table(found: list[dict[str, Any]], texts: list[str]) -> str:
    """Lay the table out with one operator a line, a letter a version, one letter if all agree."""
    names = sorted({name for one in found for name in one["routes"]})
    operators = {}
    for name in names:
        letters = "".join(one["routes"].get(name, "-") for one in found)
        operators[name] = letters[0] if len(set(letters)) == 1 else letters
    content = {
        "format": FORMAT,
        "made_by": "python -m tools.mps_tables",
        "letters": LETTERS,
        "versions": [
            {key: one[key] for key in ("version", "wheel", "sha256", "by_hand", "python")}
            for one in found
        ],
        "texts": {
            text: [one["version"] for one in found if text in one["texts"]] for text in texts
        },
        "operators": operators,
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    main()
