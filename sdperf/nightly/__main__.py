"""``python -m sdperf.nightly note`` and ``issue``: commands of a nightly workflow's two jobs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sdperf.errors import SdperfError
from sdperf.nightly.deciding import KnownIssue, NightDecision, decide
from sdperf.nightly.github import GitHub, make_github
from sdperf.nightly.night import Night, format_night
from sdperf.nightly.wording import format_body, format_closing, format_title
from sdperf.streams import strip_controls
from sdperf.units import format_quantity

NIGHTS: Final = 20
"""How many nights are read; the last good one has to be among them for a bisect command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two commands; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sdperf.nightly", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    note = commands.add_parser("note", help="leave what a run came to as a small file")
    note.add_argument("run", type=Path, help="the saved run; one that is missing says nothing")
    note.add_argument("out", type=Path, help="where to write")
    issue = commands.add_parser("issue", help="open, update or close the issue")
    issue.add_argument("--artefact", default="sdperf-night", help="name of the nights' artefacts")
    issue.add_argument("--branch", default="main", help="whose nights count (default: main)")
    issue.add_argument("--dry-run", action="store_true", help="say what would be done; write not")
    given = parser.parse_args(arguments)
    try:
        if given.command == "note":
            write_night(given.run, given.out)
        else:
            print(run_issue(os.environ, given.branch, given.artefact, is_dry=given.dry_run))
    except SdperfError as error:
        print(f"python -m sdperf.nightly: {strip_controls(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        what = f"{given.out} cannot be written; got: {error.strerror}"
        print(f"python -m sdperf.nightly: {strip_controls(what)}", file=sys.stderr)
        return 2
    return 0


def write_night(run: Path, out: Path) -> None:
    """Write a run's night to a file; without a readable run the night says nothing.

    Raises:
        OSError: The file cannot be written.
    """
    from sdperf.nightly.noting import note_night
    from sdperf.store.files import write_atomically
    from sdperf.store.runs import read_run

    try:
        night = note_night(read_run(run))
    except SdperfError as error:
        night = Night(open=f"no run that can be read: {error}"[:300])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, format_night(night).encode())
    print(f"{out}: {format_quantity(len(night.cases), 'case')}, {len(night.list_bad())} worse")


def run_issue(environment: Mapping[str, str], branch: str, artefact: str, *, is_dry: bool) -> str:
    """Read the last nights, open, update or close the issue, and report it.

    Raises:
        SdperfError: This is not a job on GitHub, or GitHub did not answer.
    """
    github, workflow = make_github(environment)
    nights = github.list_nights(workflow, branch, artefact, NIGHTS)
    issue = github.find_issue()
    decision = decide(nights, issue)
    number = None if issue is None or decision.act in ("open", "nothing") else issue.number
    if not is_dry:
        number = _do(github, decision, nights, issue)
    what = decision.act if number is None else f"{decision.act} issue {number}"
    return strip_controls(f"{'would ' if is_dry else ''}{what}: {decision.reason}")


def _do(
    github: GitHub, decision: NightDecision, nights: Sequence[Night], issue: KnownIssue | None
) -> int | None:
    if decision.act == "open":
        return github.open_issue(format_title(decision.bad), format_body(decision, nights))
    if issue is None or decision.act == "nothing":
        return None
    if decision.act == "update":
        title, body = format_title(decision.bad), format_body(decision, nights)
        github.update_issue(issue.number, title, body)
    elif decision.act == "close":
        github.close_issue(issue.number, format_closing(nights[-1]), issue.body)
    return issue.number


if __name__ == "__main__":
    sys.exit(main())
