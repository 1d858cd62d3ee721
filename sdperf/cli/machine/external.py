"""``sdperf external check``: does a program that draws keep the contract of external engines?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.options import add_setting
from sdperf.cli.shared.output import print_lines
from sdperf.settings import (
    DEVICE,
    GUIDANCE,
    MODEL,
    OWN_GUIDANCE,
    PRECISION,
    SEED,
    SIZE,
    STEPS,
    THREADS,
    TIMEOUT,
    kinds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sdperf.engines.external.check.trying import CheckResult
    from sdperf.report.text.lines import Line

_STEPS: Final = 4
_SEED: Final = 1
_TIMEOUT_S: Final = 600.0
_COLOURS: Final = {"kept": "", "broken": "red", "unknown": "yellow"}
_MARKS: Final = {"kept": "ok", "broken": "BROKEN", "unknown": "?"}

_EPILOG: Final = """\
Two dozen small pictures are drawn, in one process and in a fresh one. COMMAND is the program with
its arguments, or NAME of a table [external.NAME] in sdperf.toml (FILE.toml:NAME in another file).
docs/external.md says what a program is asked and what it answers.

A program that hides on purpose is not found out: this is for honest mistakes and lucky caches.

exit status: 0 every clause is kept or cannot be told, 1 one is broken, 2 the program cannot be
started or speaks another version of the protocol

examples:
  sdperf external check 'python adapter.py'
  sdperf external check --size 256x256 --steps 8 mflux
  sdperf external check './draw.sh {prompt} {seed} {out}'
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "external",
        help="check a program of yours that draws: seeds, steps, size, time, end",
        description="Compare a program that draws with the contract of external engines.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("check",), help="what to do")
    parser.add_argument("program", metavar="COMMAND", help="the program with its arguments")
    add_setting(parser, STEPS, default=_STEPS)
    add_setting(parser, SIZE, shown="the program's own")
    add_setting(parser, GUIDANCE, shown=f"{OWN_GUIDANCE}, the program's own")
    add_setting(parser, SEED, default=_SEED)
    precision = PRECISION.taking(kinds.choice(("fp32", "fp16", "bf16")), PRECISION.about)
    add_setting(parser, precision, default="fp32")
    add_setting(
        parser, THREADS.taking(kinds.whole(1, 1024), "CPU threads that it may use"), default=1
    )
    add_setting(parser, MODEL, shown="the program's own")
    add_setting(parser, DEVICE, default="auto")
    add_setting(parser, TIMEOUT, default=_TIMEOUT_S)
    parser.add_argument(
        "--needs-picture",
        action="store_true",
        help="it draws nothing from the prompt alone: start every picture from the one that ships",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check the program."""
    from sdperf.engines.external.check.trying import CheckRequest, check_program
    from sdperf.engines.external.program import LoadRequest
    from sdperf.engines.external.starting import read_engine
    from sdperf.record.workload import EXTERNAL

    guidance, model = arguments.guidance, arguments.model or ""
    folder = str(Path(model).absolute()) if model and Path(model).is_dir() else ""
    request = CheckRequest(
        named=read_engine(EXTERNAL + arguments.program.removeprefix(EXTERNAL)),
        seed=arguments.seed,
        steps=arguments.steps,
        size=arguments.size,
        guidance=guidance if isinstance(guidance, int | float) else None,
        threads=arguments.threads,
        load=LoadRequest(model, folder, arguments.precision, arguments.device),
        limit_s=arguments.timeout,
        needs_picture=arguments.needs_picture,
    )
    result = check_program(request)
    print_lines(_format(result))
    return 0 if result.is_kept else 1


def _format(result: CheckResult) -> Iterator[Line]:
    """Format the results, one line per clause."""
    from sdperf.report.text.lines import Line
    from sdperf.report.text.wrapping import wrap_text
    from sdperf.streams import strip_controls
    from sdperf.units import format_quantity

    facts = result.facts
    if facts is not None:
        told = ", ".join(facts.accepts) or "nothing else"
        on = " ".join(filter(None, (facts.device, facts.device_name)))
        yield Line(f"{facts.name} {facts.version}: {facts.model} on {on}, in {facts.precision}")
        yield Line(f"can be told prompt, seed and: {told}")
    width = max(len(one.name) for one in result.clauses)
    for one in result.clauses:
        first = f"  {_MARKS[one.state]:<6}  {one.name:<{width}}  "
        words = strip_controls(one.words)
        wrapped = wrap_text(words, initial_indent=first, subsequent_indent=" " * len(first))
        for text in wrapped:
            yield Line(text, _COLOURS[one.state])
    broken = sum(one.state == "broken" for one in result.clauses)
    clauses = format_quantity(broken, "clause")
    verdict = f"breaks {clauses} of the contract" if broken else "keeps the contract"
    yield Line(f"{verdict}, {format_quantity(result.pictures, 'picture')}", bold=True)
