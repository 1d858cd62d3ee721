"""The options of ``sdperf tune``, and the question that they make."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.options import (
    COUNT,
    DURATION,
    SCORE,
    Options,
    add_guards,
    add_option,
    add_picture,
    add_setting,
    add_what_is_run,
    add_written_files,
)
from sdperf.errors import ConfigurationError
from sdperf.settings import (
    GUIDANCE,
    IMAGES,
    PROFILE,
    PROMPTS,
    SCALE,
    SEED,
    SIZE,
    STEPS,
    TIMEOUT,
    kinds,
)
from sdperf.store.profile import DEFAULT_NAME
from sdperf.tune import DEFAULT_FILE

if TYPE_CHECKING:
    from sdperf.record.workload import InputPicture
    from sdperf.tune.question.asking import Asked

DEFAULT_STUDY: Final = "tune"
DEFAULT_TRIALS: Final = 50
_SAMPLER_SEED: Final = kinds.whole(0, 999_999_999)

_DESCRIPTION: Final = """\
Search for the best settings of this machine: steps, guidance, batch, precision, scheduler, mode,
workers, engine and optimisations, seconds an image against likeness to the images at full steps
in fp32 on torch.

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
  --search 'engine=torch|openvino', --search engine=auto (what is installed and native), or
  --search engine=torch (no other, where a CPU has another one installed)
  keys: steps, guidance, batch, precision, scheduler, mode, workers, engine, optimisations (each of
  those named is tried on and off, where they go together); one choice holds it fixed

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
    add_option(
        confirming,
        "--confirm",
        kinds.whole(0),
        "settings of the front to measure beside the default at most; 0 leaves it out",
        default=3,
    )
    add_guards(confirming)
    output = parser.add_argument_group("output")
    winner = PROFILE.taking(kinds.PATH, "where the winner is written")
    add_setting(output, winner, default=Path(DEFAULT_NAME))
    add_written_files(output)


def _add_study(group: Options) -> None:
    add_option(
        group,
        "--trials",
        COUNT,
        "trials that the study shall have in all",
        default=DEFAULT_TRIALS,
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
    add_option(group, "--seed", _SAMPLER_SEED, "seed of the sampler", shown="drawn")


def _add_question(group: Options) -> None:
    add_what_is_run(group)
    add_setting(group, PROMPTS)
    add_setting(group, IMAGES.taking(COUNT, "images of a round, one a prompt"))
    add_option(group, "--image-seed", SEED.kind, SEED.about, shown=SEED.usual)
    add_setting(group, SIZE)
    add_picture(group)
    add_setting(group, STEPS.taking(STEPS.kind, "denoising steps of the reference"))
    add_setting(group, GUIDANCE.taking(SCALE, "guidance scale of the reference"))
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
    add_setting(group, TIMEOUT, default=600.0)


def _add_limits(group: Options) -> None:
    add_option(group, "--min-ssim", SCORE, "of the worst image", metavar="X")
    add_option(group, "--min-tile", SCORE, "of its worst tile", metavar="X")
    add_option(group, "--min-psnr", kinds.positive("decibels"), "of the worst image", metavar="DB")
    add_option(
        group,
        "--max-entropy-drop",
        kinds.positive("bits"),
        "that an image may lose",
        metavar="BITS",
        shown="0.5",
    )
    add_option(group, "--max-seconds", DURATION, "of an image", metavar="DURATION")
    add_option(group, "--max-memory", kinds.BYTES, "peak", metavar="SIZE")


def read_asked(arguments: argparse.Namespace, picture: InputPicture | None = None) -> Asked:
    """Return the typed parts of the question.

    Args:
        arguments: The command line.
        picture: The choice from the typed task and picture.

    Raises:
        ConfigurationError: An option cannot be read.
    """
    from sdperf.record.workload import read_prompts
    from sdperf.tune.question.asking import Asked

    width, height = arguments.size or (None, None)
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
        "guidance_scale": arguments.guidance,
        "width": width,
        "height": height,
        "picture": picture,
    }
    return Asked(
        workload={name: value for name, value in workload.items() if value is not None},
        prompts=None if arguments.prompts is None else read_prompts(arguments.prompts),
        images=arguments.images,
        default=tuple(arguments.default),
        search=search,
        limits={name: value for name, value in limits.items() if value is not None},
    )
