"""Ranges of several packages: one sweep after another, the other packages as they are."""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from sdperf.cli.sweep.question import read_question
from sdperf.errors import ConfigurationError

_EXAMPLE: Final = (
    "sdperf sweep --python-package 'diffusers 0.40 ..' --python-package 'transformers 5.20 ..'"
)


def split_packages(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """Return a command line for each package; none where one sweep is asked for.

    A package given by exact versions (``torch==2.12.0``) is a step, and several are one sweep.

    Raises:
        ConfigurationError: A range cannot be read, a package comes twice, or an option cannot
            hold for all.
    """
    from sdperf.sweep.releases import parse_release_range

    texts = arguments.python_package
    if len(texts) < 2 or any("==" in text for text in texts):
        return []
    names = [parse_release_range(text, None, None).name for text in texts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigurationError(
            "a package has two ranges", got=twice[0], expected="one range each", hint=_EXAMPLE
        )
    _refuse_shared(arguments)
    found = []
    for name, text in zip(names, texts, strict=True):
        one = copy.copy(arguments)
        one.python_package = [text]
        one.companions = [text for text in arguments.companions if not _is_of(text, name)]
        for option in ("json", "markdown", "html"):
            if (path := getattr(arguments, option)) is not None:
                setattr(one, option, path.with_name(f"{path.stem}-{name}{path.suffix}"))
        if arguments.figures is not None:
            one.figures = arguments.figures / name
        found.append(one)
    return found


def run_each(
    several: Sequence[argparse.Namespace],
    run_one: Callable[[argparse.Namespace], int],
    here: Path,
    ends_all: Collection[int],
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run one sweep after another; the exit status is the first that is not 0.

    Every package is looked up before the first is measured. The time given is that of all.

    Args:
        several: The command line of each.
        run_one: Runs one.
        here: The current folder.
        ends_all: Exit statuses after which no other begins.
        clock: Returns seconds.
    """
    for one in several:
        read_question(one, here)
    began_s, statuses = clock(), []
    for one in several:
        if one.budget is not None:
            one.budget = max(one.budget - (clock() - began_s), 0.0)
        statuses.append(run_one(one))
        if statuses[-1] in ends_all:
            break
    return next((status for status in statuses if status), 0)


def _refuse_shared(arguments: argparse.Namespace) -> None:
    for option, is_given, what in (
        ("--from", arguments.first is not None, "write 'NAME A .. B' for each"),
        ("--to", arguments.last is not None, "write 'NAME A .. B' for each"),
        ("--anchor", arguments.anchor is not None, "the oldest of each range is its anchor"),
        ("--format json", arguments.format == "json", "--json FILE writes one file a package"),
    ):
        if is_given:
            raise ConfigurationError(
                f"{option} cannot hold for several packages",
                got=f"{len(arguments.python_package)} packages with ranges",
                expected=what,
                hint=_EXAMPLE,
            )


def _is_of(text: str, name: str) -> bool:
    """Tell whether a requirement is of a package; what cannot be read is told later."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        return canonicalize_name(Requirement(text).name) == name
    except InvalidRequirement:
        return False
