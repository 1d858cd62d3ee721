"""``sdperf sweep``: what each release or commit did to speed, memory and pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.measuring import (
    add_asked_run,
    add_judging_options,
    add_measuring_options,
    add_steps_options,
)
from sdperf.cli.shared.options import (
    COUNT,
    add_format,
    add_option,
    add_setting,
    add_written_files,
)
from sdperf.cli.shared.output import check_output_files, check_temporary_folder, print_lines
from sdperf.cli.shared.spelling import make_speller
from sdperf.cli.shared.stepping import opened_tester, say_aloud
from sdperf.cli.sweep.question import read_question
from sdperf.outputs import Output, check_outputs
from sdperf.run.interruption import ended_like_interrupted
from sdperf.settings import HISTORY, kinds

if TYPE_CHECKING:
    from sdperf.errors import SdperfError
    from sdperf.sweep.plan import PlannedPair
    from sdperf.sweep.state import FailedStep, PairRecord, SweepFolder, SweepQuestion
    from sdperf.sweep.summary import SweepSummary
    from sdperf.sweep.sweeping import SweepConclusion, SweepEnding

PROGRAM: Final = "sdperf sweep"
STATE_FOLDER: Final = Path(".sdperf") / "sweep"
ENDING_STATUS: Final[dict[SweepEnding, int]] = {
    "done": 0,
    "nothing": 1,
    "budget": 1,
    "void": 6,
    "interrupted": 130,
}
_DESCRIPTION: Final = """\
Measure every release of a package, or every commit, of a range: seconds an image, peak memory,
first call, load and pictures, over the versions.

Each version has an environment of its own. Neighbours take turns, and so do an anchor and each
version, by the blocks of sdperf ab, the null control first. What was found is kept after each
comparison: ask again after Ctrl-C, a crash or a reboot, and the sweep goes on.
"""
_EPILOG: Final = """\
examples:
  sdperf sweep --python-package diffusers --dry-run
  sdperf sweep --python-package 'onnxruntime 1.22 ..' --set engine=onnx
  sdperf sweep --python-package torch --from 2.6 --every 3 --dense --budget 8h
  sdperf sweep --python-package transformers --from 4.56 --with diffusers==0.36.0
  sdperf sweep --python-package 'torch==2.12.0 torchvision==0.27.0' \\
               --python-package 'torch==2.13.0 torchvision==0.28.0'
  sdperf sweep --python-package 'diffusers 0.40 ..' --python-package 'transformers 5.20 ..'
  sdperf sweep --python-package diffusers --from 0.37 --untimed
  sdperf sweep --commits v1.2..HEAD --subject my_package.pipelines:fast --html curve.html

An error of 1 % for any false step in time is divided over the whole sweep, and all bounds are at
that level; docs/sweep.md says how, and what it comes to. A version that does not install, import
or draw is a point with its reason. What two neighbours cannot settle after 18 blocks stays open
and says so.

