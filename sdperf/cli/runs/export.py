"""``sdperf export``: a saved run in the formats of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.errors import ConfigurationError
from sdperf.outputs import check_result
from sdperf.store.last_run import LAST_RUN, find_last_run

if TYPE_CHECKING:
    from sdperf.report.export import ExportedCase

FORMATS: Final = ("github-action-benchmark", "bencher", "junit")
_EPILOG: Final = """\
What is exported of each case: seconds per image with the interval of their median, images per
second, peak memory, GPU energy per image, the lowest SSIM (whole frame and worst tile) and the
lowest entropy of its images.

github-action-benchmark reads one direction from a file: export twice, with --better smaller
(latency, memory, energy: customSmallerIsBetter) and --better bigger (SSIM, entropy, images per
second: customBiggerIsBetter).

exit status: 0 done, 2 the run cannot be used

examples:
  sdperf export --format bencher -o bmf.json && bencher run --adapter json --file bmf.json
  sdperf export run.json --format github-action-benchmark --better bigger -o quality.json
  sdperf export run.json --format junit -o sdperf.xml
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "export",
        help="a saved run in the formats of other tools",
        description="Write a saved run out for github-action-benchmark, Bencher or JUnit readers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help=f"any pytest-benchmark JSON with stats.data (the last run, {LAST_RUN})",
    )
    parser.add_argument(
        "--format", choices=FORMATS, required=True, help="which tool's format to write"
    )
    parser.add_argument(
        "--better",
        choices=("smaller", "bigger"),
        default="smaller",
        help="for github-action-benchmark: which figures (smaller)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("-"), metavar="FILE", help="- prints it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Read the run, lay it out, write it."""
    from sdperf.report import export
    from sdperf.store.files import encode_text, write_atomically

    if arguments.output != Path("-"):
        check_result("-o", arguments.output)
    path = arguments.run or find_last_run(f"sdperf export --format {arguments.format}")
    cases, when = load_cases(path)
    if arguments.format == "bencher":
        text = export.format_bencher(cases)
    elif arguments.format == "junit":
        text = export.format_junit(cases, when)
    else:
        text = export.format_github_action_benchmark(cases, arguments.better)
    if arguments.output == Path("-"):
        print(text)
        return 0
    try:
        write_atomically(arguments.output, encode_text(text))
    except OSError as error:
        raise ConfigurationError(
            f"{arguments.output} cannot be written", got=error.strerror
        ) from error
    return 0


def load_cases(path: Path) -> tuple[list[ExportedCase], str | None]:
    """Read a run's cases, also those without a measurement, and the time of the run.

    Raises:
        RecordError: The run cannot be used.
    """
    from sdperf.record.verdict import Outcome
    from sdperf.report.export import ExportedCase, list_figures
    from sdperf.store.runs import read_run

    saved = read_run(path, needs_rounds=True)
    known = {outcome.value: outcome for outcome in Outcome}
    outcomes = {} if saved.summary is None else dict(saved.summary.outcomes)
    cases = []
    for name, case in saved.cases.items():
        word = outcomes.pop(name, None) or case.outcome
        cases.append(
            ExportedCase(
                name=name,
                figures=list_figures(case.rounds_s, case.measurement),
                total_s=sum(case.rounds_s),
                outcome=known.get(word or ""),
                reasons=tuple(
                    f"{one.outcome.value}: {one.reason}"
                    for one in case.findings
                    if one.outcome.is_failure
                ),
            )
        )
    cases += [
        ExportedCase(name, (), 0.0, known[word]) for name, word in outcomes.items() if word in known
    ]
    when = saved.document.get("datetime")
    return cases, when if isinstance(when, str) else None
