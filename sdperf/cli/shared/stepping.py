"""What ``sdperf bisect`` and ``sdperf sweep`` set up alike: sides of steps, and their words."""

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
    """Say on standard error how it goes, wrapped like everything else.

    Args:
        program: Who says it, such as ``sdperf sweep``.
        text: What.
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
    """Yield what measures a question's steps; all that it holds is gone afterwards.

    Args:
        question: What is asked.
        reference: The step that stays open for the whole sitting.
        here: The current folder.
        program: The command, for what it says.
        companions: Requirements that every environment holds too.
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
        source = ProgramVersions(store, template, named, word, companions)
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
