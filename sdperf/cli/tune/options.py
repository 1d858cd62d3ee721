"""The options of ``sdperf tune``, and what they ask."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.measuring import parse_count, parse_score, parse_seconds
from sdperf.device import DEVICE_CHOICES
from sdperf.errors import ConfigurationError
from sdperf.record.measurement import GUARD_POLICIES
from sdperf.settings import PROFILE
from sdperf.store.profile import DEFAULT_NAME
from sdperf.tune import DEFAULT_FILE

if TYPE_CHECKING:
    from sdperf.tune.question.asking import Asked

DEFAULT_STUDY: Final = "tune"
DEFAULT_TRIALS: Final = 50

_DESCRIPTION: Final = """\
Search for the best settings of this machine: steps, guidance, batch, precision, scheduler, mode,
workers and optimisations, seconds an image against likeness to the images at full steps in fp32.

What the search finds is then measured beside the default in fresh processes, with fresh seeds, in
mirrored blocks. Only what beats the default there is a winner, and is written as a profile.
"""
_EPILOG: Final = f"""\
what is sought:
  sdperf tune                          the front of seconds against SSIM; the winner is its fastest
                                       setting at SSIM 0.9 or better
  sdperf tune --min-ssim 0.95          the fewest seconds at this SSIM or better
  sdperf tune --max-seconds 2          the likest images within 2 s an image
  sdperf tune --max-memory 6GiB        ... and within this memory, with any of them

what is searched: by itself what the device and the pipeline can do; --search says otherwise:
  --search 'steps=10|15|20' --search precision=fp16 --search 'optimisations=cuda_graphs|loop_graph'
  keys: steps, guidance, batch, precision, scheduler, mode, workers, optimisations (each of those
  named is tried on and off, where they go together); one choice holds it fixed

stopping and going on:
  Ctrl-C, or kill -9, loses nothing: the same command goes on. --trials is the study's total.
  sdperf tune --storage postgresql://me@host/db --study sd15     begins it; typed on other machines
                                                                 of the same kind: joins it
  sdperf tune show                                               what there is so far

afterwards:
  pytest benchmarks {PROFILE} {DEFAULT_NAME}
  sdperf ab --b profile={DEFAULT_NAME}
  sdperf report --tune tune.json                                 (with sdperf tune --json tune.json)

exit status: 0 a winner, 1 none (or none yet), 2 something given cannot be used, 6 the machine
differs from itself, so that nothing can be confirmed now, 130 interrupted (what there is is kept)
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "tune",
        help="find the best settings for this machine",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "action", nargs="?", choices=("run", "show"), default="run", help="search, or only show"
    )
    _add_study(parser.add_argument_group("study"))
    _add_question(parser.add_argument_group("what is asked (of a study that is there: as it asks)"))
    _add_limits(parser.add_argument_group("limits"))
    confirming = parser.add_argument_group("confirming")
    confirming.add_argument(
        "--confirm",
        type=_parse_candidates,
        default=3,
        metavar="N",
        help="settings of the front to measure beside the default at most (3); 0 leaves it out",
    )
    confirming.add_argument(
        "--guards",
        choices=GUARD_POLICIES,
        default="warn",
        help="a machine that is not fit: refuse it, say so and redo its blocks, or never look",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--profile",
        type=Path,
        default=Path(DEFAULT_NAME),
        metavar="FILE",
        help=f"where the winner is written ({DEFAULT_NAME})",
    )
    output.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    output.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary to paste")


def _add_study(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trials",
        type=parse_count,
        default=DEFAULT_TRIALS,
        metavar="N",
        help=f"trials that the study shall have in all ({DEFAULT_TRIALS})",
    )
    group.add_argument(
        "--storage",
        metavar="URL",
        help=f"an SQLite file, or a URL that Optuna takes ({DEFAULT_FILE})",
    )
    group.add_argument(
        "--study", default=DEFAULT_STUDY, metavar="NAME", help=f"its name ({DEFAULT_STUDY})"
    )
    group.add_argument(
        "--sampler", choices=("tpe", "random"), default="tpe", help="what proposes settings (tpe)"
    )
    group.add_argument("--seed", type=_parse_seed, metavar="N", help="of the sampler (drawn)")