exit status: 0 every comparison was made, 1 the time was over before, one could not be made though
its versions run, or no two versions can be measured, 2 something given cannot be used, 6 void: the
same code differs from itself on this machine now, 130 interrupted (kept)
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "sweep",
        help="measure every release or commit of a range",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = parser.add_argument_group("versions")
    steps.add_argument(
        "--python-package",
        action="append",
        default=[],
        metavar="RANGE",
        help="a package, from the oldest supported one, or 'NAME A .. B'; several ranges "
        "are swept one after another, the other "
        "packages as they are; or two times and more, oldest first: exact versions of one or more "
        "packages",
    )
    steps.add_argument("--from", dest="first", metavar="VERSION", help="the oldest release")
    steps.add_argument(
        "--to", dest="last", metavar="VERSION", help="the newest; 2.9 takes 2.9.1 in"
    )
    steps.add_argument(
        "--commits", metavar="A..B", help="in place of packages: A and every first parent up to B"
    )
    add_option(steps, "--every", COUNT, "measure each n-th, and both ends", default=1)
    steps.add_argument(
        "--dense",
        action="store_true",
        help="then those between two of them between which something happened",
    )
    steps.add_argument(
        "--anchor", metavar="VERSION", help="what all are compared with (the oldest that runs)"
    )
    steps.add_argument(
        "--with",
        dest="companions",
        action="append",
        default=[],
        metavar="REQUIREMENT",
        help="installed beside every version, such as diffusers==0.36.0",
    )
    add_option(
        steps, "--budget", kinds.DURATION, "begin no comparison after that", metavar="DURATION"
    )
    steps.add_argument(
        "--dry-run", action="store_true", help="say what would be measured, and how long it takes"
    )
    add_steps_options(steps)
    add_asked_run(parser.add_argument_group("what is run"))
    measuring = parser.add_argument_group("measuring")
    add_measuring_options(measuring)
    measuring.add_argument(
        "--untimed",
        action="store_true",
        help="time no image: memory, pictures, load and first call alone, which a busy machine "
        "tells too, and in a fraction of the time",
    )
    add_judging_options(parser.add_argument_group("judging"))
    output = parser.add_argument_group("output")
    add_format(output, "table", "json", "markdown")
    add_written_files(output)
    output.add_argument("--html", type=Path, metavar="FILE", help="write a page with the figure")
    kept = HISTORY.taking(HISTORY.kind, "where the versions are kept for sdperf trend --sweep")
    add_setting(output, kept)
    output.add_argument(
        "--figures", type=Path, metavar="DIR", help="write the figure as SVG, PNG and CSV"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write; the exit status says how it ended."""
    from sdperf.cli.sweep.several import run_each, split_packages

    several = split_packages(arguments)
    if not several:
        return _run_one(arguments)
    ends_all = (ENDING_STATUS["void"], ENDING_STATUS["interrupted"])
    return run_each(several, _run_one, Path.cwd(), ends_all)


def _run_one(arguments: argparse.Namespace) -> int:
    """Run one sweep."""
    from sdperf.cli.sweep.report import (
        explain_undrawn,
        keep_in_history,
        summarise,
        write_files,
    )
    from sdperf.sweep.state import SweepFolder

    here = Path.cwd()
    _check_outputs(arguments, here)
    question, names = read_question(arguments, here)
    if names.note:
        say_aloud(PROGRAM, names.note)
    kept = SweepFolder(here / STATE_FOLDER, question.key())
    teller = _SweepTeller(question, names.short)
    if arguments.dry_run:
        teller.say_plan(kept)
        return 0
    with ended_like_interrupted(), kept.locked():
        if not arguments.resume:
            kept.forget()
        teller.say_plan(kept)
        speller = make_speller(arguments)
        conclusion = _sweep(question, kept, here, teller, arguments.budget, speller)
        summary = summarise(conclusion, kept, names, arguments)
        written = write_files(summary, arguments)
        complaint = keep_in_history(summary, arguments.history, here)
    _print(summary, arguments.format)
    for path in written:
        print(f"{PROGRAM}: wrote {path}", file=sys.stderr)
    for text in explain_undrawn(summary, arguments):
        say_aloud(PROGRAM, text)
    if complaint is not None:
        say_aloud(PROGRAM, complaint)
    return ENDING_STATUS[conclusion.ending] or int(summary.lost > 0)


def _check_outputs(arguments: argparse.Namespace, here: Path) -> None:
    """Refuse outputs that could not be written, before anything is measured."""
    options = ("json", "markdown", "html")
    check_output_files({f"--{option}": getattr(arguments, option) for option in options})
    history = arguments.history
    folders = [Output("the sweep's own folder", here / STATE_FOLDER, is_folder=True)]
    if arguments.figures is not None:
        folders.append(Output("--figures", arguments.figures.absolute(), is_folder=True))
    if history not in (None, "off") and "://" not in history:
        folders.append(Output(HISTORY.flag, Path(history).expanduser().absolute()))
    if not arguments.dry_run:
        check_outputs(folders)
        check_temporary_folder()
    if arguments.html is not None or arguments.figures is not None:
        from sdperf.report.html.files import require_drawing

        require_drawing()


def _sweep(
    question: SweepQuestion,
    kept: SweepFolder,
    here: Path,
    teller: _SweepTeller,
    budget_s: float | None,
    spell: Callable[[SdperfError], str],
) -> SweepConclusion:
    """Run the sweep with everything it needs, all of which is gone afterwards."""
    from sdperf.report.text.ab import describe_place
    from sdperf.sweep.sweeping import Sweep

    state = kept.read()
    anchor = (question.plan.chosen[0] if state is None else state.anchor) or ""
    with opened_tester(question, anchor, here, PROGRAM, question.companions) as tester:
        return Sweep(
            *(question, tester, kept, teller, describe_place, budget_s),
            spell=spell,
            list_conflicts=tester.list_conflicts,
        ).run()


class _SweepTeller:
    """Tells people, on standard error, how a sweep goes."""

    def __init__(self, question: SweepQuestion, names: dict[str, str]) -> None:
        self.question = question
        self.names = names

    def say(self, text: str) -> None:
        """Say something, wrapped like everything else."""
        say_aloud(PROGRAM, text)

    def say_plan(self, kept: SweepFolder) -> None:
        """Say what is measured and how long it may take, and whether the sweep goes on."""
        from sdperf.cli.shared.unused import warn_unused
        from sdperf.cli.sweep.plan import describe_plan

        for text in describe_plan(self.question, self.names, kept.read()):
            self.say(text)
        for text in warn_unused(self.question, self.question.plan.chosen):
            self.say(text)

    def begin(self, pair: PlannedPair, number: int, left: int) -> None:
        """Say which comparison begins."""
        what = "against the one before" if pair.role == "neighbour" else "against the anchor"
        ends = f"{self.names[pair.a]} -> {self.names[pair.b]}"
        self.say(f"comparison {number}: {ends} ({what}; {left} left with it)")

    def end(self, record: PairRecord | FailedStep) -> None:
        """Say what a comparison said."""
        from sdperf.cli.sweep.plan import describe_record

        self.say(describe_record(record, self.names))


def _print(summary: SweepSummary, form: str) -> None:
    from sdperf.report.markdown.sweep import format_sweep_markdown
    from sdperf.report.sweep import format_sweep_lines
    from sdperf.sweep.summary import format_sweep_json

    if form == "json":
        print(format_sweep_json(summary), end="")
    elif form == "markdown":
        print(format_sweep_markdown(summary), end="")
    else:
        print_lines(format_sweep_lines(summary))
