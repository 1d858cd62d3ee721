"""``sdperf compare``: judge saved runs without measuring anything."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from sdperf.cli.shared.options import add_format, add_option, add_setting, add_strictness
from sdperf.cli.shared.output import print_lines
from sdperf.errors import ConfigurationError
from sdperf.judging.latency import DEFAULT_GROSS_SLOWDOWN, DEFAULT_MAX_SLOWDOWN
from sdperf.judging.limits import parse_growth, parse_start_limits
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.session.limits import Limits
from sdperf.judging.session.recorded import RecordedLimits
from sdperf.judging.session.saved import compare_sessions
from sdperf.report.compare import (
    format_comparison_json,
    format_comparison_markdown,
    format_comparison_table,
)
from sdperf.settings import (
    MAX_ENERGY,
    MAX_FIRST_CALL,
    MAX_GROWTH,
    MAX_LEAK,
    MAX_LOAD,
    MAX_SLOWDOWN,
    MAX_TAIL,
    MIN_CORES,
)
from sdperf.settings.kinds import Kind
from sdperf.store.runs import read_run

_EPILOG: Final = """\
The last file is judged, the others are what it is compared with, oldest first: any pytest-benchmark
JSON with stats.data (--benchmark-json, or --benchmark-save-data), also of a suite that does not use
sdperf. With five or more the statistical gate binds; before that only gross slowdowns fail.

--format json has, for each case, "baseline_s" and "current_s" (seconds of a round), "ratio" (the
second over the first) and "ratio_beside_others", from which what all cases have in common is taken
out: a case is judged by that one. Unknown is null.

exit status: 0 nothing failed, 1 a regression, or no case could be compared (with --strict: or an
answer is open), 2 a file or the command line cannot be used

examples:
  sdperf compare before.json after.json
  sdperf compare .benchmarks/*/*.json after.json --format markdown >> $GITHUB_STEP_SUMMARY
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "compare",
        help="judge a saved run against others, without measuring",
        description="Judge the last of several saved runs. Loads no torch, needs no device.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN.json",
        help="saved runs; the last is judged, the others are what it is compared with",
    )
    add_format(parser, "table", "json", "markdown")
    add_limit_arguments(parser)
    add_strictness(parser, is_exact=True)


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """Register the limits of the offline judge, for all commands that use it."""
    add_setting(parser, MAX_SLOWDOWN, default=DEFAULT_MAX_SLOWDOWN)
    add_option(
        parser,
        "--gross-slowdown",
        MAX_SLOWDOWN.kind,
        "what fails with fewer than five sessions",
        metavar=MAX_SLOWDOWN.metavar,
        default=DEFAULT_GROSS_SLOWDOWN,
    )
    add_setting(parser, MAX_GROWTH.taking(Kind(MAX_GROWTH.kind.expected, parse_growth)))
    for start in (MAX_LOAD, MAX_FIRST_CALL):
        add_setting(parser, start.taking(Kind(start.kind.expected, parse_start_limits)))
    for setting in (MAX_TAIL, MAX_LEAK, MAX_ENERGY, MIN_CORES):
        add_setting(parser, setting)


def read_limits(arguments: argparse.Namespace) -> Limits:
    """Turn the typed limits into the limits of the judges."""
    typed = {
        "load": arguments.max_load,
        "first_call": arguments.max_first_call,
        "max_tail": arguments.max_tail,
        "max_leak_bytes": arguments.max_leak,
        "max_energy_j": arguments.max_energy,
        "min_cores": arguments.min_cores,
    }
    recorded = {name: value for name, value in typed.items() if value is not None}
    growth = arguments.max_growth or MemoryLimits()
    return Limits(
        max_slowdown=arguments.max_slowdown,
        suite_slowdown=arguments.max_slowdown,
        gross_slowdown=arguments.gross_slowdown,
        max_growth=growth.max_growth,
        max_growth_bytes=growth.max_growth_bytes,
        recorded=RecordedLimits(**recorded),
    )


def run(arguments: argparse.Namespace) -> int:
    """Read the files, judge, print."""
    if len(arguments.runs) < 2:
        raise ConfigurationError(
            "there is nothing to compare with",
            got=f"one file, {arguments.runs[0]}",
            expected="at least two, the judged one last",
            hint="sdperf compare BASE.json HEAD.json",
        )
    *bases, head = [read_run(path, needs_rounds=True) for path in arguments.runs]
    comparison = compare_sessions(bases, head, read_limits(arguments))
    if arguments.format == "json":
        print(format_comparison_json(comparison))
    elif arguments.format == "markdown":
        print(format_comparison_markdown(comparison))
    else:
        print_lines(format_comparison_table(comparison))
    return 1 if comparison.is_failed(strict=arguments.strict, exact=arguments.exact) else 0
