"""What ``sdperf ab`` and ``sdperf bisect`` share: how a comparison is measured and judged."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from sdperf.cli.runs.compare import parse_percent
from sdperf.record.measurement import GUARD_POLICIES

if TYPE_CHECKING:
    from sdperf.ab.verdict.comparison import CompareOptions


def add_measuring_options(group: argparse._ArgumentGroup) -> None:
    """Register how is measured."""
    group.add_argument("--cases", default="latency", metavar="LIST", help="what to measure")
    group.add_argument(
        "--batch", type=parse_count, default=4, metavar="N", help="images of a throughput round"
    )
    group.add_argument(
        "--rounds",
        type=parse_count,
        metavar="N",
        help="rounds of one turn, whose median counts, and four turns a block (many short turns)",
    )
    group.add_argument(
        "--warmup", type=parse_count, default=1, metavar="N", help="untimed rounds of each process"
    )
    group.add_argument(
        "--timeout",
        type=parse_seconds,
        default=600.0,
        metavar="SECONDS",
        help="time limit of one generation (600)",
    )
    group.add_argument(
        "--pictures", type=parse_count, metavar="N", help="prompts to draw on both sides (all)"
    )
    group.add_argument(
        "--guards",
        choices=GUARD_POLICIES,
        default="warn",
        help="a machine that is not fit: refuse it, say so and redo its blocks, or never look",
    )


def add_judging_options(group: argparse._ArgumentGroup) -> None:
    """Register what is tolerated."""
    group.add_argument(
        "--max-slowdown", type=parse_percent, metavar="PERCENT", help="tolerated slowdown (3%%)"
    )
    group.add_argument(
        "--max-growth",
        type=parse_percent,
        metavar="PERCENT",
        help="tolerated growth of peak memory (10%%); 64 MiB are tolerated besides",
    )
    group.add_argument(
        "--min-ssim", type=parse_score, metavar="X", help="floor of the images' likeness"
    )
    group.add_argument(
        "--min-tile", type=parse_score, metavar="X", help="... of their worst tile's"
    )


def read_shared_options(arguments: argparse.Namespace) -> CompareOptions:
    """Turn the options of both groups into how a comparison is measured and judged."""
    from sdperf.ab.verdict.comparison import CompareOptions
    from sdperf.judging.latency import DEFAULT_MAX_SLOWDOWN
    from sdperf.judging.resources.memory import MemoryLimits

    growth, slowdown = arguments.max_growth, arguments.max_slowdown
    return CompareOptions(
        max_slowdown=DEFAULT_MAX_SLOWDOWN if slowdown is None else slowdown,
        memory=MemoryLimits() if growth is None else MemoryLimits(max_growth=growth),
        rounds=arguments.rounds,
        warmup=arguments.warmup,
        timeout_s=arguments.timeout,
        guards=arguments.guards,
        min_ssim=arguments.min_ssim,
        min_tile_ssim=arguments.min_tile,
    )


def parse_count(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def parse_seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def parse_score(text: str) -> float:
    """Read an SSIM."""
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not -1 <= score <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no SSIM, which lies between -1 and 1")
    return score
