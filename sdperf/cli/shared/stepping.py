"""The setup that ``sdperf bisect`` and ``sdperf sweep`` share: sides of steps, and messages."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.ab.sides.environments import EnvironmentStore
    from sdperf.ab.sides.present import Overlaid
    from sdperf.bisect.state import BisectQuestion
    from sdperf.bisect.steps import SideSource, SideTester
    from sdperf.sweep.state import SweepQuestion


def say_aloud(program: str, text: str) -> None:
    """Show the progress on standard error, wrapped like all output.

    Args:
        program: The name of the command, such as ``sdperf sweep``.
        text: The text.
    """
    from sdperf.report.text.lines import wrap_line

    for line in wrap_line(f"{program}: {text}"):
        print(line.text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def opened_tester(
    question: BisectQuestion | SweepQuestion,
    reference: str,
    here: Path,
    program: str,
    companions: tuple[str, ...] = (),
) -> Iterator[SideTester]:
    """Yield the object that measures a question's steps; it is cleaned up afterwards.

    Args:
        question: The question.
        reference: The step that stays open for the whole run.
        here: The current folder.
        program: The name of the command, for its messages.
        companions: Requirements that every environment contains too.
    """
    from sdperf.ab.sides.worktree import clear_leftovers
    from sdperf.ab.turns.bench import LiveBench
    from sdperf.bisect.programs import (
        ProgramVersions,
        find_interpreter,
        find_program,
        read_environment,
    )
    from sdperf.bisect.steps import Commits, SideTester, Versions, make_template
    from sdperf.cli.ab.view import TerminalView

    def say(text: str) -> None:
        say_aloud(program, text)

    template = make_template(question)
    source: SideSource
    if question.kind == "revisions":
        left = clear_leftovers()
        if left:
            folders = format_quantity(left, "temporary folder")
            say(f"removed {folders} that a killed command left")
        source = Commits(here, template)
    elif (named := find_program(question.cases)) is not None:
        word = find_interpreter(named)
        store = open_store(question.pip_options, say, read_environment(word))
        source = ProgramVersions(store, template, companions, named=named, word=word)
    else:
        source = Versions(open_store(question.pip_options, say), template, companions)
    with contextlib.ExitStack() as stack:
        bench = stack.enter_context(LiveBench())
        tester = SideTester(
            source,
            reference,
            bench,
            lambda options: TerminalView(sys.stderr, math.log1p(options.max_slowdown), program),
        )
        yield stack.enter_context(tester)


def open_store(
    pip_options: Sequence[str], say: Callable[[str], None], below: Overlaid | None = None
) -> EnvironmentStore:
    """Open the user's environments, over this process's or over another one."""
    from sdperf.ab.sides.environments import EnvironmentStore

    return EnvironmentStore.of_user(pip_options, say, below)
