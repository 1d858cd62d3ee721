"""What ``sdperf ab`` and ``sdperf bisect`` share: how a comparison is measured and judged."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sdperf.cli.shared.options import COUNT, SCORE, Options, add_guards, add_option, add_setting
from sdperf.settings import MAX_GROWTH, MAX_SLOWDOWN, ROUNDS, TIMEOUT, WARMUP, kinds

if TYPE_CHECKING:
    from sdperf.ab.verdict.comparison import CompareOptions


def add_measuring_options(group: Options) -> None:
    """Register how is measured."""
    group.add_argument("--cases", default="latency", metavar="LIST", help="what to measure")
    add_option(group, "--batch", COUNT, "images of a throughput round", default=4)
    turns = "rounds of one turn, whose median counts, and four turns a block (many short turns)"
    add_setting(group, ROUNDS.taking(COUNT, turns), shown="")
    add_setting(group, WARMUP, default=1)
    add_setting(group, TIMEOUT, default=600.0)
    add_option(group, "--pictures", COUNT, "prompts to draw on both sides", shown="all")
    add_guards(group)


def add_judging_options(group: Options) -> None:
    """Register what is tolerated."""
    add_setting(group, MAX_SLOWDOWN, shown="3%")
    growth, percent = "how much peak memory may grow beyond 64 MiB", MAX_SLOWDOWN.metavar
    add_option(group, MAX_GROWTH.flag, kinds.SHARE, growth, metavar=percent, shown="10%")
    add_option(group, "--min-ssim", SCORE, "floor of the images' likeness", metavar="X")
    add_option(group, "--min-tile", SCORE, "floor of their worst tile's", metavar="X")


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
