"""``sdperf ab``: two revisions, environments or settings against each other, in one sitting."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.measuring import (
    add_judging_options,
    add_measuring_options,
    read_shared_options,
)
from sdperf.cli.shared.options import (
    DURATION,
    add_format,
    add_option,
    add_strictness,
    add_what_is_run,
    add_written_files,
)
from sdperf.cli.shared.output import check_output_files, check_temporary_folder, print_lines
from sdperf.errors import ConfigurationError
from sdperf.outputs import Output, check_outputs
from sdperf.run.interruption import ended_like_interrupted
from sdperf.settings import OPEN_ANSWERS
from sdperf.settings.kinds import Kind

if TYPE_CHECKING:
    from sdperf.ab.keeping import FileKeeper
    from sdperf.ab.sides.making import SidesRequest
    from sdperf.ab.sides.sides import Side
    from sdperf.ab.verdict.comparison import Compared, CompareOptions
    from sdperf.ab.verdict.judging import AbVerdict

_DESCRIPTION: Final = """\
Measure two sides against each other until the difference is settled.

Two workers take turns, never at once, in blocks ABBA and BAAB, so that a machine that heats up or
wanders does not decide. A is the reference, B is judged: speed, memory, energy where it is known,
and every prompt's image. First A is compared with itself (null control).
"""
_EPILOG: Final = f"""\
what can be compared, alone or together:
  sdperf ab main HEAD                       two git revisions: yours or, in its clone, sdperf's own
  sdperf ab main                            a revision against the working tree as it is (.)
  sdperf ab main HEAD --subject mine:fast   ... with a function of yours that makes the pipeline
  sdperf ab --python OLD/bin/python --python NEW/bin/python
                                            two environments; sdperf need not be installed there
  sdperf ab --a precision=fp32 --b precision=fp16,mode=async
  sdperf ab --a model=./one --b model=./two --both steps=8,size=512x512

settings (--a, --b, --both): precision, mode, workers, threads, optimisations (a+b), engine, model,
lora, steps, prompts (a file), guidance, negative_prompt, seed, size (WxH), height, width,
scheduler, task, input_image (a file), mask (a file), strength, subject, device;
profile=sdperf-tuned.toml stands for all settings that sdperf tune found

cases (--cases): latency (the default), throughput, stage, names as in a pytest run such as
latency[fp16-sync-2w] or stage[fp32-denoise], patterns such as 'throughput[*-async-1w]'; together
they share an error of 1 % for calling an unchanged B slower; docs/ab.md says what it comes to

a look at 4, 6, 9 and 12 blocks: SLOWER when the interval is above no difference and its middle
above the limit, PASS when all of it is below the limit, else more blocks; docs/ab.md has the rest

exit status: 0 nothing is worse, 1 worse (SLOWER, HEAVIER, DEGRADED, BROKEN; with --strict also
{OPEN_ANSWERS}), 2 something given cannot be used or a side
died, 6 void: A differs from itself on this machine now, 130 interrupted (the verdict so far is
printed)
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "ab",
        help="measure two revisions, environments or settings against each other",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "revisions", nargs="*", metavar="REVISION", help="A and B; '.' is the working tree as it is"
    )
    sides = parser.add_argument_group("sides")
    sides.add_argument(
        "--python",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="an interpreter with torch and diffusers; twice: A's and B's; once: both sides'",
    )
    for name, whose in (("a", "A"), ("b", "B"), ("both", "both sides")):
        sides.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar="KEY=VALUE,...",
            help=f"settings of {whose}",
        )
    add_what_is_run(sides)
    sides.add_argument(
        "--label", action="append", default=[], metavar="TEXT", help="twice: what to call A and B"
    )
    _add_measuring(parser.add_argument_group("measuring"))
    _add_judging(parser.add_argument_group("judging"))
    _add_output(parser.add_argument_group("output"))


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    add_measuring_options(group)
    add_option(group, "--looks", _LOOKS, "blocks to look after", metavar="LIST", shown="4,6,9,12")
    add_option(group, "--time", DURATION, "begin no block after this long", metavar="DURATION")
    group.add_argument(
        "--no-control", action="store_true", help="do not compare A with itself first"
    )
    group.add_argument("--no-stages", action="store_true", help="do not profile stages")
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the interrupted run of this comparison: finished cases are kept",
    )
    group.add_argument(
        "--first", choices=("A", "B"), help="who begins the first block (drawn by lot)"
    )


def _add_judging(group: argparse._ArgumentGroup) -> None:
    add_judging_options(group)
    add_strictness(group)


