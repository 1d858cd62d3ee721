"""``python -m tools.kill_sessions --kills 50 --command pytest``: nothing finished is lost."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from sdperf.store.files import write_atomically
from tools.kill_sessions.commands import (
    KilledCommand,
    KilledImport,
    KilledInProcess,
    KilledSession,
)
from tools.kill_sessions.comparisons import (
    KilledBisection,
    KilledComparison,
    KilledRealComparison,
    KilledRealTuning,
    KilledSweep,
    KilledTuning,
)
from tools.kill_sessions.surroundings import Surroundings, Tally

COMMANDS: Final[dict[str, type[KilledCommand]]] = {
    "pytest": KilledSession,
    "pytest --sd-in-process": KilledInProcess,
    "history import": KilledImport,
    "ab": KilledComparison,
    "ab with torch": KilledRealComparison,
    "bisect": KilledBisection,
    "sweep": KilledSweep,
    "tune": KilledTuning,
    "tune with torch": KilledRealTuning,
}


def main() -> int:
    """Kill as often as asked; 0 where nothing was lost and nothing left behind."""
    parser = argparse.ArgumentParser(prog="python -m tools.kill_sessions", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="(50)")
    parser.add_argument("--command", choices=sorted(COMMANDS), default="pytest")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="add the result to this JSON file"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, metavar="M", help="end earlier, after so long"
    )
    arguments = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="kill-sessions-") as place:
        folder = Path(place) / "here"
        folder.mkdir()
        command = COMMANDS[arguments.command](Surroundings(folder))
        command.prepare()
        moments = random.Random(arguments.seed)
        give_up_s = time.monotonic() + 60.0 * arguments.minutes
        while tally.kills < arguments.kills and time.monotonic() < give_up_s:
            command.run_one(moments.uniform(0.0, command.whole_s), tally)
            print(f"\r{tally}", end="", file=sys.stderr, flush=True)
        command.finish(tally)
    print(file=sys.stderr)
    print(f"{arguments.command}: {tally}")
    for loss in tally.lost:
        print(f"lost: {loss}")
    for leaving in tally.left:
        print(f"left: {leaving}")
    if arguments.output is not None:
        add_result(arguments.output, arguments.command, arguments.seed, command.whole_s, tally)
    return 1 if tally.lost or tally.left else 0


def add_result(path: Path, command: str, seed: int, whole_s: float, tally: Tally) -> None:
    """Add what the kills of a command came to, in the place of an earlier result of it."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[command] = {
        "how": f"python -m tools.kill_sessions --command '{command}' --kills {tally.kills} "
        f"--seed {seed}",
        "undisturbed_s": round(whole_s, 1),
        "kills": tally.kills,
        "completed": tally.completed,
        "finished_pieces_found_after_kills": tally.kept,
        "lost": tally.lost,
        "left_behind": tally.left,
        "longest_stay_of_a_process_s": round(tally.longest_stay_s, 2),
        "cores": os.cpu_count(),
    }
    text = json.dumps(dict(sorted(results.items())), indent=1) + "\n"
    write_atomically(path, text.encode())


if __name__ == "__main__":
    sys.exit(main())
