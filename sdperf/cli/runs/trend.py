"""``sdperf trend``: where the level of a case changed, and what came with it."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from sdperf.cli.runs.history import add_history_option, open_given
from sdperf.cli.shared.options import COUNT, add_format, add_option
from sdperf.cli.shared.output import print_texts
from sdperf.errors import ConfigurationError
from sdperf.report.text.wrapping import wrap_text
from sdperf.report.trends import DEFAULT_WINDOW, load_trends

_METRICS: Final = ("seconds", "memory", "energy", "first-call", "ssim", "tile", "entropy")
_EPILOG: Final = """\
A change of level is reported when fewer than 2 in 1,000 series of mere noise would show one; what
all cases of a run share (a warm day) is taken out of each and read by itself. A change that came
with an update of the system or a package is marked as that, and so is one that came and went within
a day. One whose both levels the same commit was measured on is no change of the code.

exit status: 0 done, 1 with --fail when a case stands worse by its code, 2 the input cannot be used

examples:
  sdperf trend
  sdperf trend "latency[fp32-sync-1w]" --branch main
  sdperf trend --metric memory --format json
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
    parser.add_argument("--metric", choices=_METRICS, default="seconds")
    parser.add_argument("--machine", metavar="TEXT", help="only machines with this in their name")
    parser.add_argument("--branch", help="only runs of this branch")
    searched = "runs that are searched; the anchor is the first ones of all"
    add_option(parser, "--last", COUNT, searched, default=DEFAULT_WINDOW)
    add_format(parser, "text", "json")
    parser.add_argument(
        "--fail",
        action="store_true",
        help="exit 1 when the latest change of a case's code was for the worse, or it crept",
    )
    add_history_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the history, analyse, print."""
    from sdperf.judging.trend.points import METRICS
    from sdperf.report.text.plot import choose_glyphs
    from sdperf.report.text.trend import format_trends, format_trends_json

    database = open_given(arguments)
    try:
        machines = load_trends(
            database,
            METRICS[arguments.metric],
            case=arguments.case,
            machine=arguments.machine,
            branch=arguments.branch,
            window=arguments.last,
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
