"""``sdperf baseline``: accept, list, show and reject the sessions for later comparisons."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sdperf.cli.shared.options import add_baselines, require_baselines
from sdperf.cli.shared.output import print_texts
from sdperf.errors import ConfigurationError
from sdperf.report.text.session.baselines import format_accepted, format_list, format_session
from sdperf.report.text.session.controls import format_control_record
from sdperf.report.text.wrapping import WIDTH, wrap_text
from sdperf.store.baselines import DEFAULT_FOLDER, BaselineStore
from sdperf.store.controls import CONTROL_LOG, merge_controls, read_controls
from sdperf.store.last_run import LAST_RUN, find_last_run
from sdperf.store.runs import read_run
from sdperf.units import format_quantity

_EPILOG: Final = """\
A baseline changes only here: no run ever accepts itself, and a run in which anything failed is
refused. Accepted sessions are files of your project: commit them. With five of one machine the
statistical gate binds; accept sessions of different days, one pytest run each.

exit status: 0 done, 2 refused

examples:
  pytest benchmarks && sdperf baseline accept --reason "first baseline of the M4"
  sdperf baseline accept run.json --reason "new scheduler, 8 % slower" --intended-change
  sdperf baseline list
  sdperf baseline show 3
  sdperf baseline reject 3
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "baseline",
        help="accept, list, show or reject baselines",
        description="Manage the accepted sessions of this project.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    accept = actions.add_parser("accept", help="make a run a baseline")
    accept.add_argument(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help=f"a saved pytest-benchmark JSON (the last run, {LAST_RUN})",
    )
    accept.add_argument("--reason", required=True, help="why this is right, for the record")
    accept.add_argument(
        "--intended-change",
        action="store_true",
        help="accept what was slower, heavier or looks different: the change is meant",
    )
    listing = actions.add_parser("list", help="list the accepted sessions of every machine")
    show = actions.add_parser("show", help="show one accepted session")
    reject = actions.add_parser("reject", help="take an accepted session out again")
    for one in (show, reject):
        one.add_argument("session", metavar="SESSION", help="its number, name or file")
        one.add_argument("--fingerprint", help="where two machines have that number")
    for one in (accept, listing, show, reject):
        add_baselines(one, Path(DEFAULT_FOLDER))


def run(arguments: argparse.Namespace) -> int:
    """Do the requested action and print the result."""
    actions: dict[str, Callable[[BaselineStore, argparse.Namespace], list[str]]] = {
        "accept": _accept,
        "list": _list,
        "show": _show,
        "reject": _reject,
    }
    if arguments.action != "accept":
        require_baselines(arguments.baselines)
    store = BaselineStore(arguments.baselines)
    try:
        lines = actions[arguments.action](store, arguments)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or arguments.baselines} cannot be written",
            got=error.strerror,
            expected="a folder that can be written",
            hint="choose another folder: --baselines FOLDER",
        ) from error
    print_texts(piece for line in lines for piece in _fit(line))
    return 0


def _fit(line: str) -> list[str]:
    """Break a line that is too wide, at its spaces."""
    return [line] if len(line) <= WIDTH else wrap_text(line, subsequent_indent="    ")


def _accept(store: BaselineStore, arguments: argparse.Namespace) -> list[str]:
    path: Path = arguments.run or find_last_run("sdperf baseline accept --reason TEXT")
    accepted = store.accept(
        read_run(path), reason=arguments.reason, intended_change=arguments.intended_change
    )
    return format_accepted(accepted, store.load(accepted.fingerprint))


def _list(store: BaselineStore, _: argparse.Namespace) -> list[str]:
    if store.is_empty():
        return [f"no baselines in {store.folder}; next: sdperf baseline accept --reason TEXT"]
    return format_list(store.load_all())


def _show(store: BaselineStore, arguments: argparse.Namespace) -> list[str]:
    session = store.find(arguments.session, arguments.fingerprint)
    return [*format_session(session), *describe_controls(store, session.fingerprint)]


def describe_controls(store: BaselineStore, fingerprint: str) -> list[str]:
    """Count the null controls on a kind of machine, and how many of them failed.

    Accepted sessions and the log of this folder are counted together, each control once.

    Raises:
        RecordError: An accepted session is damaged, or the log cannot be read.
    """
    log = read_controls(Path(CONTROL_LOG), fingerprint)
    accepted = (one.run.summary for one in store.load(fingerprint))
    kept = [
        one.null_control for one in accepted if one is not None and one.null_control is not None
    ]
    return format_control_record(merge_controls(log.controls, kept), log.damaged)


def _reject(store: BaselineStore, arguments: argparse.Namespace) -> list[str]:
    session = store.find(arguments.session, arguments.fingerprint)
    removed = store.reject(session)
    images = len(removed) - 1
    drawn = format_quantity(images, "image")
    return [f"rejected {session.run.path} and {drawn} that nothing else needs"]
