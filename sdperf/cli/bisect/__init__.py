"""``sdperf bisect``: which commit, or which version of a package, made it worse?"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf import __version__
from sdperf.cli.bisect.question import ANYTHING, format_command, read_question
from sdperf.cli.shared import stepping
from sdperf.cli.shared.measuring import (
    add_asked_run,
    add_judging_options,
    add_measuring_options,
    add_steps_options,
)
from sdperf.cli.shared.output import check_output_file, check_temporary_folder, print_lines
from sdperf.cli.shared.spelling import make_speller
from sdperf.cli.shared.stepping import opened_tester, say_aloud
from sdperf.outputs import Output, check_outputs
from sdperf.run.interruption import ended_like_interrupted
from sdperf.units import format_bytes, format_quantity

if TYPE_CHECKING:
    from sdperf.bisect.search import Standing
    from sdperf.bisect.searching import Conclusion, Ending
    from sdperf.bisect.state import BisectQuestion, StateFolder, StepRecord
    from sdperf.errors import SdperfError
    from sdperf.report.text.bisect import BisectReport, StepInfo

PROGRAM: Final = "sdperf bisect"
STATE_FOLDER: Final = Path(".sdperf") / "bisect"
FOUND_STATUS: Final[dict[Ending, int]] = {
    "found": 0,
    "range": 1,
    "nothing": 1,
    "undecided": 1,
    "void": 6,
    "interrupted": 130,
}
_DESCRIPTION: Final = """\
Find the first commit, or the first version in a list, that is slower, draws another image or needs
more memory than the good one.

The ends are compared first; what is worse at the bad end is searched for as git bisect would, and
every step is compared with the good end by the test of sdperf ab. What was found is kept after each
step: ask again after Ctrl-C, a crash or a reboot, and the search goes on.
"""
_EPILOG: Final = """\
examples:
  sdperf bisect v1.4 HEAD --subject my_package.pipelines:fast
  sdperf bisect v1.4 HEAD --for image --set steps=8,size=512x512
  sdperf bisect --python-package torch==2.12.0 --python-package torch==2.13.0 \\
                --python-package torch==2.14.1
  sdperf bisect --python-package 'torch==2.13.0 diffusers==0.42.1' \\
                --python-package 'torch==2.14.1 diffusers==0.43.0'
  sdperf bisect --python-package 'mflux 0.20.0 .. 0.24.0' --set steps=4,size=512x512 \\
                --set 'engine=external:mflux=ENV/bin/python adapter.py'
  sdperf bisect --list-environments

The environment of a program of yours is searched by the Python that its command names: sdperf's own
stays as it is.

A step that does not import, install or draw is skipped; one that stays undecided after 18 blocks is
left open. Where that leaves several suspects, all of them are named, not one of them. An error of
1 % for a wrong turn in speed is shared by the whole search; docs/bisect.md says how.

exit status: 0 found, 1 not found (the bad end is not worse, that cannot be told, or several
suspects are left), 2 something given cannot be used, 6 void: the good end differs from itself on
this machine now, 130 interrupted (kept)
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "bisect",
        help="find the commit or package version that made it worse",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ends", nargs="*", metavar="GOOD BAD", help="two revisions")
    search = parser.add_argument_group("search")
    search.add_argument(
        "--python-package",
        action="append",
        default=[],
        metavar="STEP",
        help="in place of revisions: exact versions of one or more packages, once for each step, "
        "the good one first; or a range of releases, such as 'mflux 0.20 .. 0.24'",
    )
    search.add_argument(
        "--for",
        dest="aspect",
        choices=("speed", "image", "memory", ANYTHING),
        default=ANYTHING,
        help="what counts as bad (any)",
    )
    search.add_argument(
        "--first-parent", action="store_true", help="take a merged branch as one step"
    )
    add_steps_options(search)
    add_asked_run(parser.add_argument_group("what is run"))
    add_measuring_options(parser.add_argument_group("measuring"))
    add_judging_options(parser.add_argument_group("judging"))
    output = parser.add_argument_group("output")
    output.add_argument(
        "--report",
        type=Path,
        metavar="FILE.md",
        help="where the report goes (sdperf-bisect-<the first bad one>.md)",
    )
    kept = parser.add_argument_group("environments of package versions")
    kept.add_argument("--list-environments", action="store_true", help="list those that are kept")
    kept.add_argument(
        "--clean-environments", action="store_true", help="remove those that nobody uses"
    )