def _add_output(group: argparse._ArgumentGroup) -> None:
    add_format(group, "table", "json", "markdown")
    add_written_files(group)
    group.add_argument(
        "--images", type=Path, metavar="DIR", help="write A | B | difference of every prompt"
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare, print, write; the exit status tells the verdict."""
    from sdperf.ab.sides.making import made_sides
    from sdperf.ab.sides.matrix import parse_cases
    from sdperf.ab.turns.bench import LiveBench
    from sdperf.ab.turns.comparing import compare
    from sdperf.ab.verdict.judging import judge_comparison
    from sdperf.cli.ab.view import TerminalView

    _check_outputs(arguments)
    request, options = read_request(arguments), read_options(arguments)
    cases = parse_cases(arguments.cases, arguments.batch)
    view = TerminalView(sys.stderr, math.log1p(options.max_slowdown))
    with (
        ended_like_interrupted(),
        held_folder(Path.cwd() / ".sdperf", view.announce),
        made_sides(request, Path.cwd()) as (a, b),
        LiveBench() as bench,
    ):
        if dataclasses.replace(a, label=b.label) == b:
            view.announce(
                "both sides are the same code and settings: this says how sure the machine is, "
                "any difference is noise"
            )
        keeper = make_keeper((a, b), Path.cwd(), view.announce, resume=arguments.resume)
        compared = compare(a, b, cases, options, bench=bench, view=view, keeper=keeper)
    verdict = judge_comparison(compared.record)
    _print(compared, verdict, arguments.format)
    _write(compared, verdict, arguments)
    if not compared.record.was_interrupted:
        keeper.close()
    return find_status(compared, verdict, strict=arguments.strict)


@contextlib.contextmanager
def held_folder(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep others from measuring in a folder meanwhile; report where it cannot be written.

    Args:
        folder: ``.sdperf``, which a pytest session holds too.
        tell: Shows a line to the user.

    Raises:
        ConfigurationError: A session or another comparison measures there, or a repository's link
            leads there.
    """
    from sdperf.git.links import refuse_tracked_links
    from sdperf.store.session_lock import LOCK_FILE, FolderLock

    refuse_tracked_links("comparison", folder / LOCK_FILE)
    try:
        lock = FolderLock.take(folder)
    except OSError as error:
        tell(
            f"{folder} cannot be written ({error.strerror or error}): "
            "finished cases are not kept over a kill"
        )
        yield
        return
    try:
        yield
    finally:
        lock.release()


def make_keeper(
    sides: tuple[Side, Side], here: Path, tell: Callable[[str], None], *, resume: bool
) -> FileKeeper:
    """Make the keeper of finished cases, which can continue an interrupted run."""
    import sdperf
    from sdperf.ab.keeping import FileKeeper
    from sdperf.store.code import hash_code, locate_module

    places = [Path(sdperf.__file__).parent]
    for side in sides:
        if side.revision is None:  # a commit is identified by its hash
            places += map(Path, side.code)
            module = None if side.subject is None else side.subject.partition(":")[0]
            found = None if module is None else locate_module(module, [str(here), *sys.path])
            places += [] if found is None else [found]
    return FileKeeper(here, hash_code(dict.fromkeys(places)), resume=resume, tell=tell)


def read_request(arguments: argparse.Namespace) -> SidesRequest:
    """Turn the command line into the request for a comparison.

    Raises:
        ConfigurationError: A setting cannot be read.
    """
    from sdperf.ab.sides.making import SidesRequest
    from sdperf.ab.sides.settings import parse_settings

    both = [
        f"{name}={value}"
        for name in ("model", "subject", "device")
        if (value := getattr(arguments, name)) is not None
    ]
    return SidesRequest(
        revisions=tuple(arguments.revisions),
        pythons=tuple(arguments.python),
        a=parse_settings(arguments.a),
        b=parse_settings(arguments.b),
        both=parse_settings([*both, *arguments.both]),
        labels=tuple(arguments.label),
        pictures=arguments.pictures,
    )


def read_options(arguments: argparse.Namespace) -> CompareOptions:
    """Turn the command line into the options of measuring and judging."""
    from sdperf.stats.paired import DEFAULT_LOOKS

    return dataclasses.replace(
        read_shared_options(arguments),
        looks=arguments.looks or DEFAULT_LOOKS,
        budget_s=arguments.time,
        null_control=not arguments.no_control,
        stages=not arguments.no_stages,
        b_first=None if arguments.first is None else arguments.first == "B",
    )


def find_status(compared: Compared, verdict: AbVerdict, *, strict: bool) -> int:
    """Return the exit status of a comparison."""
    if compared.record.was_interrupted:
        return 130
    if verdict.void is not None:
        return 6
    outcome = verdict.outcome
    return 1 if outcome.is_failure or (strict and outcome.is_open) else 0


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written, before anything is measured."""
    options = ("json", "markdown")
    check_output_files({f"--{option}": getattr(arguments, option) for option in options})
    images = arguments.images
    if images is not None and images.exists() and not images.is_dir():
        raise ConfigurationError("--images is no folder", got=str(images))
    if images is not None:
        check_outputs([Output("--images", images.absolute(), is_folder=True)])
    check_temporary_folder()


def _print(compared: Compared, verdict: AbVerdict, form: str) -> None:
    from sdperf.report.markdown.ab import format_comparison_json, format_comparison_markdown
    from sdperf.report.text.ab import format_comparison

    if form == "json":
        print(format_comparison_json(compared.record), end="")
    elif form == "markdown":
        print(format_comparison_markdown(compared.record, verdict), end="")
    else:
        print_lines(format_comparison(compared.record, verdict))


def _write(compared: Compared, verdict: AbVerdict, arguments: argparse.Namespace) -> None:
    from sdperf.report.markdown.ab import (
        compose_pictures,
        format_comparison_json,
        format_comparison_markdown,
    )
    from sdperf.store.files import encode_text, write_atomically

    try:
        if arguments.json is not None:
            write_atomically(arguments.json, encode_text(format_comparison_json(compared.record)))
        if arguments.markdown is not None:
            text = format_comparison_markdown(compared.record, verdict)
            write_atomically(arguments.markdown, encode_text(text))
        if arguments.images is not None:
            for name, png in compose_pictures(compared.record, compared.pngs):
                write_atomically(arguments.images / name, png)
    except OSError as error:
        raise ConfigurationError(
            "a result cannot be written", got=f"{error.filename}: {error.strerror}"
        ) from error


def _parse_looks(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    looks = tuple(int(part) for part in parts if part.isdecimal())
    if len(looks) != len(parts) or looks[0] < 4 or list(looks) != sorted(set(looks)):
        raise ValueError(_LOOKS.expected)
    return looks


_LOOKS: Final = Kind("a rising list from 4 on, such as 4,6,9,12", _parse_looks)
