"""``sdperf replay``: judge the data inside a report again."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.options import add_setting, add_strictness
from sdperf.errors import ConfigurationError
from sdperf.outputs import check_result
from sdperf.report.text.session.cases import Row, format_counts, format_findings, format_table
from sdperf.report.text.session.quality_seen import describe_seen
from sdperf.report.text.wrapping import wrap_text
from sdperf.settings import MAX_SLOWDOWN
from sdperf.store.files import write_atomically
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.judging.machine import JudgedMachine
    from sdperf.judging.session.limits import Limits

_EPILOG: Final = """\
What the numbers inside the report tell is judged again, as the session did. What the run saw itself
(images, dead workers) and what it settled by measuring again is taken from its record. Nothing in
the file is run.

exit status: 0 nothing failed, 1 a regression, or no case could be compared (with --strict: or an
answer is open), 2 the file is no report, a damaged one, or holds no run

examples:
  sdperf replay report.html
  sdperf replay report.html --max-slowdown 10%
  sdperf replay report.html --extract runs
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "replay",
        help="judge the data inside a report again",
        description="Judge the data inside a report again, without measuring. Loads no torch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "report",
        type=Path,
        metavar="REPORT.html",
        help="a report of sdperf, which holds its runs",
    )
    another = "another tolerated slowdown of a case and of the suite"
    add_setting(parser, MAX_SLOWDOWN.taking(MAX_SLOWDOWN.kind, another), shown="the report's")
    parser.add_argument(
        "--extract", type=Path, metavar="DIR", help="also write the runs to this folder as JSON"
    )
    add_strictness(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the report, judge, print."""
    from sdperf.report.html.raw_data import read_report

    given = arguments.max_slowdown

    def adjust(limits: Limits) -> Limits:
        if given is None:
            return limits
        return dataclasses.replace(
            limits, max_slowdown=given, suite_slowdown=given, own_slowdowns={}
        )

    if arguments.extract is not None:
        check_result("--extract", arguments.extract, is_folder=True)
    judged = read_report(arguments.report, adjust)
    for machine, said in judged:
        for line in _format(machine, said):
            print(line)
    if arguments.extract is not None:
        for path in _extract([machine for machine, _ in judged], arguments.extract):
            print(f"wrote {path}")
    return 1 if any(one.is_failed(strict=arguments.strict) for one, _ in judged) else 0


def _format(machine: JudgedMachine, said: dict[str, str]) -> list[str]:
    rows = [
        Row(
            case.short,
            case.verdict,
            case.measurement,
            case.change,
            None if case.seen is None else describe_seen(case.seen.seen),
        )
        for case in machine.cases
    ]
    against = ", ".join(base.name for base in machine.bases) or "nothing"
    lines = wrap_text(_printable(f"{machine.head.name} against {against}"))
    lines += [line.text for line in format_table(rows)]
    if machine.suite is not None:
        suite = f"suite: {machine.suite.outcome.value}  {machine.suite.reason}"
        lines += wrap_text(suite, subsequent_indent="    ")
    lines += [line.text for line in format_findings(rows)]
    if machine.nothing_compared is not None:
        lines += wrap_text(machine.nothing_compared, subsequent_indent="    ")
    lines.append(format_counts(rows, 0))
    now = {case.name: case.verdict.outcome.value for case in machine.cases}
    differing = [name for name in {**said, **now} if said.get(name) != now.get(name)]
    if not differing:
        count = format_quantity(len(now), "verdict")
        lines.append(f"as in the report: {count}")
    for name in differing:
        lines.append(f"{name}: {now.get(name)} now, {said.get(name)} in the report")
    return [_printable(line) for line in lines]


def _printable(text: str) -> str:
    """Remove characters that a terminal would obey; names in a report can have any."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _extract(machines: Sequence[JudgedMachine], folder: Path) -> list[Path]:
    written = []
    try:
        for number, machine in enumerate(machines, start=1):
            for place, one in enumerate((*machine.bases, machine.head), start=1):
                # A name from the report is never a path: only letters, digits, _ and - are used.
                stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(one.name).stem)[:60].strip("-")
                path = folder / f"{number}-{place:03}-{stem or 'run'}.json"
                write_atomically(path, json.dumps(one.document, indent=1).encode())
                written.append(path)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written", got=error.strerror) from error
    return written
