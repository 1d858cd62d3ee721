"""Counts of the shape of the package, as the house wants them.

    python -m tools.house_counts           lines, rooms, circles, names
    python -m tools.house_counts --flow    also how far one number goes, in a watched session

The number of ``--flow`` is a limit that a user types (``--sd-max-slowdown 7.31%``). Counted are
the functions of sdperf, and their files, that were given it: as an argument, or in a
field of one, three levels deep.
"""

from __future__ import annotations

import argparse
import ast
import collections
import dataclasses
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = Path(__file__).parents[1] / "sdperf"
MOST_FILES: Final = 14
"""Files of a room, ``__init__.py`` apart."""

MOST_LINES: Final = 450
FLOWING: Final = 0.0731
"""A slowdown that nothing else in a session is."""

_LEVELS: Final = 3


def name_module(path: Path, package: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(package: Path) -> dict[str, set[str]]:
    """Return what each module of a package imports of it, when it is itself imported."""
    modules = {name_module(path, package): path for path in package.rglob("*.py")}
    found = {}
    for name, path in modules.items():
        imported = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    imported.add(whole if whole in modules else node.module)
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        found[name] = {other for other in imported if other in modules and other != name}
    return found


def find_circle(imports: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle; none where there is no circle."""
    finished: set[str] = set()

    def follow(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name in finished:
            return []
        for other in sorted(imports[name]):
            if circle := follow(other, [*trail, name]):
                return circle
        finished.add(name)
        return []

    return next((circle for name in sorted(imports) if (circle := follow(name, []))), [])


def count_files(package: Path) -> dict[Path, int]:
    """Count the files of each room, ``__init__.py`` apart."""
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    return {
        folder: sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in folders
    }


def count_lines(package: Path) -> dict[Path, int]:
    """Count the lines of each file."""
    return {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in package.rglob("*.py")
    }


def find_shared_names(package: Path) -> dict[str, list[str]]:
    """Return the class names that stand in more than one file, with the files."""
    found = collections.defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path.relative_to(package).as_posix())
    return {name: files for name, files in found.items() if len(files) > 1}


def holds(value: object, number: float, levels: int = _LEVELS) -> bool:
    """Whether a value is the number, or holds it in a field or an item."""
    if isinstance(value, float):
        return value == number
    if levels == 0:
        return False
    parts: Sequence[object] = ()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # What a slot or a field not yet set would hold is no part.
        parts = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        parts = list(value.values())[:50]
    elif isinstance(value, list | tuple):
        parts = value[:50]
    return any(holds(part, number, levels - 1) for part in parts)


@dataclasses.dataclass
class Flow:
    """The functions of a package that were given a number.

    Attributes:
        number: The number.
        package: Folder of the package.
        functions: File, first line and name of each function.
    """

    number: float
    package: str
    functions: set[tuple[str, int, str]] = dataclasses.field(default_factory=set)

    def __call__(self, frame: Any, event: str, _argument: object) -> None:
        """Look at a call; for `sys.setprofile`."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(self.package):
            return
        key = (code.co_filename, code.co_firstlineno, code.co_name)
        if key in self.functions:
            return
        given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(holds(frame.f_locals.get(name), self.number) for name in given):
            self.functions.add(key)


def follow_number() -> Flow:
    """Run a session of one case with the number as its limit, and watch where it goes."""
    import pytest

    flow = Flow(FLOWING, str(PACKAGE) + os.sep)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        Path(folder, "test_one.py").write_text(
            "def test_latency(sd_benchmark):\n    sd_benchmark.latency()\n"
        )
        cwd = Path.cwd()
        os.chdir(folder)
        command = [
            *("test_one.py", "-p", "no:cacheprovider", "-q", "--sd-precision=fp32"),
            *("--sd-mode=sync", "--sd-workers=1", "--sd-steps=1", "--sd-rounds=2"),
            *("--sd-history=off", "--sd-unwatched", "--sd-confirm=0"),
        ]
        try:
            if pytest.main([*command, "--benchmark-autosave"]):
                raise SystemExit("the session to compare with failed")
            sys.setprofile(flow)
            pytest.main([*command, "--benchmark-compare", f"--sd-max-slowdown={FLOWING:.2%}"])
        finally:
            sys.setprofile(None)
            os.chdir(cwd)
    return flow


def run() -> int:
    """Print the counts; exit 1 where one is beyond what the house allows."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.house_counts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--flow", action="store_true", help="run a session and follow a number")
    arguments = parser.parse_args()
    lines, files = count_lines(PACKAGE), count_files(PACKAGE)
    longest, fullest = max(lines, key=lines.__getitem__), max(files, key=files.__getitem__)
    circle, shared = find_circle(read_imports(PACKAGE)), find_shared_names(PACKAGE)
    print(f"lines: {sum(lines.values())} in {len(lines)} files, {len(files)} rooms")
    print(f"longest file: {longest.relative_to(PACKAGE)}, {lines[longest]} (at most {MOST_LINES})")
    print(f"fullest room: {fullest.relative_to(PACKAGE)}, {files[fullest]} (at most {MOST_FILES})")
    print(f"circles of imports: {' -> '.join(circle) or 'none'}")
    print(f"class names in several files: {', '.join(sorted(shared)) or 'none'}")
    if arguments.flow:
        flow = follow_number()
        stand_in = len({file for file, _, _ in flow.functions})
        print(
            f"one number, from option to summary: {stand_in} files, {len(flow.functions)} functions"
        )
    return int(lines[longest] > MOST_LINES or files[fullest] > MOST_FILES or bool(circle or shared))


if __name__ == "__main__":
    sys.exit(run())
