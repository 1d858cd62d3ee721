"""``python -m tools.fuzz_readers --mutations 5000``: see the package."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from tools.fuzz_readers import fuzz, mutate, shorten


def fuzz_files(results: Path, mutations: int, seed: int) -> Iterator[tuple[str, str]]:
    """Give damaged files to every reader in turn, without its command.

    Args:
        results: Committed results, which sound files are taken from.
        mutations: How many damaged files in all.
        seed: The same seed makes the same files.

    Yields:
        For each fault: what it was, and its traceback.
    """
    from tools.fuzz_readers.files import make_file_readers

    readers = itertools.cycle(make_file_readers(results, shorten))
    for number, reader in zip(range(mutations), readers, strict=False):
        content = mutate(reader.document, random.Random(f"{seed}/{number}"), reader.encode)
        fault = reader.find_fault(content)
        if fault is not None:
            said = "".join(traceback.format_exception(fault))
            yield f"{reader.name}, mutation {number} of seed {seed}", said


def run() -> int:
    """Damage, call, print tracebacks; exit 1 where there is one."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_readers")
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--what",
        choices=("commands", "files"),
        default="commands",
        help="a damaged run through every command that takes one, or files of every kind",
    )
    parser.add_argument("--run", type=Path, default=Path("docs/results/cpu-embedded/run.json"))
    arguments = parser.parse_args()
    seen: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        results = arguments.run.parents[1]
        faults = (
            fuzz_files(results, arguments.mutations, arguments.seed)
            if arguments.what == "files"
            else fuzz(arguments.run, Path(folder), arguments.mutations, arguments.seed)
        )
        for what, found in faults:
            ending = "".join(found.splitlines(keepends=True)[-5:])
            if ending not in seen:
                print(f"{what}:\n{ending}", flush=True)
            seen[ending] = seen.get(ending, 0) + 1
    print(
        f"{arguments.mutations} mutations ({arguments.what}): {sum(seen.values())} tracebacks, "
        f"{len(seen)} kinds"
    )
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(run())