def run(arguments: argparse.Namespace) -> int:
    """Search, print, write; the exit status tells how it ended."""
    if arguments.list_environments or arguments.clean_environments:
        return _show_environments(clean=arguments.clean_environments)
    from sdperf.bisect.state import StateFolder
    from sdperf.cli.bisect.report import collect_report, write_report

    here = Path.cwd()
    check_output_file("--report", arguments.report)
    check_outputs([Output("the search's own folder", here / STATE_FOLDER, is_folder=True)])
    check_temporary_folder()
    question = read_question(arguments, here)
    kept = StateFolder(here / STATE_FOLDER, question.key())
    with ended_like_interrupted(), kept.locked():
        if not arguments.resume:
            kept.forget()
        teller = _Teller(question, _describe_steps(question, here))
        teller.say_question(kept)
        conclusion = _search(question, kept, here, teller, make_speller(arguments))
        report = collect_report(
            conclusion, kept, teller.steps, format_command(arguments, question), __version__
        )
        path = write_report(report, kept, arguments.report)
    _print(report)
    if path is not None:
        print(f"  report: {path}")
    return FOUND_STATUS[conclusion.ending]


def _search(
    question: BisectQuestion,
    kept: StateFolder,
    here: Path,
    teller: _Teller,
    spell: Callable[[SdperfError], str],
) -> Conclusion:
    """Run the search with everything it needs, which is removed afterwards."""
    from sdperf.bisect.searching import Bisection

    with opened_tester(question, question.good, here, PROGRAM) as tester:
        return Bisection(question, tester, kept, teller, spell=spell).run()


class _Teller:
    """Shows the progress of a search on standard error."""

    def __init__(self, question: BisectQuestion, steps: dict[str, StepInfo]) -> None:
        self.question = question
        self.steps = steps

    def say(self, text: str) -> None:
        """Show a text, wrapped like all output."""
        say_aloud(PROGRAM, text)

    def say_question(self, kept: StateFolder) -> None:
        """Show what is searched, and whether an earlier search is continued."""
        from sdperf.bisect.searching import count_tests

        question = self.question
        noun = "commits" if question.kind == "revisions" else "versions"
        count, tests = len(question.history.steps), count_tests(question)
        self.say(
            f"{count} {noun} after {self.steps[question.good].name}, "
            f"at most {format_quantity(tests + 1, 'test')} if none is skipped, and a comparison of "
            f"the first bad {noun.removesuffix('s')} by itself"
        )
        if question.kind == "packages":
            self._say_environments(min(count + 1, tests + 2))
        state = kept.read()
        if state is not None and state.end is not None:
            self.say(
                f"going on after {format_quantity(1 + len(state.steps), 'test')}, begun "
                f"{state.started} (--no-resume starts again)"
            )

    def _say_environments(self, most: int) -> None:
        """Show where environments are made, how many, and what would change nothing."""
        from sdperf.ab.sides.environments import locate_environments
        from sdperf.cli.shared.unused import warn_unused

        self.say(
            f"each version has an environment of its own, which is made when its turn comes: at "
            f"most {format_quantity(most, 'environment')} in {locate_environments()} "
            "(--list-environments, --clean-environments)"
        )
        for text in warn_unused(self.question, (self.question.good,)):
            self.say(text)

    def begin(self, what: str, step: str, standing: Standing) -> None:
        """Show which test begins."""
        left = len(standing.suspects)
        suspects = f"{left} suspects" if left > 1 else "1 suspect"
        self.say(f"{what}: {self.steps[step]} ({suspects} left)")

    def end(self, record: StepRecord) -> None:
        """Show the result of a test."""
        from sdperf.report.text.bisect import describe_record

        self.say(describe_record(record, self.steps[record.step]))


def _describe_steps(question: BisectQuestion, here: Path) -> dict[str, StepInfo]:
    """Return what identifies the steps to people, including the good end."""
    from sdperf.ab.sides.worktree import find_repository
    from sdperf.bisect.commits import list_subjects
    from sdperf.bisect.packages import label_step
    from sdperf.report.text.bisect import StepInfo

    steps = (question.good, *question.history.steps)
    if question.kind == "packages":
        return {step: StepInfo(label_step(step)) for step in steps}
    subjects = list_subjects(find_repository(here), steps)
    return {step: StepInfo(step[:12], subjects.get(step, "")) for step in steps}


def _show_environments(*, clean: bool) -> int:
    """List the kept environments, or remove the unused ones."""
    store = stepping.open_store((), lambda _: None)
    if clean:
        freed, kept = store.clean()
        print(f"{format_bytes(freed)} freed in {store.folder}")
        for folder in kept:
            print(f"kept, in use: {folder}")
        return 0
    found = store.list_environments()
    for one in found:
        record = one.record
        wanted = "unfinished" if record is None else " ".join(record.requirements)
        built = "" if record is None else f"  Python {record.python}, {record.built_at}"
        print(f"{one.folder.name}  {format_bytes(one.size_bytes):>9}  {wanted}{built}")
    total = sum(one.size_bytes for one in found)
    print(f"{format_quantity(len(found), 'environment')}, {format_bytes(total)} in {store.folder}")
    return 0


def _print(report: BisectReport) -> None:
    from sdperf.report.text.bisect import format_bisect_lines

    print_lines(format_bisect_lines(report))
