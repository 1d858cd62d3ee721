"""Try every class of the installed diffusers that draws images, and write the tables of the docs.

python -m evidence.mapped_pipelines                        prints the table, some six minutes
python -m evidence.mapped_pipelines --only Krea2Pipeline   tries one
python -m evidence.mapped_pipelines --write docs/models.md puts it between the page's marks
python -m evidence.mapped_pipelines --pictures --write docs/pictures-in.md
                                                           those that draw from a picture
python -m evidence.mapped_pipelines --only PRXPipeline --write docs/models.md
                                                           puts the one row into the page

A class that needs a package which cannot be imported here keeps the row that stands in the page.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from evidence.mapped_pipelines.probing import Abilities, probe
from evidence.mapped_pipelines.table import (
    CLASSES,
    PICTURE_CLASSES,
    Try,
    list_mapped,
    list_mapped_pictures,
)
from sdperf.store.files import write_atomically

PAGES: Final = Path(__file__).parents[2] / "docs"
MARKS: Final = ("<!-- mapped pipelines -->", "<!-- end of mapped pipelines -->")
_BETWEEN: Final = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
HEAD: Final = (
    "| pipeline | stages | noise handed over | trajectory | components | batch | optimisations |"
)
PICTURES_HEAD: Final = (
    "| pipeline | task | taken by | executed steps | trajectory | components | batch |"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.mapped_pipelines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="CLASS", help="this class; repeatable")
    parser.add_argument("--pictures", action="store_true", help="classes that draw from a picture")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page whose table is replaced")
    arguments = parser.parse_args()
    classes = PICTURE_CLASSES if arguments.pictures else CLASSES
    listed = list_mapped_pictures() if arguments.pictures else list_mapped()
    own = PAGES / ("pictures-in.md" if arguments.pictures else "models.md")
    kept = read_rows(arguments.write or own)
    rows = []
    for name in dict.fromkeys((*listed, *(arguments.only or ()))):
        entry = classes.get(name)
        is_asked = arguments.only is None or name in arguments.only
        if is_asked and isinstance(entry, Try) and not entry.is_possible:
            needs = " and ".join(entry.needs)
            print(f"{name} keeps its row: needs {needs}", file=sys.stderr, flush=True)
            rows.append(kept.get(name) or format_row(name, f"needs {needs}"))
        elif is_asked:
            print(f"{name} ...", file=sys.stderr, flush=True)
            if arguments.pictures:
                rows.append(format_picture_row(name, try_class(name, PICTURE_CLASSES)))
            else:
                rows.append(format_row(name, try_class(name)))
        elif arguments.write is not None and name in kept:
            rows.append(kept[name])
    table = format_table(rows, PICTURES_HEAD if arguments.pictures else HEAD)
    if arguments.write is None:
        print(table)
    else:
        replace_table(arguments.write, table)


def try_class(name: str, classes: Mapping[str, Try | str] = CLASSES) -> Abilities | str:
    """Try one class; a reason where it was not, or could not be."""
    entry = classes.get(name, "not tried")
    if isinstance(entry, Try):
        try:
            return probe(
                entry.build(),
                entry.settings,
                opened_as=name if entry.opens else None,
                is_given_a_picture=entry.is_given_a_picture,
                is_saved=entry.is_saved,
            )
        except Exception as error:  # noqa: BLE001  # a row of the table says it
            return f"fails: {str(error).splitlines()[0]}"
    return entry


def read_rows(page: Path) -> dict[str, str]:
    """Read the rows that stand between a page's marks, by class name; none where it lacks them."""
    found = _BETWEEN.search(page.read_text(encoding="utf-8"))
    lines = found.group().splitlines() if found is not None else []
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def label_row(name: str, entry: Try | str | None) -> str:
    """Name a class, and what it was tried with: a function, packages beside sdperf's own."""
    if isinstance(entry, Try) and not entry.is_saved:
        return f"`{name}` (by a function)"
    if not (isinstance(entry, Try) and entry.needs and entry.is_possible):
        return f"`{name}`"
    versions = (f"{package} {version(package)}" for package in (*entry.needs, "torch"))
    return f"`{name}` ({', '.join(one.partition('+')[0] for one in versions)})"


def format_row(name: str, tried: Abilities | str) -> str:
    """Format one line of the table."""
    return _format_cells(
        label_row(name, CLASSES.get(name)),
        tried,
        ("stages", "noise", "trajectory", "components", "batch", "optimisations"),
    )


def format_picture_row(name: str, tried: Abilities | str) -> str:
    """Format one line of the table of classes that draw from a picture."""
    return _format_cells(
        label_row(name, PICTURE_CLASSES.get(name)),
        tried,
        ("task", "picture", "steps", "trajectory", "components", "batch"),
    )


def _format_cells(label: str, tried: Abilities | str, names: Sequence[str]) -> str:
    """Format a line: what was found by these names, or why it was not tried."""
    if isinstance(tried, str):
        return f"| {label} | {tried} | | | | | |"
    return f"| {label} | {' | '.join(str(getattr(tried, name)) for name in names)} |"


def format_table(rows: Iterable[str], head: str = HEAD) -> str:
    """Format the whole table, with the version that it is true of."""
    how = "" if head == HEAD else " --pictures"
    return "\n".join(
        [
            f"`python -m evidence.mapped_pipelines{how}` tried these, tiny and with random "
            f"weights, with diffusers {version('diffusers')}:",
            "",
            head,
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
        ]
    )


def replace_table(page: Path, table: str) -> None:
    """Put a table between a page's marks.

    Raises:
        ValueError: The page lacks a mark.
    """
    text = page.read_text(encoding="utf-8")
    if not _BETWEEN.search(text):
        raise ValueError(f"{page} lacks {MARKS[0]} and {MARKS[1]}")
    fresh = _BETWEEN.sub(f"{MARKS[0]}\n{table}\n\n{MARKS[1]}", text)
    write_atomically(page, fresh.encode())


if __name__ == "__main__":
    main()
