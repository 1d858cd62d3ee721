"""From the command line of ``sdperf bisect`` to what is asked, and back."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.metadata
import platform
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf import __version__
from sdperf.cli.shared.measuring import read_shared_options
from sdperf.errors import ConfigurationError

if TYPE_CHECKING:
    from sdperf.bisect.judging import Aspect
    from sdperf.bisect.state import Question

ANYTHING: Final = "any"
"""``--for``: everything that is worse counts."""


def read_question(arguments: argparse.Namespace, here: Path) -> Question:
    """Turn the command line into what is asked.

    Raises:
        ConfigurationError: Revisions, versions, settings or cases cannot be used.
    """
    from sdperf.ab.sides.matrix import parse_cases
    from sdperf.ab.sides.settings import parse_settings
    from sdperf.ab.sides.worktree import find_repository
    from sdperf.bisect.commits import read_history, resolve_commit
    from sdperf.bisect.judging import ASPECTS
    from sdperf.bisect.packages import name_step, parse_package_steps
    from sdperf.bisect.search import History, make_chain
    from sdperf.bisect.state import Question

    ends, texts = arguments.ends, arguments.python_package
    if bool(ends) == bool(texts) or (ends and len(ends) != 2):
        raise ConfigurationError(
            "there is nothing to search",
            got=f"{len(ends)} revisions and {len(texts)} --python-package",
            expected="a good and a bad revision, or --python-package two times or more",
            hint="sdperf bisect --help",
        )
    shared = [
        f"{name}={value}"
        for name in ("model", "subject", "device")
        if (value := getattr(arguments, name)) is not None
    ]
    settings = parse_settings([*shared, *arguments.settings])
    workload = settings.make_workload()
    if arguments.pictures is not None:
        workload = dataclasses.replace(workload, prompts=workload.prompts[: arguments.pictures])
    cases = dict.fromkeys(
        dataclasses.replace(case, variant=dataclasses.replace(case.variant, **settings.variant))
        for case in parse_cases(arguments.cases, arguments.batch)
    )
    history: History
    if ends:
        repository = find_repository(here)
        good, bad = (resolve_commit(repository, name) for name in ends)
        history = read_history(repository, good, bad, first_parent=arguments.first_parent)
    else:
        good, *steps = (name_step(step) for step in parse_package_steps(texts))
        history = make_chain(steps)
    aspects: tuple[Aspect, ...] = ASPECTS
    if arguments.aspect != ANYTHING:
        aspects = (arguments.aspect,)
    return Question(
        kind="revisions" if ends else "packages",
        good=good,
        history=history,
        aspects=aspects,
        workload=workload,
        subject=settings.subject,
        device=settings.device or "auto",
        cases=tuple(cases),
        options=read_shared_options(arguments),
        software=_list_software(),
        pip_options=tuple(word for text in arguments.pip_option for word in shlex.split(text)),
    )


def format_command(arguments: argparse.Namespace, question: Question) -> str:
    """Return the command that asks the same question, with commits in place of names."""
    words = ["sdperf", "bisect"]
    if question.kind == "revisions":
        words += [question.good[:12], question.bad[:12]]
    for text in arguments.python_package:
        words += ["--python-package", text]
    words += [f"--pip-option={text}" for text in arguments.pip_option]
    if arguments.aspect != ANYTHING:
        words += ["--for", arguments.aspect]
    if arguments.first_parent:
        words.append("--first-parent")
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
    return shlex.join(words)


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
"""Options that a command names only where they differ."""


def _list_software() -> dict[str, str]:
    """Return the versions that a search's figures depend on; another one is another question."""
    from sdperf.ab.sides.interpreters import TELLING

    found = {"python": platform.python_version(), "sdperf": __version__}
    for name in TELLING:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
