"""The options of measuring and judging that ``sdperf ab``, ``bisect`` and ``sweep`` share."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from sdperf import __version__
from sdperf.cli.shared.options import (
    COUNT,
    SCORE,
    Options,
    add_guards,
    add_option,
    add_setting,
    add_what_is_run,
)
from sdperf.errors import ConfigurationError
from sdperf.settings import MAX_GROWTH, MAX_SLOWDOWN, ROUNDS, TIMEOUT, WARMUP, kinds

if TYPE_CHECKING:
    from sdperf.ab.sides.sides import MatrixCase
    from sdperf.ab.verdict.comparison import CompareOptions
    from sdperf.device import DeviceKind
    from sdperf.record.workload import Workload


@dataclass(frozen=True)
class AskedRun:
    """The work that all sides of a question run.

    Attributes:
        workload: The workload.
        subject: ``module:function`` that makes the pipeline, or ``None``.
        device: A choice of the setting ``device``.
        cases: Cases of the matrix.
        software: Versions that figures depend on and that the question does not change.
        pip_options: Options for ``pip install``.
    """

    workload: Workload
    subject: str | None
    device: str
    cases: tuple[MatrixCase, ...]
    software: dict[str, str]
    pip_options: tuple[str, ...]


def add_asked_run(group: Options) -> None:
    """Register the work that all sides of a question run."""
    add_what_is_run(group)
    group.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="settings as in sdperf ab: steps, guidance, size, precision, prompts, seed, task, "
        "strength, lora, ...",
    )


def add_steps_options(group: Options) -> None:
    """Register how steps are installed, and whether an earlier process's work counts."""
    group.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on where the same question was left (default), or start from the beginning",
    )
    group.add_argument(
        "--pip-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="given to pip install, such as --pip-option='--index-url URL'",
    )


def read_asked_run(arguments: argparse.Namespace) -> AskedRun:
    """Turn the options of these groups into the work that all sides run.

    Raises:
        ConfigurationError: A setting or a case cannot be used.
    """
    from sdperf.ab.sides.matrix import parse_cases
    from sdperf.ab.sides.settings import parse_settings

    shared = [
        f"{name}={value}"
        for name in ("model", "subject", "device")
        if (value := getattr(arguments, name)) is not None
    ]
    settings = parse_settings([*shared, *arguments.settings])
    chosen = settings.choose_picture()
    if chosen.files:
        raise ConfigurationError(
            "a picture of your own cannot be kept with a question that is resumed on other days",
            got=", ".join(settings.picture),
            expected="the default picture",
            hint="leave it out, or compare two sides in one sitting: sdperf ab",
        )
    workload = settings.make_workload(chosen.picture)
    if arguments.pictures is not None:
        workload = replace(workload, prompts=workload.prompts[: arguments.pictures])
    cases = dict.fromkeys(
        replace(case, variant=replace(case.variant, **settings.variant))
        for case in parse_cases(arguments.cases, arguments.batch)
    )
    device = settings.device or "auto"
    refuse_unsuited_names(
        [case.variant.optimisations for case in cases], workload.model, settings.subject, device
    )
    return AskedRun(
        workload=workload,
        subject=settings.subject,
        device=device,
        cases=tuple(cases),
        software=_list_software(),
        pip_options=tuple(
            word for text in arguments.pip_option for word in _split_words("--pip-option", text)
        ),
    )


def refuse_unsuited_names(
    named: Sequence[Sequence[str]], model: str, subject: str | None, device: str = "auto"
) -> None:
    """Refuse sets of optimisations that cannot run, before anything is installed or loaded.

    The model's index is looked at only where an answer depends on it.

    Args:
        named: The sets that were named.
        model: The model, as a user names it.
        subject: ``module:function`` that makes the pipeline, whose network is unknown.
        device: A choice of the setting ``device``; ``auto`` is found out by the workers.

    Raises:
        ConfigurationError: One cannot be used with the network of this model, or on the device.
        ModelError: The model does not exist or cannot be fetched.
    """
    from sdperf.pipeline.optimisations import catalogue

    if subject is None and any(map(catalogue.depends_on_denoiser, named)):
        from sdperf.models.finding import find_denoiser

        catalogue.refuse_unsuited(named, find_denoiser(model))
    if device != "auto":
        for names in named:
            catalogue.check_device(names, cast("DeviceKind", device))


def _split_words(option: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} cannot be used", got=text, expected="words as in a shell", hint=str(error)
        ) from error


def format_asked_run(arguments: argparse.Namespace) -> list[str]:
    """Return the options of a command for the same run, without those that have their default."""
    words = [f"--pip-option={text}" for text in arguments.pip_option]
    for text in arguments.settings:
        words += ["--set", text]
    for name, default in _DEFAULTS.items():
        value = getattr(arguments, name)
        if value != default:
            is_share = name in ("max_slowdown", "max_growth")
            words += [
                f"--{name.replace('_', '-')}",
                f"{value * 100:g}%"
                if is_share
                else f"{value:g}"
                if isinstance(value, float)
                else str(value),
            ]
    return words


_DEFAULTS: Final[dict[str, object]] = {
    "model": None,
    "subject": None,
    "device": None,
    "cases": "latency",
    "batch": 4,
    "rounds": None,
    "warmup": 1,
    "timeout": 600.0,
    "pictures": None,
    "guards": "warn",
    "max_slowdown": None,
    "max_growth": None,
    "min_ssim": None,
    "min_tile": None,
}
"""Options that a command names only where they differ from the default."""


def _list_software() -> dict[str, str]:
    """Return the versions that a question's figures depend on; they are part of the question."""
    from sdperf.ab.sides.interpreters import TELLING

    found = {"python": platform.python_version(), "sdperf": __version__}
    for name in TELLING:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def add_measuring_options(group: Options) -> None:
    """Register the options of measuring."""
    group.add_argument("--cases", default="latency", metavar="LIST", help="what to measure")
    add_option(group, "--batch", COUNT, "images of a throughput round", default=4)
    turns = "rounds of one turn, whose median counts, and four turns a block (many short turns)"
    add_setting(group, ROUNDS.taking(COUNT, turns), shown="")
    add_setting(group, WARMUP, default=1)
    add_setting(group, TIMEOUT, default=600.0)
    add_option(group, "--pictures", COUNT, "prompts to draw on both sides", shown="all")
    add_guards(group)


def add_judging_options(group: Options) -> None:
    """Register the limits."""
    add_setting(group, MAX_SLOWDOWN, shown="3%")
    growth, percent = "how much peak memory may grow beyond 64 MiB", MAX_SLOWDOWN.metavar
    add_option(group, MAX_GROWTH.flag, kinds.SHARE, growth, metavar=percent, shown="10%")
    add_option(group, "--min-ssim", SCORE, "floor of the images' likeness", metavar="X")
    add_option(group, "--min-tile", SCORE, "floor of their worst tile's", metavar="X")


def read_shared_options(arguments: argparse.Namespace) -> CompareOptions:
    """Turn the options of both groups into the options of a comparison."""
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
