"""Look for the known regressions that fit this machine, or write their page."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from evidence.known_regressions import (
    PAGE,
    RESULTS,
    Look,
    Regression,
    format_page,
    judge_sweep,
    read_looks,
    read_regressions,
)
from sdperf import __version__
from sdperf.store.files import encode_text, write_atomically
from sdperf.sweep.summary import read_sweep


def look_for(regression: Regression) -> Look:
    """Run the command, and say what it said."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "sweep.json"
        command = [sys.executable, "-m", "sdperf", *regression.arguments]
        command += ["--no-resume", "--json", str(written)]  # what is kept answers for another day
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if not written.exists():
            said = f"sdperf sweep ended with status {done.returncode}"
            return Look(
                regression.id, regression.command, "cannot be run", said, "", today, __version__
            )
        summary = read_sweep(written)
    state, said = judge_sweep(regression, summary)
    where = summary.environment
    machine = "" if where is None else f"{where.chip}, {where.cpu_cores} cores"
    return Look(regression.id, regression.command, state, said, machine, today, __version__)


def main() -> int:
    """Look, keep, print; the exit status is 1 where one was missed."""
    parser = argparse.ArgumentParser(prog="python -m evidence.known_regressions")
    parser.add_argument("what", nargs="?", choices=("run", "page"), default="run")
    parser.add_argument("--only", metavar="ID", help="one of them, such as onnxruntime#27436")
    arguments = parser.parse_args()
    regressions, looks = read_regressions(), read_looks(RESULTS)
    if arguments.what == "run":
        for one in regressions:
            if one.fits and arguments.only in (None, one.id):
                # read again: another one may have been looked for meanwhile
                looks = {**read_looks(RESULTS), one.id: look_for(one)}
                print(f"{one.id}: {looks[one.id].state}: {looks[one.id].said}", flush=True)
                document = {"looks": [dataclasses.asdict(look) for look in looks.values()]}
                write_atomically(RESULTS, encode_text(json.dumps(document, indent=1) + "\n"))
    write_atomically(PAGE, encode_text(format_page(regressions, looks)))
    states = [look.state for look in looks.values()]
    print(", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none")
    return int("missed" in states)


if __name__ == "__main__":
    sys.exit(main())
