"""``sdperf figures``: the report's figures as SVG and PNG, for papers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from sdperf.cli.runs.report import add_run_arguments, load_machine_trends, load_machines
from sdperf.errors import ConfigurationError
from sdperf.outputs import check_result
from sdperf.store.files import encode_text, write_atomically

_EPILOG: Final = """\
The same figures as in the report, drawn from the same data: SVG with outlined texts, PNG at 200
dots an inch, and the numbers of each as CSV.

exit status: 0 written, 2 a file or the command line cannot be used

examples:
  sdperf figures -o figures
  sdperf figures before.json after.json -o figures
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "figures",
        help="write the report's figures as SVG and PNG",
        description="Write the report's figures as SVG and PNG. Loads no torch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("figures"), metavar="DIR",
        help="folder to write to (figures)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Read the runs, draw, write."""
    from sdperf.report.figures import draw_all
    from sdperf.report.figures.drawn import format_csv
    from sdperf.report.figures.machines import draw_machines
    from sdperf.report.figures.style import render_png, render_svg
    from sdperf.report.html.files import require_drawing

    require_drawing()
    check_result("-o", arguments.output, is_folder=True)
    machines, source = load_machines(arguments.runs, arguments.baselines, command="sdperf figures")
    trends = load_machine_trends(machines, arguments)
    folder: Path = arguments.output
    named = [
        (f"machine-{number}-{drawn.name}" if len(machines) > 1 else drawn.name, drawn)
        for number, machine in enumerate(machines, start=1)
        for drawn in draw_all(machine, source, trends[machine.machine])
    ]
    across = draw_machines(machines)
    named += [] if across is None else [(across.name, across)]
    try:
        for name, drawn in named:
            write_atomically(folder / f"{name}.svg", render_svg(drawn.figure))
            write_atomically(folder / f"{name}.png", render_png(drawn.figure))
            write_atomically(folder / f"{name}.csv", encode_text(format_csv(drawn.table)))
            print(f"{folder / name}.svg, .png, .csv: {drawn.title}")
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written", got=error.strerror) from error
    return 0
