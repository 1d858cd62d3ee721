"""``python -m tools.fuzz_readers --mutations 5000``: see the package."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.fuzz_readers import fuzz


def run() -> int:
    """Damage, call, print tracebacks; exit 1 where there is one."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_readers")
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=Path, default=Path("docs/results/cpu-embedded/run.json"))
    arguments = parser.parse_args()
    seen: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for what, found in fuzz(arguments.run, Path(folder), arguments.mutations, arguments.seed):
            ending = "".join(found.splitlines(keepends=True)[-5:])
            if ending not in seen:
                print(f"{what}:\n{ending}", flush=True)
            seen[ending] = seen.get(ending, 0) + 1
    print(f"{arguments.mutations} mutations: {sum(seen.values())} tracebacks, {len(seen)} kinds")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(run())
