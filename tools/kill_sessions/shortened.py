"""``sdperf`` with blocks of a fraction of a second, where nobody looks at the figures.

The first argument says whose workers: ``torch`` are the real ones, ``stand-in`` are real processes
without torch, which draw what the revision's subject says.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run a command of ``sdperf``."""
    from sdperf.ab.turns import bench, case_state
    from sdperf.cli import main as run_command

    case_state.BLOCK_S = 0.1  # type: ignore[misc]
    whose, *arguments = sys.argv[1:]
    if whose == "stand-in":
        from tests.support.ab_standin import staged_stand_in

        bench.staged_harness = staged_stand_in
    return run_command(arguments)


if __name__ == "__main__":
    sys.exit(main())
