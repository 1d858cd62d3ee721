"""``python -m tools.kill_sessions --kills 50 --command pytest``: nothing finished is lost."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tools.kill_sessions.commands import COMMANDS, Tally


def main() -> int:
    """Kill as often as asked; 0 where nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="(50)")
    parser.add_argument("--command", choices=sorted(COMMANDS), default="pytest")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    arguments = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="kill-sessions-") as folder:
        command = COMMANDS[arguments.command](Path(folder))
        command.prepare()
        moments = random.Random(arguments.seed)
        while tally.kills < arguments.kills:
            command.run_one(moments.uniform(0.0, command.whole_s), tally)
            print(f"\r{tally}", end="", file=sys.stderr, flush=True)
        command.finish(tally)
    print(file=sys.stderr)
    print(f"{arguments.command}: {tally}")
    for loss in tally.lost:
        print(f"lost: {loss}")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
