"""Write ``sdperf/mps_check/dispatch.json`` from wheels; order and number are free."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from packaging.version import Version

from sdperf.mps_check.dispatch import FORMAT, TABLE_PATH
from sdperf.mps_check.limits import load_limits
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
    parser.add_argument("wheels", type=Path, nargs="+", help="macOS ARM64 wheels of torch")
    parser.add_argument("--out", type=Path, default=TABLE_PATH)
    arguments = parser.parse_args()
    texts = sorted({limit.wheel_text for limit in load_limits() if limit.wheel_text})
    found = [examine(wheel, texts) for wheel in arguments.wheels]
    found.sort(key=lambda one: Version(one["version"]))
    write_atomically(arguments.out, format_table(found, texts).encode())


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
    return {
        "version": match.group(1),
        "wheel": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "by_hand": merge(routes, registered),
        "routes": routes,
        "texts": held,
    }


def merge(routes: dict[str, str], registered: Registrations) -> list[str]:
    """Let the library have the last word, in place; the two must agree on what torchgen wrote.

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
            {key: one[key] for key in ("version", "wheel", "sha256", "by_hand")} for one in found
        ],
        "texts": {
            text: [one["version"] for one in found if text in one["texts"]] for text in texts
        },
        "operators": operators,
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    main()
