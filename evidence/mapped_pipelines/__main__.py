"""Try every text-to-image class of the installed diffusers, and write the table of docs/models.md.

python -m evidence.mapped_pipelines                        prints the table, some five minutes
python -m evidence.mapped_pipelines --only Krea2Pipeline   tries one
python -m evidence.mapped_pipelines --write docs/models.md puts it between the page's marks
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from evidence.mapped_pipelines.probing import Abilities, probe
from evidence.mapped_pipelines.table import CLASSES, Try, list_mapped
from sdperf.store.files import write_atomically

MARKS: Final = ("<!-- mapped pipelines -->", "<!-- end of mapped pipelines -->")
HEAD: Final = (
    "| pipeline | stages | noise handed over | trajectory | components | batch | optimisations |"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.mapped_pipelines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="CLASS", help="this class; repeatable")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page whose table is replaced")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only or list_mapped():
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows.append(format_row(name, try_class(name)))
    table = format_table(rows)
    if arguments.write is None:
        print(table)
    else:
        replace_table(arguments.write, table)


def try_class(name: str) -> Abilities | str:
    """Try one class; a reason where it was not, or could not be."""
    entry = CLASSES.get(name, "not tried")
    if isinstance(entry, Try):
        try:
            return probe(entry.build(), entry.settings)
        except Exception as error:  # noqa: BLE001  # a row of the table says it
            return f"fails: {str(error).splitlines()[0]}"
    return entry


def format_row(name: str, tried: Abilities | str) -> str:
    """Format one line of the table. Pure."""
    if isinstance(tried, str):
        return f"| `{name}` | {tried} | | | | | |"
    return (
        f"| `{name}` | {tried.stages} | {tried.noise} | {tried.trajectory} | {tried.components} | "
        f"{tried.batch} | {tried.optimisations} |"
    )


def format_table(rows: Iterable[str]) -> str:
    """Format the whole table, with the version that it is true of."""
    return "\n".join(
        [
            "`python -m evidence.mapped_pipelines` tried these, tiny and with random weights, with "
            f"diffusers {version('diffusers')}:",
            "",
            HEAD,
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
    between = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
    if not between.search(text):
        raise ValueError(f"{page} lacks {MARKS[0]} and {MARKS[1]}")
    fresh = between.sub(f"{MARKS[0]}\n{table}\n\n{MARKS[1]}", text)
    write_atomically(page, fresh.encode())


if __name__ == "__main__":
    main()
