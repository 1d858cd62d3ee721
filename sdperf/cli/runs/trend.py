"""``sdperf trend``: shows where the level of a case changed, and from which cause."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from sdperf.cli.runs.history import add_history_option, open_given
from sdperf.cli.shared.options import COUNT, add_format, add_option
from sdperf.cli.shared.output import print_lines, print_texts
from sdperf.errors import ConfigurationError
from sdperf.report.text.wrapping import wrap_text
from sdperf.report.trends import DEFAULT_WINDOW, load_trends

if TYPE_CHECKING:
    from sdperf.store.history.database import Database

_METRICS: Final = ("seconds", "memory", "energy", "first-call", "ssim", "tile", "entropy")
_EPILOG: Final = """\
A change of level is reported when fewer than 2 in 1,000 series of mere noise would show one; what
all cases of a run share (a warm day) is taken out of each and read by itself. A change that came
with an update of the system or a package is marked as that, and so is one that came and went within
a day. One whose both levels the same commit was measured on is no change of the code.

--sweep shows what sdperf sweep kept: figures over versions, and the steps between them.

exit status: 0 done, 1 with --fail when a case stands worse by its code, 2 the input cannot be used

examples:
  sdperf trend
  sdperf trend "latency[fp32-sync-1w]" --branch main
  sdperf trend --metric memory --format json
  sdperf trend --sweep diffusers
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "trend",
        help="where the level of a case changed over the history",
        description="Read the history case by case and machine by machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "case", nargs="?", metavar="CASE", help="a test id, a part of it, or a pattern with *"
    )
    parser.add_argument(
        "--sweep",
        nargs="?",
        const="",
        metavar="PACKAGE",
        help="in place of runs: the versions of a package that sdperf sweep measured, or 'commits' "
        "(all that were swept)",
    )
    parser.add_argument("--metric", choices=_METRICS, help="which figure of runs (seconds)")
    parser.add_argument("--machine", metavar="TEXT", help="only machines with this in their name")
    parser.add_argument("--branch", help="only runs of this branch")
    searched = "runs that are searched; the anchor is the first ones of all"
    add_option(parser, "--last", COUNT, searched, shown=str(DEFAULT_WINDOW))
    add_format(parser, "text", "json")
    parser.add_argument(
        "--fail",
        action="store_true",
        help="exit 1 when the latest change of a case's code was for the worse, or it crept",
    )
    add_history_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the history, analyse, print."""
    if arguments.sweep is not None:
        return _show_sweeps(arguments)
    from sdperf.judging.trend.points import METRICS
    from sdperf.report.text.plot import choose_glyphs
    from sdperf.report.text.trend import format_trends, format_trends_json

    database = open_given(arguments)
    try:
        machines = load_trends(
            database,
            METRICS[arguments.metric or "seconds"],
            case=arguments.case,
            machine=arguments.machine,
            branch=arguments.branch,
            window=arguments.last or DEFAULT_WINDOW,
        )
    finally:
        database.close()
    trends = [trend for _, found in machines for trend in found]
    if not trends:
        raise ConfigurationError(
            "the history holds no such case with this figure",
            got=arguments.case,
            hint="sdperf history list; sdperf history import FOLDER",
        )
    if arguments.format == "json":
        print(format_trends_json(trends))
    else:
        glyphs = choose_glyphs(sys.stdout.encoding)
        for machine, found in machines:
            print_texts(wrap_text(machine, 100))
            for line in format_trends(found, every_plot=arguments.case is not None, glyphs=glyphs):
                print(line.text)
    return 1 if arguments.fail and any(trend.is_worse for trend in trends) else 0


def _show_sweeps(arguments: argparse.Namespace) -> int:
    """Print the kept sweeps.

    Raises:
        ConfigurationError: An option for runs was typed beside it, or the sweep does not exist.
    """
    for option in ("metric", "branch", "last", "fail"):
        if getattr(arguments, option):
            raise ConfigurationError(
                f"--{option} goes with the trends of runs only",
                got="--sweep",
                hint=f"leave --{option} out",
            )
    database = open_given(arguments)
    try:
        return _print_sweeps(database, arguments)
    finally:
        database.close()


def _print_sweeps(database: Database, arguments: argparse.Namespace) -> int:
    from sdperf.report.sweep_series import format_series, format_series_json
    from sdperf.store.history.sweeps import load_versions
    from sdperf.sweep.series import make_series

    rows = load_versions(database, arguments.sweep or None, arguments.case, arguments.machine)
    found = make_series(rows)
    if not found:
        raise ConfigurationError(
            "the history holds no such sweep",
            got=arguments.sweep or arguments.case,
            hint="sdperf sweep --python-package NAME keeps one",
        )
    if arguments.format == "json":
        print(format_series_json(found))
    else:
        print_lines(format_series(found))
    return 0
