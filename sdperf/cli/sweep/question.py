"""From the command line of ``sdperf sweep`` to what is asked, and back."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.measuring import format_asked_run, read_asked_run, read_shared_options
from sdperf.errors import ConfigurationError
from sdperf.shell import join_command

if TYPE_CHECKING:
    from sdperf.ab.verdict.comparison import CompareOptions
    from sdperf.sweep.releases import ReleaseRange
    from sdperf.sweep.state import SweepQuestion

_EXAMPLE: Final = "sdperf sweep --python-package 'onnxruntime 1.22 ..'"
_SHORT: Final = 12
"""Digits of a commit in names."""


@dataclass(frozen=True)
class StepNames:
    """What people know steps by.

    Attributes:
        about: What differs between the steps: a package's name, or ``commits``.
        steps: The steps, oldest first.
        short: The short name of each.
        titles: What else there is to say, by short name: a commit's subject.
        note: How the range was chosen, where it was left open; empty where it was not.
    """

    about: str
    steps: tuple[str, ...]
    short: dict[str, str]
    titles: dict[str, str] = field(default_factory=dict)
    note: str = ""


def read_question(arguments: argparse.Namespace, here: Path) -> tuple[SweepQuestion, StepNames]:
    """Turn the command line into what is asked.

    Raises:
        ConfigurationError: Packages, commits, settings or cases cannot be used, or the package
            index cannot be asked.
        PackageError: There are no such releases.
    """
    from sdperf.sweep.plan import SweepPlan, choose_every
    from sdperf.sweep.state import SweepQuestion

    packages, commits = arguments.python_package, arguments.commits
    if bool(packages) == (commits is not None):
        raise ConfigurationError(
            "there is nothing to sweep" if not packages else "packages and commits are two sweeps",
            got=f"{len(packages)} --python-package and {0 if commits is None else 1} --commits",
            expected="--python-package, or --commits",
            hint=_EXAMPLE,
        )
    asked = read_asked_run(arguments)
    companions = _read_companions(arguments.companions)
    _refuse_lost(arguments)
    if commits is not None:
        names = _name_commits(commits, here)
    else:
        names = _name_packages(arguments, asked.pip_options)
    if len(names.steps) < 2:
        raise ConfigurationError(
            "there is nothing to compare in a range of one version",
            got=", ".join(names.short.values()) or "none",
            expected="two or more",
            hint=_EXAMPLE,
        )
    anchor = None if arguments.anchor is None else _find_anchor(arguments.anchor, names)
    return (
        SweepQuestion(
            kind="packages" if commits is None else "revisions",
            about=names.about,
            plan=SweepPlan(
                steps=names.steps,
                chosen=choose_every(names.steps, arguments.every, anchor),
                anchor=anchor,
                is_dense=arguments.dense,
            ),
            workload=asked.workload,
            subject=asked.subject,
            device=asked.device,
            cases=asked.cases,
            options=_read_options(arguments),
            companions=companions,
            software=asked.software,
            pip_options=asked.pip_options,
        ),
        names,
    )


def format_command(arguments: argparse.Namespace, question: SweepQuestion) -> str:
    """Return the command that asks the same question, with the range as it was found."""
    words = ["sdperf", "sweep"]
    steps = question.plan.steps
    if question.kind == "revisions":
        words += ["--commits", f"{steps[0][:_SHORT]}..{steps[-1][:_SHORT]}"]
    elif len(arguments.python_package) == 1:
        first, last = (step.rpartition("==")[2] for step in (steps[0], steps[-1]))
        words += ["--python-package", f"{question.about} {first} .. {last}"]
    else:
        for text in arguments.python_package:
            words += ["--python-package", text]
    if arguments.every != 1:
        words += ["--every", str(arguments.every)]
    if arguments.dense:
        words.append("--dense")
    if arguments.anchor is not None:
        words += ["--anchor", arguments.anchor]
    for text in arguments.companions:
        words += ["--with", text]
    words += format_asked_run(arguments)
    if arguments.untimed:
        words.append("--untimed")
    return join_command(words)


def _read_options(arguments: argparse.Namespace) -> CompareOptions:
    """Read how two versions are compared.

    Raises:
        ConfigurationError: An option of timing is given where nothing is timed.
    """
    options = read_shared_options(arguments)
    if not arguments.untimed:
        return options
    for option, value in (
        ("--rounds", arguments.rounds),
        ("--max-slowdown", arguments.max_slowdown),
    ):
        if value is not None:
            raise ConfigurationError(
                f"{option} goes with images that are timed",
                got="--untimed",
                expected="one of the two",
                hint=f"{_EXAMPLE} --untimed",
            )
    return dataclasses.replace(options, budget_s=0.0)


def _refuse_lost(arguments: argparse.Namespace) -> None:
    """Refuse options that would change nothing."""
    is_range = len(arguments.python_package) == 1
    for option, value in (("--from", arguments.first), ("--to", arguments.last)):
        if value is not None and not is_range:
            raise ConfigurationError(
                f"{option} needs one --python-package",
                got=f"{len(arguments.python_package)} of them",
                expected="a package whose releases are listed",
                hint=_EXAMPLE,
            )
    if arguments.dense and arguments.every == 1:
        raise ConfigurationError(
            "--dense needs --every: every version is measured anyway",
            got="--every 1",
            expected="--every 2 or more",
            hint=f"{_EXAMPLE} --every 3 --dense",
        )
    if arguments.companions and arguments.commits is not None:
        raise ConfigurationError(
            "--with goes with packages only",
            got="--commits",
            expected="commits run in the environment that is there",
        )


def _read_companions(texts: Sequence[str]) -> tuple[str, ...]:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in texts:
        try:
            Requirement(text)
        except InvalidRequirement as error:
            raise ConfigurationError(
                "--with cannot be used",
                got=text,
                expected="a requirement, such as diffusers==0.36.0",
                hint=str(error).splitlines()[0],
            ) from error
    return tuple(sorted(texts))


def _name_packages(arguments: argparse.Namespace, pip_options: Sequence[str]) -> StepNames:
    """Name the releases of a package, or the steps that were given one by one."""
    from sdperf.bisect.packages import label_step, name_step, parse_package_steps
    from sdperf.sweep.releases import list_releases, parse_release_range

    texts = arguments.python_package
    if len(texts) > 1:
        given = [name_step(step) for step in parse_package_steps(texts)]
        packages = [word.partition("==")[0] for word in given[0].split()]
        if len(packages) == 1:
            short = {step: step.partition("==")[2] or step for step in given}
        else:
            short = {step: label_step(step) for step in given}
        return StepNames(" and ".join(packages), tuple(given), short)
    asked = parse_release_range(texts[0], arguments.first, arguments.last)
    asked, note = _begin_at_supported(asked)
    versions = list_releases(asked, pip_options)
    short = {f"{asked.name}=={version}": version for version in versions}
    return StepNames(asked.name, tuple(short), short, note=note)


def _begin_at_supported(asked: ReleaseRange) -> tuple[ReleaseRange, str]:
    """Begin a range whose oldest end is open at the release that sdperf needs, and say so."""
    from sdperf.cli.shared.unused import find_oldest_needed

    oldest = None if asked.first is not None else find_oldest_needed(asked.name)
    begun = dataclasses.replace(asked, first=oldest)
    if oldest is None or (asked.last is not None and not begun.holds(asked.last)):
        return asked, ""
    return begun, (
        f"the range begins at {asked.name} {oldest}, the oldest supported one; --from names "
        "another one"
    )


def _name_commits(text: str, here: Path) -> StepNames:
    """Name the commits of a range: its first one, and every first parent of its last since."""
    from sdperf.ab.sides.worktree import find_repository
    from sdperf.bisect.commits import list_subjects, read_history, resolve_commit

    first, dots, last = text.partition("..")
    if not dots or not first or last.startswith("."):
        raise ConfigurationError(
            "--commits cannot be used",
            got=text,
            expected="a range with both ends, such as v1.2..HEAD",
            hint="sdperf sweep --commits v1.2..HEAD",
        )
    repository = find_repository(here)
    oldest, newest = (resolve_commit(repository, name) for name in (first, last or "HEAD"))
    words = ("the first commit", "the last one", "sdperf sweep --commits {}..{}")
    history = read_history(repository, oldest, newest, first_parent=True, words=words)
    steps = (oldest, *history.steps)
    subjects = list_subjects(repository, steps)
    short = {step: step[:_SHORT] for step in steps}
    titles = {step[:_SHORT]: subjects.get(step, "") for step in steps}
    return StepNames("commits", steps, short, titles)


def _find_anchor(text: str, names: StepNames) -> str:
    """Find the step that a user means.

    Raises:
        ConfigurationError: There is none.
    """
    found = [step for step, short in names.short.items() if text in (short, step)] or [
        step for step in names.steps if names.about == "commits" and step.startswith(text)
    ]
    if len(found) != 1:
        raise ConfigurationError(
            "--anchor is none of the versions of the range",
            got=text,
            expected=f"one of {', '.join(list(names.short.values())[:12])}",
        )
    return found[0]
