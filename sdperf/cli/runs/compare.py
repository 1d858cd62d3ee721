"""``sdperf compare``: judge saved runs without measuring anything."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sdperf.cli.shared.output import print_lines
from sdperf.errors import ConfigurationError
from sdperf.judging.latency import (
    DEFAULT_GROSS_SLOWDOWN,
    DEFAULT_MAX_SLOWDOWN,
    LatencyLimits,
)
from sdperf.judging.limits import (
    parse_bytes,
    parse_growth,
    parse_joules,
    parse_positive,
    parse_start_limits,
)
from sdperf.judging.session.recorded import RecordedLimits
from sdperf.judging.session.saved import compare_sessions
from sdperf.report.compare import (
    format_comparison_json,
    format_comparison_markdown,
    format_comparison_table,
)
from sdperf.store.session_file import read_session

_EPILOG: Final = """\
The last file is judged, the others are what it is held against, oldest first: any pytest-benchmark
JSON with stats.data (--benchmark-json, or --benchmark-save-data), also of a suite that does not use
sdperf. With five or more the statistical gate binds; before that only gross slowdowns fail.

exit status: 0 nothing failed, 1 a regression (with --strict: or something stayed open),
2 a file or the command line cannot be used

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
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.json")
    parser.add_argument("--format", choices=("table", "json", "markdown"), default="table")
    add_limit_arguments(parser)
    parser.add_argument(
        "--strict", action="store_true", help="also fail on INCONCLUSIVE, NO BASELINE and the like"
    )
    parser.add_argument(
        "--exact", action="store_true", help="also fail where images that were identical differ"
    )


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """Register what the offline judge tolerates, for all commands that ask it."""
    parser.add_argument(
        "--max-slowdown",
        type=parse_percent,
        default=DEFAULT_MAX_SLOWDOWN,
        metavar="PERCENT",
        help="tolerated slowdown of a case and of the suite (default: 3%%)",
    )
    parser.add_argument(
        "--gross-slowdown",
        type=parse_percent,
        default=DEFAULT_GROSS_SLOWDOWN,
        metavar="PERCENT",
        help="what fails with fewer than five sessions (default: 25%%)",
    )
    for flag, parse, metavar, text in (
        (
            "--max-growth",
            parse_growth,
            "PERCENT+SIZE",
            "growth of peak memory (default: 10%%+64MiB)",
        ),
        ("--max-load", parse_start_limits, "PERCENT+SECONDS", "slower loading (default: 50%%+2s)"),
        ("--max-first-call", parse_start_limits, "PERCENT+SECONDS", "slower first call (50%%+2s)"),
        ("--max-tail", parse_percent, "PERCENT", "growth of p95 over the median (default: 50%%)"),
        ("--max-leak", parse_bytes, "SIZE", "growth of memory from picture to picture (256KiB)"),
        ("--max-energy", parse_joules, "JOULES", "energy of a picture, such as 300J (any)"),
    ):
        parser.add_argument(flag, type=_typed(parse), metavar=metavar, help=f"tolerated {text}")
    parser.add_argument(
        "--min-cores", type=_typed(parse_positive), metavar="N", help="cores busy at least (none)"
    )


def read_recorded_limits(arguments: argparse.Namespace) -> RecordedLimits:
    """Turn what was typed into the limits of what the records hold beside the median."""
    limits = RecordedLimits()
    typed = {
        "load": arguments.max_load,
        "first_call": arguments.max_first_call,
        "max_tail": arguments.max_tail,
        "max_leak_bytes": arguments.max_leak,
        "max_energy_j": arguments.max_energy,
        "min_cores": arguments.min_cores,
    }
    return dataclasses.replace(
        limits, **{name: value for name, value in typed.items() if value is not None}
    )


def _typed(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Have argparse show what a parser expects."""

    def typed(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"{text!r} cannot be used; expected: {error}"
            ) from error

    return typed


def run(arguments: argparse.Namespace) -> int:
    """Read the files, judge, print."""
    if len(arguments.runs) < 2:
        raise ConfigurationError(
            "there is nothing to compare with",
            got="one file",
            expected="at least two",
            hint="sdperf compare BASE.json HEAD.json",
        )
    *bases, head = [read_session(path) for path in arguments.runs]
    limits = LatencyLimits(
        suite_slowdown=arguments.max_slowdown, gross_slowdown=arguments.gross_slowdown
    )
    comparison = compare_sessions(
        bases,
        head,
        limits,
        max_slowdown=arguments.max_slowdown,
        memory=arguments.max_growth,
        recorded=read_recorded_limits(arguments),
    )
    if arguments.format == "json":
        print(format_comparison_json(comparison))
    elif arguments.format == "markdown":
        print(format_comparison_markdown(comparison))
    else:
        print_lines(format_comparison_table(comparison))
    return 1 if comparison.is_failed(strict=arguments.strict, exact=arguments.exact) else 0


def parse_percent(text: str) -> float:
    """Read ``3%`` or ``3`` as 0.03.

    Raises:
        argparse.ArgumentTypeError: No positive percentage below 1000.
    """
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 < percent < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive percentage such as 3%")
    return percent / 100
