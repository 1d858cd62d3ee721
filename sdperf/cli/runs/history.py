"""``sdperf history``: import, list, show, export and prune the kept runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.options import COUNT, add_format, add_option
from sdperf.cli.shared.output import print_texts
from sdperf.errors import ConfigurationError
from sdperf.outputs import check_result
from sdperf.settings import HISTORY
from sdperf.streams import CLEAR_LINE
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.store.history.database import Database
    from sdperf.store.history.reading import Filters, RunHead

_EPILOG: Final = f"""\
Every pytest run that measured a case keeps itself here ({HISTORY}), also one that failed. The
history is an SQLite file, .sdperf/history.db, or a PostgreSQL database that a team shares:

  export SDPERF_HISTORY=postgresql://sdperf@server/sdperf     # pip install 'sdperf[postgres]'

Importing is safe to repeat: a run is known by its content.

exit status: 0 done, 1 some files hold no run (the others went in), 2 the input cannot be used

examples:
  sdperf history import .benchmarks benchmarks/baselines
  sdperf history list --branch main --limit 50
  sdperf history show 12
  sdperf history export 12 13 -o runs/
  sdperf history prune --before 2026-01-01 --dry-run
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "history",
        help="the runs that were kept: import, list, show, export, prune",
        description="Manage the history of runs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    importing = actions.add_parser("import", help="take saved runs in")
    importing.add_argument(
        "places", nargs="+", type=Path, metavar="FOLDER|FILE", help="pytest-benchmark JSON"
    )
    add_option(importing, "--processes", COUNT, "how many read the files", shown="automatic")
    listing = actions.add_parser("list", help="list runs, the newest first")
    show = actions.add_parser("show", help="show one run")
    show.add_argument("run", metavar="RUN", help=_RUN)
    export = actions.add_parser("export", help="write runs out as pytest-benchmark JSON")
    export.add_argument("runs", nargs="*", metavar="RUN", help=f"{_RUN}; none: all that are meant")
    export.add_argument(
        "-o", "--output", type=Path, default=Path("-"), metavar="DIR", help="folder; - prints one"
    )
    prune = actions.add_parser("prune", help="remove runs; the first of each series always stay")
    add_option(prune, "--keep", COUNT, "how many of the latest stay", default=0)
    prune.add_argument(
        "--only-documents",
        action="store_true",
        help="remove whole runs, keep the figures that lists and trends need",
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    for one in (listing, export, prune):
        one.add_argument("--case", metavar="PATTERN", help="runs that hold such a case")
        one.add_argument("--branch", help="runs of this branch")
        one.add_argument("--commit", metavar="PREFIX", help="runs of this commit")
        one.add_argument("--since", type=parse_date, metavar="DATE", help="from this day on (UTC)")
        one.add_argument("--before", type=parse_date, metavar="DATE", help="before this day")
    add_option(listing, "--limit", COUNT, "how many are listed", default=20)
    for one in (listing, show):
        add_format(one, "table", "json")
    for one in (importing, listing, show, export, prune):
        add_history_option(one)


_RUN: Final = "its number, or the beginning of its hash or commit"


_SQLITE: Final = "sqlite:///"


def add_history_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--history URL``."""
    parser.add_argument(
        HISTORY.flag,
        metavar=HISTORY.metavar,
        help=f"SQLite file, or URL of a database ({HISTORY.usual})",
    )


def open_given(arguments: argparse.Namespace, *, create: bool = False) -> Database:
    """Open the history that the command line names.

    Raises:
        ConfigurationError: The history does not exist, or its URL cannot be used.
        RecordError: The history is damaged or cannot be reached.
    """
    from sdperf.store.history.database import locate_history, open_database

    return open_database(locate_history(arguments.history, Path.cwd()), create=create)


def run(arguments: argparse.Namespace) -> int:
    """Do the requested action and print the result."""
    actions: dict[str, Callable[[Database, argparse.Namespace], int]] = {
        "import": _import,
        "list": _list,
        "show": _show,
        "export": _export,
        "prune": _prune,
    }
    is_import = arguments.action == "import"
    if is_import:
        from sdperf.store.history.database import locate_history
        from sdperf.store.history.importing import require_places

        require_places(arguments.places)
        place = locate_history(arguments.history, Path.cwd())
        if place.startswith(_SQLITE):
            check_result(HISTORY.flag, Path(place.removeprefix(_SQLITE)))
    database = open_given(arguments, create=is_import)
    try:
        return actions[arguments.action](database, arguments)
    finally:
        database.close()


def _import(database: Database, arguments: argparse.Namespace) -> int:
    from sdperf.store.history.importing import ImportReport, import_files, list_run_files

    is_live = sys.stderr.isatty()

    def show(report: ImportReport) -> None:
        if is_live:
            print(f"\r{report.added} added, {report.known} known", end="", file=sys.stderr)

    report = import_files(
        database, list_run_files(arguments.places), processes=arguments.processes, show=show
    )
    if is_live:
        print(CLEAR_LINE, end="", file=sys.stderr)
    for path, reason in report.refused:
        where = "" if reason.startswith(str(path)) else f"{path}: "
        print(f"skipped: {where}{reason}", file=sys.stderr)
    print(
        f"{format_quantity(report.added, 'run')} added, {report.known} were there, "
        f"{format_quantity(len(report.refused), 'file')} skipped"
    )
    return 1 if report.refused else 0


def _list(database: Database, arguments: argparse.Namespace) -> int:
    from sdperf.report.text.history import format_runs, format_runs_json
    from sdperf.store.history.reading import count_runs, list_runs

    filters = _read_filters(arguments)
    heads = list_runs(database, filters, limit=arguments.limit)
    if arguments.format == "json":
        print(format_runs_json(heads))
    else:
        print_texts(format_runs(heads, count_runs(database, filters)))
    return 0


def _show(database: Database, arguments: argparse.Namespace) -> int:
    from sdperf.report.text.history import format_run, format_run_json
    from sdperf.store.history.reading import find_run, load_results

    head = find_run(database, arguments.run)
    results = load_results(database, head.id)
    if arguments.format == "json":
        print(format_run_json(head, results))
    else:
        print_texts(format_run(head, results))
    return 0


def _export(database: Database, arguments: argparse.Namespace) -> int:
    from sdperf.store.files import write_atomically
    from sdperf.store.history.reading import find_run, list_run_ids, load_document

    names: list[str] = arguments.runs
    names = names or [str(run_id) for run_id in list_run_ids(database, _read_filters(arguments))]
    to_folder = arguments.output != Path("-")
    if not to_folder and len(names) != 1:
        raise ConfigurationError(
            "only one run can be printed",
            got=format_quantity(len(names), "run"),
            hint="-o FOLDER",
        )
    if to_folder:
        check_result("-o", arguments.output, is_folder=True)
    lost = 0
    for name in names:
        head = find_run(database, name)
        document = load_document(database, head.id)
        if document is None:
            print(f"run {head.id}: only its figures were kept", file=sys.stderr)
            lost += 1
            continue
        content = json.dumps(document, indent=1, allow_nan=False) + "\n"
        if not to_folder:
            print(content, end="")
            continue
        try:
            write_atomically(arguments.output / _name_file(head), content.encode())
        except OSError as error:
            raise ConfigurationError(
                f"{arguments.output} cannot be written", got=error.strerror
            ) from error
    if to_folder:
        print(f"{format_quantity(len(names) - lost, 'run')} written to {arguments.output}")
    return 1 if lost else 0


def _name_file(head: RunHead) -> str:
    """Name a run like pytest-benchmark does: number, commit, time."""
    commit = "".join(c for c in (head.commit_id or "")[:10] if c.isalnum()) or "nocommit"
    return f"{head.id:04}_{commit}_{head.measured_at:%Y%m%d_%H%M%S}_{head.content_sha256[:8]}.json"


def _prune(database: Database, arguments: argparse.Namespace) -> int:
    from sdperf.judging.trend.changes import ANCHOR_RUNS
    from sdperf.store.history.pruning import plan_pruning, prune_runs
    from sdperf.store.history.reading import Filters

    filters = _read_filters(arguments)
    if filters == Filters() and not arguments.keep:
        raise ConfigurationError(
            "this would remove every run",
            expected="which runs: --before DATE, --keep N, --branch NAME, ...",
        )
    plan = plan_pruning(database, filters, keep_latest=arguments.keep, anchor_runs=ANCHOR_RUNS)
    what = "whole runs, but not their figures" if arguments.only_documents else "runs"
    stays = f"; {plan.anchors} stay as anchors or baselines" if plan.anchors else ""
    if arguments.dry_run:
        print(f"would remove {len(plan.run_ids)} {what}{stays}")
        return 0
    gone = prune_runs(database, plan.run_ids, only_documents=arguments.only_documents)
    print(f"removed {gone} {what}{stays}")
    return 0


def _read_filters(arguments: argparse.Namespace) -> Filters:
    from sdperf.store.history.reading import Filters

    return Filters(
        case=arguments.case,
        branch=arguments.branch,
        commit=arguments.commit,
        since=arguments.since,
        before=arguments.before,
    )


def parse_date(text: str) -> datetime:
    """Read a date such as ``2026-11-23`` or a time; without a zone it is UTC.

    Raises:
        argparse.ArgumentTypeError: The text is neither.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-11-23") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
