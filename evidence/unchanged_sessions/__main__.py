"""Records real sessions of unchanged code, draws many from them, and counts those that fail.

python -m evidence.unchanged_sessions --sessions 24    record, judge, write
python -m evidence.unchanged_sessions --sessions 96 --at-once 8 --folder DIR --record    only record
python -m evidence.unchanged_sessions --sessions 96 --folder DIR    go on with those, judge, write
python -m evidence.unchanged_sessions --page           the page anew, from the data at hand
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from evidence.unchanged_sessions.recording import OPTIONS, record_sessions
from evidence.unchanged_sessions.resampling import describe_sessions, read_session, summarise
from evidence.unchanged_sessions.table import format_page

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "docs/results/unchanged-sessions.json"
PAGE: Final = ROOT / "docs/results/unchanged-sessions.md"


def judge(paths: Sequence[Path], count: int, seed: int) -> dict[str, Any]:
    """Judge sessions that are drawn from the recorded ones."""
    read = [read_session(path) for path in paths]
    case = next(iter(read[0].cases.values())).measurement
    assert case is not None
    where = case.environment
    torch, diffusers = (where.packages.get(one, "?") for one in ("torch", "diffusers"))
    return {
        "machine": f"{where.chip}, {where.cpu_cores} cores, torch {torch}, diffusers {diffusers}",
        "options": [one for one in OPTIONS if one.startswith("--sd-")],
        "seed": seed,
        "real": describe_sessions(read),
        "judged": summarise(read, count, seed),
    }


def main() -> None:
    """Record, judge and write, or only write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=24, help="real sessions")
    parser.add_argument("--count", type=int, default=400, help="sessions drawn from them")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="keep the sessions here, and go on with them"
    )
    parser.add_argument("--at-once", type=int, default=1, help="sessions that run at once")
    parser.add_argument("--record", action="store_true", help="only record, into --folder")
    parser.add_argument("--page", action="store_true", help="write the page from the data at hand")
    arguments = parser.parse_args()
    if not arguments.page:
        with tempfile.TemporaryDirectory(prefix="sdperf-unchanged-") as temporary:
            folder = (arguments.folder or Path(temporary)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            paths = record_sessions(folder, arguments.sessions, arguments.at_once)
            if arguments.record:
                return
            found = judge(paths, arguments.count, arguments.seed)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(format_page(json.loads(RESULTS.read_text("utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
