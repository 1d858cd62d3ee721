"""Turns the command line of ``sdperf bisect`` into a question, and back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.measuring import format_asked_run, read_asked_run, read_shared_options
from sdperf.errors import ConfigurationError
from sdperf.shell import join_command

if TYPE_CHECKING:
    from sdperf.bisect.judging import Aspect
    from sdperf.bisect.state import BisectQuestion

ANYTHING: Final = "any"
"""Value of ``--for`` with which any loss counts."""


def read_question(arguments: argparse.Namespace, here: Path) -> BisectQuestion:
    """Turn the command line into a question.

    Raises:
        ConfigurationError: Revisions, versions, settings or cases cannot be used.
    """
    from sdperf.ab.sides.worktree import find_repository
    from sdperf.bisect.commits import read_history, resolve_commit
    from sdperf.bisect.judging import ASPECTS
    from sdperf.bisect.packages import name_step, parse_package_steps
    from sdperf.bisect.search import History, make_chain
    from sdperf.bisect.state import BisectQuestion
    from sdperf.cli.bisect.ranges import join_range, spell_steps

    join_range(arguments)
    ends, texts = arguments.ends, arguments.python_package
    if bool(ends) == bool(texts) or (ends and len(ends) != 2):
        raise ConfigurationError(
            "there is nothing to search",
            got=f"{len(ends)} revisions and {len(texts)} --python-package",
            expected="a good and a bad revision, or --python-package two times or more",
            hint="sdperf bisect --help",
        )
    asked = read_asked_run(arguments)
    history: History
    if ends:
        repository = find_repository(here)
        good, bad = (resolve_commit(repository, name) for name in ends)
        history = read_history(repository, good, bad, first_parent=arguments.first_parent)
    else:
        texts = spell_steps(texts, asked.pip_options)
        good, *steps = (name_step(step) for step in parse_package_steps(texts))
        history = make_chain(steps)
    aspects: tuple[Aspect, ...] = ASPECTS
    if arguments.aspect != ANYTHING:
        aspects = (arguments.aspect,)
    return BisectQuestion(
        kind="revisions" if ends else "packages",
        good=good,
        history=history,
        aspects=aspects,
        workload=asked.workload,
        subject=asked.subject,
        device=asked.device,
        cases=asked.cases,
        options=read_shared_options(arguments),
        software=asked.software,
        pip_options=asked.pip_options,
    )


def format_command(arguments: argparse.Namespace, question: BisectQuestion) -> str:
    """Return the command that asks the same question, with commits in place of names."""
    words = ["sdperf", "bisect"]
    if question.kind == "revisions":
        words += [question.good[:12], question.bad[:12]]
    for text in arguments.python_package:
        words += ["--python-package", text]
    if arguments.aspect != ANYTHING:
        words += ["--for", arguments.aspect]
    if arguments.first_parent:
        words.append("--first-parent")
    words += format_asked_run(arguments)
    return join_command(words)
