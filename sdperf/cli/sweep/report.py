"""Collects what a sweep's answer needs from what was kept, and writes it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sdperf import __version__
from sdperf.cli.sweep.question import StepNames, format_command
from sdperf.errors import ConfigurationError
from sdperf.record.verdict import shorten_case
from sdperf.report.markdown.sweep import format_sweep_markdown
from sdperf.store.files import encode_text, write_atomically
from sdperf.sweep.summary import SweepContext, SweepSummary, format_sweep_json, summarise_sweep

if TYPE_CHECKING:
    from sdperf.sweep.state import SweepFolder
    from sdperf.sweep.sweeping import SweepConclusion


def summarise(
    conclusion: SweepConclusion,
    kept: SweepFolder,
    names: StepNames,
    arguments: argparse.Namespace,
) -> SweepSummary:
    """Read the first comparison, which says where all of this was measured, and summarise."""
    files = [one.comparison for one in conclusion.state.pairs if one.comparison]
    first = kept.read_comparison(files[0]) if files else None
    context = SweepContext(
        names=names.short,
        titles=names.titles,
        environment=None if first is None else first.environment,
        model_hash="" if first is None else first.a.model_hash,
        command=format_command(arguments, conclusion.state.question),
        version=__version__,
    )
    return summarise_sweep(conclusion, context)


def write_files(summary: SweepSummary, arguments: argparse.Namespace) -> list[Path]:
    """Write what was asked for, each file whole or not at all.

    Returns:
        Where.

    Raises:
        ConfigurationError: Something cannot be written.
    """
    contents: dict[Path, bytes] = {}
    if arguments.json is not None:
        contents[arguments.json] = encode_text(format_sweep_json(summary))
    if arguments.markdown is not None:
        contents[arguments.markdown] = encode_text(format_sweep_markdown(summary))
    if arguments.figures is not None:
        contents |= dict(_draw(summary, arguments.figures))
    try:
        for path, content in contents.items():
            write_atomically(path, content)
    except OSError as error:
        raise ConfigurationError(
            "the answer cannot be written",
            got=f"{error.filename}: {error.strerror}",
            hint="make room and ask again: nothing is measured twice",
        ) from error
    if arguments.html is None:
        return list(contents)
    return [*contents, _write_page(summary, arguments.html)]


def explain_undrawn(summary: SweepSummary, arguments: argparse.Namespace) -> Iterator[str]:
    """Say of which cases there is no figure although one was asked for, and why."""
    if arguments.figures is None and arguments.html is None:
        return
    from sdperf.report.figures.sweep import draw_sweep

    for number, curve in enumerate(summary.curves):
        if draw_sweep(summary, number) is None:
            case = f" of {shorten_case(curve.case)}" if len(summary.curves) > 1 else ""
            yield f"no figure{case}: it takes two versions that were measured"


def keep_in_history(summary: SweepSummary, given: str | None, here: Path) -> str | None:
    """Keep the versions in the history; a sweep is never lost or failed by it.

    Args:
        summary: The sweep.
        given: A URL or file, ``off`` for nowhere, ``None`` for the usual place.
        here: Folder that the usual file lies below.

    Returns:
        What went wrong, if anything did.
    """
    if given == "off":
        return None
    try:
        from sdperf.store.history.database import locate_history, open_database
        from sdperf.store.history.sweeps import keep_sweep
        from sdperf.sweep.series import list_versions

        versions = list_versions(summary)
        if not versions:
            return None
        database = open_database(locate_history(given, here), create=True)
        try:
            keep_sweep(database, summary.question.key(), versions)
        finally:
            database.close()
    except Exception as error:  # noqa: BLE001 (whatever it is, the sweep is worth more)
        return (
            f"history: the versions were not kept: {error}; ask the same again: nothing is "
            "measured twice"
        )
    return None


def _draw(summary: SweepSummary, folder: Path) -> Iterator[tuple[Path, bytes]]:
    from sdperf.report.figures.drawn import format_csv
    from sdperf.report.figures.style import render_png, render_svg
    from sdperf.report.figures.sweep import draw_sweep

    for number in range(len(summary.curves)):
        drawn = draw_sweep(summary, number)
        if drawn is not None:
            yield folder / f"{drawn.name}.svg", render_svg(drawn.figure)
            yield folder / f"{drawn.name}.png", render_png(drawn.figure)
            yield folder / f"{drawn.name}.csv", encode_text(format_csv(drawn.table))


def _write_page(summary: SweepSummary, path: Path) -> Path:
    from sdperf.report.html.files import write_report
    from sdperf.report.pictures.pictures import locate_pictures

    write_report(path, [], locate_pictures([]), sweeps=[summary])
    return path
