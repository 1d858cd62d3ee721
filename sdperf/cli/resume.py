"""``sdperf resume``: go on with the pytest session that was interrupted here."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.errors import ConfigurationError
from sdperf.settings import RESUME

if TYPE_CHECKING:
    from sdperf.store.journal import JournalContent

_EPILOG: Final = f"""\
Every case that a session finished is on the disk before the next one begins (.sdperf/journal). This
command types the session's own command again, with {RESUME}: what was finished is not measured
again, if code, settings, machine and model are the same; else it says what differs.

exit status: pytest's own (docs/verdicts.md), 2 there is nothing to resume

examples:
  sdperf resume             go on where the last session was interrupted
  sdperf resume --forget    remove what interrupted sessions left, and measure afresh
"""
RESUME_FLAG: Final = str(RESUME)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "resume",
        help="go on with a pytest session that was interrupted",
        description="Go on with the pytest session that was interrupted in this folder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--forget", action="store_true", help="remove what interrupted sessions left instead"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the interrupted session's command again; return its exit status."""
    from sdperf.store.journal import list_journals, read_journal

    root = find_root(Path.cwd())
    if root is None:
        raise ConfigurationError(
            "there is no interrupted session here",
            got=f"nothing in {Path.cwd() / '.sdperf' / 'journal'} or above",
            hint="pytest benchmarks",
        )
    if arguments.forget:
        return _forget(root)
    content = read_journal(list_journals(root)[-1])
    command = make_command(content)
    folder = Path(content.head.folder)
    if not folder.is_dir():
        raise ConfigurationError(
            "the folder that pytest was called in is gone",
            got=ascii(content.head.folder),
            hint="sdperf resume --forget",
        )
    print(f"in {_escape(str(folder))}: {_escape(shlex.join(command[1:]))}", flush=True)
    return subprocess.run(command, cwd=folder, check=False).returncode


def find_root(folder: Path) -> Path | None:
    """Return the nearest folder, this one or above it, in which a session was interrupted."""
    from sdperf.store.journal import list_journals

    return next((one for one in (folder, *folder.parents) if list_journals(one)), None)


def make_command(content: JournalContent) -> list[str]:
    """Return the command that goes on with a session. Pure.

    Only pytest is run, by this interpreter and in the folder in which it was called then: like any
    ``pytest`` there it runs that folder's own tests.
    """
    given = [one for one in content.head.arguments if one != RESUME_FLAG]
    separator = given.index("--") if "--" in given else len(given)
    return [
        sys.executable,
        "-m",
        "pytest",
        *given[:separator],
        RESUME_FLAG,
        *given[separator:],
    ]


def _forget(root: Path) -> int:
    from sdperf.store.journal import remove_oldest
    from sdperf.store.session_lock import FolderLock

    try:
        lock = FolderLock.take(root / ".sdperf")
        try:
            count = remove_oldest(root, 0)
        finally:
            lock.release()
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or root} cannot be written", got=error.strerror
        ) from error
    print(f"removed the journals of {count} interrupted sessions in {root / '.sdperf'}")
    return 0


def _escape(text: str) -> str:
    """Return a text from a file without control characters."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