def _add_question(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", help="embedded (the default), a diffusers folder or a hub id")
    group.add_argument(
        "--subject", metavar="MODULE:FUNCTION", help="your function that makes the pipeline"
    )
    group.add_argument("--device", choices=DEVICE_CHOICES)
    group.add_argument("--prompts", type=Path, metavar="FILE", help="one prompt a line")
    group.add_argument(
        "--images",
        type=parse_count,
        metavar="N",
        help="images of a round, one a prompt (4)",
    )
    group.add_argument(
        "--image-seed", type=_parse_seed, metavar="N", help="seed of the first image (0)"
    )
    group.add_argument("--size", metavar="WxH", help="pixels (the model's own)")
    group.add_argument(
        "--steps", type=parse_count, metavar="N", help="full steps (the model's preset)"
    )
    group.add_argument(
        "--guidance", type=float, metavar="X", help="guidance of the reference (the preset)"
    )
    group.add_argument(
        "--default",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="what a winner has to beat, where it is not the reference (precision=fp16)",
    )
    group.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="KEY=A|B|C",
        help="choices of one key, in place of the automatic ones",
    )
    group.add_argument(
        "--timeout", type=parse_seconds, default=600.0, metavar="SECONDS",
        help="time limit of one generation (600)",
    )  # fmt: skip


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--min-ssim", type=parse_score, metavar="X", help="of the worst image")
    group.add_argument("--min-tile", type=parse_score, metavar="X", help="of its worst tile")
    group.add_argument("--min-psnr", type=_parse_decibels, metavar="DB", help="of the worst image")
    group.add_argument(
        "--max-entropy-drop",
        type=_parse_bits,
        metavar="BITS",
        help="that an image may lose (0.5)",
    )
    group.add_argument("--max-seconds", type=parse_seconds, metavar="S", help="per image")
    group.add_argument(
        "--max-memory", type=parse_size, metavar="SIZE", help="peak, such as 800MiB or 6GiB"
    )


def read_asked(arguments: argparse.Namespace) -> Asked:
    """Return what was typed of the question.

    Raises:
        ConfigurationError: Something cannot be read.
    """
    from sdperf.record.workload import read_prompts
    from sdperf.tune.question.asking import Asked

    size = arguments.size
    found = None if size is None else re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", size)
    if size is not None and found is None:
        raise ConfigurationError("--size cannot be read", got=size, expected="such as 512x512")
    guidance = arguments.guidance
    if guidance is not None and not 0 <= guidance < math.inf:
        raise ConfigurationError("--guidance cannot be used", got=guidance, expected="0 or more")
    search: dict[str, list[str]] = {}
    for text in arguments.search:
        key, equals, choices = text.partition("=")
        if not equals or not choices:
            raise ConfigurationError(
                "--search cannot be read", got=text, expected="KEY=A|B|C, such as 'steps=10|20'"
            )
        search.setdefault(key.strip(), []).extend(one.strip() for one in choices.split("|"))
    limits = {
        "min_ssim": arguments.min_ssim,
        "max_seconds": arguments.max_seconds,
        "max_memory_bytes": arguments.max_memory,
        "min_tile_ssim": arguments.min_tile,
        "min_psnr_db": arguments.min_psnr,
        "max_entropy_drop_bits": arguments.max_entropy_drop,
    }
    workload = {
        "model": arguments.model,
        "seed": arguments.image_seed,
        "num_inference_steps": arguments.steps,
        "guidance_scale": guidance,
        "width": None if found is None else int(found.group(1)),
        "height": None if found is None else int(found.group(2)),
    }
    return Asked(
        workload={name: value for name, value in workload.items() if value is not None},
        prompts=None if arguments.prompts is None else read_prompts(arguments.prompts),
        images=arguments.images,
        default=tuple(arguments.default),
        search=search,
        limits={name: value for name, value in limits.items() if value is not None},
    )


def parse_size(text: str) -> int:
    """Read a size in binary units."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([KMG])iB", text.strip())
    if not found or float(found.group(1)) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 800MiB or 6GiB")
    return round(float(found.group(1)) * {"K": 2**10, "M": 2**20, "G": 2**30}[found.group(2)])


def _parse_seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 999999999")
    return int(text)


def _parse_decibels(text: str) -> float:
    return _parse_positive(text, "number of decibels above 0")


def _parse_bits(text: str) -> float:
    return _parse_positive(text, "number of bits above 0")


def _parse_positive(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
    return number


def _parse_candidates(text: str) -> int:
    return 0 if text == "0" else parse_count(text)
