"""``sdperf resume``: continue the pytest session that was interrupted here."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.errors import ConfigurationError
from sdperf.settings import RESUME
from sdperf.shell import join_command, join_step
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.store.journal import JournalContent

_EPILOG: Final = f"""\
Every case that a session finished is on the disk before the next one begins (.sdperf/journal). This
command types the session's own command again, with {RESUME}: what was finished is not measured
again, if code, settings, machine and model are the same; else it says what differs. A journal that
git tracks, one of another folder, and options such as --basetemp or -p are left for you to type.

exit status: pytest's own (docs/verdicts.md), 2 there is nothing to resume

examples:
  sdperf resume             go on where the last session was interrupted
  sdperf resume --forget    remove what interrupted sessions left, and measure afresh
"""
RESUME_FLAG: Final = str(RESUME)

_RISKY: Final = frozenset(
    {
        *("--basetemp", "--config-file", "--rootdir", "--override-ini", "--confcutdir"),
        *("--import-mode", "--pastebin"),
    }
)
"""Long options of pytest that remove a folder, read another configuration, or send results away."""
_RISKY_LETTERS: Final = "cop"
"""Short options that do the same: ``-c FILE``, ``-o KEY=VALUE`` and ``-p PLUGIN``."""
_VALUED: Final = "kmrnW"
"""Other short options of pytest and pytest-xdist whose value may follow without a blank."""


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
    from sdperf.store.journal import choose_journal, list_journals, read_journal

    root = find_root(Path.cwd())
    if root is None:
        raise ConfigurationError(
            "there is no interrupted session here",
            got=f"nothing in {Path.cwd() / '.sdperf' / 'journal'} or above",
            hint="pytest benchmarks",
        )
    if arguments.forget:
        return _forget(root)
    content = read_journal(choose_journal(list_journals(root)))
    _refuse_tracked(content.path)
    command = make_command(content)
    folder = Path(content.head.folder)
    if not folder.is_dir():
        raise ConfigurationError(
            "the folder that pytest was called in is gone",
            got=ascii(content.head.folder),
            hint="sdperf resume --forget",
        )
    typed = join_step(
        join_command(["cd", str(folder)]), " && ", join_command(["pytest", *command[3:]])
    )
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ConfigurationError(
            "the session was called in another folder than its journal lies in",
            got=ascii(content.head.folder),
            expected=f"{root}, or a folder in it",
            hint=f"if that session was yours, type: {typed}",
        )
    risky = find_risky_option(content.head.arguments)
    if risky is not None:
        raise ConfigurationError(
            "sdperf resume does not type an option that can remove files or lead pytest elsewhere",
            got=_escape(risky),
            hint=f"if you typed it, type it again: {typed}",
        )
    called = join_command(["python", *command[1:]])
    print(f"in {_escape(str(folder))}: {called}", flush=True)
    return subprocess.run(command, cwd=folder, check=False).returncode


def find_root(folder: Path) -> Path | None:
    """Return the nearest folder, this one or above it, in which a session was interrupted."""
    from sdperf.store.journal import list_journals

    return next((one for one in (folder, *folder.parents) if list_journals(one)), None)


def make_command(content: JournalContent) -> list[str]:
    """Return the command that continues a session. Pure.

    Only pytest is run, by this interpreter and in the folder of the earlier call. Like any
    ``pytest`` there, it runs that folder's own tests.
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


def find_risky_option(arguments: Sequence[str]) -> str | None:
    """Return the first word that can make pytest remove files or read unusual ones. Pure.

    Words are read by pytest's rules: letters may be combined (``-qp plugin``), long options are not
    shortened, ``@file`` adds words that are unknown here, and ``--`` does not protect.
    """
    letters = re.compile(f"-[^-{_VALUED}{_RISKY_LETTERS}]*[{_RISKY_LETTERS}]")
    pairs = zip(arguments, (*arguments[1:], ""), strict=True)
    for word in (word for word, next_one in pairs if not _leaves_out(word, next_one)):
        if word.startswith("@") or word.partition("=")[0] in _RISKY or letters.match(word):
            return word
    return None


def _leaves_out(word: str, next_one: str) -> bool:
    """Tell whether a word is the ``-p`` of ``-p no:NAME``, which only leaves a plugin out."""
    return (word == "-p" and next_one.startswith("no:")) or word.startswith("-pno:")


def _refuse_tracked(path: Path) -> None:
    """Refuse a journal that came with a repository, since its writer chose the command in it."""
    from sdperf.git.links import is_tracked, refuse_tracked_links

    if is_tracked(path):
        raise ConfigurationError(
            "the journal came with the repository: it is no session of yours",
            got=f"{path}, which git tracks",
            hint="take it out with git rm -r --cached .sdperf; then sdperf resume --forget",
        )
    refuse_tracked_links("session", path)


def _forget(root: Path) -> int:
    from sdperf.git.links import refuse_tracked_links
    from sdperf.store.journal import list_journals, remove_oldest
    from sdperf.store.session_lock import LOCK_FILE, FolderLock

    refuse_tracked_links("session", root / ".sdperf" / LOCK_FILE, *list_journals(root))
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
    left = format_quantity(count, "interrupted session")
    journals = "journal" if count == 1 else "journals"
    print(f"removed the {journals} of {left} in {root / '.sdperf'}")
    return 0


def _escape(text: str) -> str:
    """Return a text from a file without control characters."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
