"""Plants each damage on the embedded model, judges it by every gate, and writes docs/damage.md.

python -m evidence.damage_table                    about half an hour on two cores
python -m evidence.damage_table --only "red +2"    one damage, printed
python -m evidence.damage_table --only "red +2" --anew    its row of the data and the page anew
python -m evidence.damage_table --page             the page anew, from docs/results/damage.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "docs/results/damage.json"
PAGE: Final = ROOT / "docs/damage.md"
WATCHED: Final = frozenset({"memoised denoiser"})
"""What shows only for requests that were never made, which a session draws where it watches."""


def measure(names: list[str], folder: Path) -> dict[str, Any]:
    """Run a session of each damage, and return what every gate said."""
    from evidence.damage_table.records import PLANTED, list_failing_gates
    from evidence.damage_table.sessions import read_columns, run_session

    started_s = time.monotonic()
    base = run_session(folder, "unchanged", is_base=True, watched=True)
    print(f"base: {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
    case = next(one.measurement for name, one in base.cases.items() if "latency" in name)
    assert case is not None
    pictures = {}
    for name in names:
        started_s = time.monotonic()
        damaged = run_session(folder, name, watched=name in WATCHED)
        pictures[name] = read_columns(damaged, case.workload, name)
        took_s = time.monotonic() - started_s
        print(f"{name}: {pictures[name]} ({took_s:.0f} s)", file=sys.stderr, flush=True)
    where = case.environment
    torch, diffusers = (where.packages.get(one, "?") for one in ("torch", "diffusers"))
    return {
        "machine": f"{where.chip}, {where.cpu_cores} cores, torch {torch}, diffusers {diffusers}",
        "pictures": pictures,
        "records": {name: list_failing_gates(case, plant) for name, plant in PLANTED.items()},
    }


def main() -> None:
    """Measure and write, or only write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", metavar="DAMAGE", help="print these, write nothing"
    )
    parser.add_argument(
        "--anew", action="store_true", help="put what --only names into the data, and the page"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="keep the sessions here, and go on with them"
    )
    parser.add_argument("--page", action="store_true", help="write the page from the data at hand")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # subjects are found from wherever a session runs
    from evidence.damage_table.subjects import SUBJECTS
    from evidence.damage_table.table import format_page

    if not arguments.page:
        os.environ["SDPERF_HISTORY"] = "off"
        with tempfile.TemporaryDirectory(prefix="sdperf-damage-") as temporary:
            folder = (arguments.folder or Path(temporary)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            results = measure(arguments.only or list(SUBJECTS), folder)
        if arguments.only:
            print(json.dumps(results, indent=1))
            if not arguments.anew:
                return
            known = json.loads(RESULTS.read_text(encoding="utf-8"))
            results["pictures"] = known["pictures"] | results["pictures"]
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(format_page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
