"""``sdperf report``: saved runs as one HTML file that opens offline."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.runs.compare import add_limit_arguments, read_limits
from sdperf.cli.runs.history import add_history_option, open_given
from sdperf.cli.shared.options import add_baselines, require_baselines
from sdperf.errors import ConfigurationError
from sdperf.outputs import check_result
from sdperf.store.baselines import DEFAULT_FOLDER
from sdperf.store.last_run import LAST_RUN, find_last_run
from sdperf.units import format_bytes, format_quantity

if TYPE_CHECKING:
    from sdperf.judging.machine import JudgedMachine, ReportedRun
    from sdperf.judging.session.limits import Limits
    from sdperf.judging.trend.changes import Trend
    from sdperf.report.pictures.pictures import PictureSource
    from sdperf.sweep.summary import SweepSummary
    from sdperf.tune.summary import StudySummary

_EPILOG: Final = """\
Runs of one machine belong together: the last one given is judged, the earlier ones are what it is
compared with; where only one is given, the machine's accepted sessions are. Runs of several
machines make a page that shows them beside each other. The file asks nobody for anything when it is
opened.

exit status: 0 written, 2 a file or the command line cannot be used

examples:
  sdperf report                                   the last run of pytest benchmarks
  sdperf report before.json after.json -o change.html
  sdperf report mac.json h100.json                two machines
  sdperf replay report.html                       judge a report's own data again
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "report",
        help="write saved runs as one HTML file",
        description="Write saved runs as one self-contained HTML file. Loads no torch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="PATH",
        help="where to write (report.html)",
    )  # fmt: skip
    parser.add_argument(
        "--tune",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a study that sdperf tune --json wrote, shown below the runs, or alone",
    )
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="what sdperf sweep --json wrote, shown below the runs, or alone",
    )
    add_limit_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Register the choice of runs, for all commands that show them."""
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN.json",
        help=f"saved runs, oldest first (the last run, {LAST_RUN})",
    )
    add_baselines(parser, Path(DEFAULT_FOLDER))
    add_history_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the runs, judge them, write the page."""
    from sdperf.report.html.files import require_drawing, write_report
    from sdperf.report.pictures.pictures import locate_pictures
    from sdperf.report.sweep import describe_sweep
    from sdperf.report.text.tune import describe_winner

    require_drawing()
    check_result("-o", arguments.output)
    limits = read_limits(arguments)
    tunings, sweeps = load_tunings(arguments.tune), load_sweeps(arguments.sweep)
    if (tunings or sweeps) and not arguments.runs and not Path(LAST_RUN).exists():
        machines: list[JudgedMachine] = []
        source, trends = locate_pictures([]), {}
        told = describe_winner(tunings[0]) if tunings else describe_sweep(sweeps[0])
    else:
        require_baselines(arguments.baselines)
        machines, source = load_machines(arguments.runs, arguments.baselines, limits)
        trends, told = load_machine_trends(machines, arguments), describe(machines)
    size_bytes = write_report(arguments.output, machines, source, trends, tunings, sweeps)
    print(f"wrote {arguments.output}: {told}, {format_bytes(size_bytes)}")
    return 0


def load_tunings(paths: Sequence[Path]) -> list[StudySummary]:
    """Read studies from files.

    Raises:
        RecordError: A file is not a study.
    """
    from sdperf.tune.summary import read_summary

    return [read_summary(path) for path in paths]


def load_sweeps(paths: Sequence[Path]) -> list[SweepSummary]:
    """Read sweeps from files.

    Raises:
        RecordError: A file is not a sweep.
    """
    from sdperf.sweep.summary import read_sweep

    return [read_sweep(path) for path in paths]


def describe(machines: Sequence[JudgedMachine]) -> str:
    """Describe the result of a report in a line."""
    from sdperf.report.html.summary import summarise

    if len(machines) == 1:
        return summarise(machines[0]).headline
    cases = sum(len(machine.cases) for machine in machines)
    return f"{format_quantity(len(machines), 'machine')}, {format_quantity(cases, 'case')}"


def load_machines(
    runs: Sequence[Path],
    baselines: Path,
    limits: Limits | None = None,
    *,
    command: str = "sdperf report",
) -> tuple[list[JudgedMachine], PictureSource]:
    """Read saved runs and judge each machine's last one.

    Args:
        runs: Saved runs, oldest first; without any, the last run.
        baselines: Folder of the accepted sessions, for machines with a single run.
        limits: The limits to judge by; the default ones if not given.
        command: What the user typed, for messages.

    Raises:
        ConfigurationError: No run was named, and there is no last one or a later session left none.
        RecordError: A file cannot be read.
    """
    from sdperf.judging.machine import group_by_machine, judge_machine, require_runs
    from sdperf.report.compare import describe_itself
    from sdperf.report.pictures.pictures import locate_pictures
    from sdperf.report.saved import read_reported_run
    from sdperf.store.baselines import BaselineStore
    from sdperf.store.runs import find_itself

    paths = list(runs) or [find_last_run(command)]
    read = [read_reported_run(path) for path in paths]
    require_runs(read)
    store, machines = BaselineStore(baselines), []
    for group in group_by_machine(read):
        if len(group) == 1:
            accepted = [one.run.path for one in store.load(group[0].machine)]
            group = [*map(read_reported_run, accepted), *group]
            paths += accepted
        *bases, head = group
        itself = find_itself([base.run for base in bases], head.document)
        notes = [describe_itself(one.source) for one in itself]
        group = [*(base for base in bases if base.run not in itself), head]
        machines.append(judge_machine(_require_overlap(group), limits, notes=notes))
    return machines, locate_pictures(paths, [Path(LAST_RUN).parent / "images"])


def load_machine_trends(
    machines: Sequence[JudgedMachine], arguments: argparse.Namespace
) -> dict[str, list[Trend]]:
    """Read each machine's trend from the history; without one, from the runs that were given.

    Raises:
        ConfigurationError: The named history does not exist.
        RecordError: The history is damaged.
    """
    from sdperf.report.trends import find_machine_trends

    try:
        database = open_given(arguments)
    except ConfigurationError:
        if arguments.history is not None:
            raise
        return find_machine_trends(machines, None)
    try:
        return find_machine_trends(machines, database)
    finally:
        database.close()


def _require_overlap(runs: Iterable[ReportedRun]) -> list[ReportedRun]:
    """Leave out accepted sessions without a case of the run, such as those of another suite."""
    *bases, head = runs
    names = set(head.run.cases)
    return [*(base for base in bases if names & set(base.run.cases)), head]
