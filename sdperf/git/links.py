"""What came with a git repository, and so was chosen by its writer: files, and links on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sdperf.errors import ConfigurationError
from sdperf.git.command import run_git


def is_tracked(path: Path) -> bool:
    """Tell whether git tracks a file, which then belongs to the repository.

    Links are followed; without git, or outside a git repository, no file is tracked.
    """
    resolved = path.resolve()
    try:
        return _is_listed(resolved)
    except ConfigurationError:
        return False


def refuse_tracked_links(noun: str, *paths: Path) -> None:
    """Refuse places that a repository chose by a link, before something is written there.

    Every link on the way to a path is looked at, and every link that it leads to. A link that git
    does not track is the user's own. Where git cannot answer and a repository lies above a link,
    the link may have come with it.

    Args:
        noun: What the files belong to, in messages.
        paths: Files and folders that will be written or removed; they need not exist.

    Raises:
        ConfigurationError: git tracks a link, or cannot tell whether it does.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        for link in _list_links(path.absolute(), seen):
            _refuse_tracked(noun, link)


def refuse_tracked_database(noun: str, path: Path) -> None:
    """Refuse an SQLite file whose place a repository chose, its own or of a file beside it.

    Args:
        noun: What the file holds, in messages.
        path: The file, which need not exist.

    Raises:
        ConfigurationError: git tracks a link on the way, or cannot tell whether it does.
    """
    suffixes = ("", "-journal", "-wal", "-shm")
    refuse_tracked_links(noun, *(path.with_name(path.name + one) for one in suffixes))


def _refuse_tracked(noun: str, link: Path) -> None:
    shown = ascii(str(link))[1:-1]
    try:
        if not _is_listed(link):
            return
    except ConfigurationError as error:
        if not _lies_in_repository(link):
            return
        raise ConfigurationError(
            f"whether the place of the {noun} came with the repository cannot be told",
            got=f"{shown}, a link, and git: {error.got}",
            expected="a folder, or a link of which git says that it is your own",
            hint=error.hint or "install git, or put a folder in the place of the link",
        ) from error
    name, folder = ascii(link.name)[1:-1], ascii(str(link.parent))[1:-1]
    raise ConfigurationError(
        f"the place of the {noun} came with the repository: it may lead anywhere",
        got=f"{shown}, a link that git tracks",
        expected="a folder, or a link of your own",
        hint=f"git rm --cached {name}, then rm {name} (in {folder})",
    )


def _list_links(path: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """List the links on the way to a path and on the ways that they lead to, each once."""
    for one in (*reversed(path.parents), path):
        if one.is_symlink():
            status = one.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield one
                yield from _list_links(one.parent / one.readlink(), seen)


def _lies_in_repository(path: Path) -> bool:
    folder = path.parent.resolve()
    return any(os.path.lexists(one / ".git") for one in (folder, *folder.parents))


def _is_listed(path: Path) -> bool:
    """Ask git whether it tracks a path, in any case: some disks do not tell ``A`` from ``a``.

    Raises:
        ConfigurationError: git cannot answer.
    """
    asked = f":(literal,icase){path.name}"
    return bool(run_git(path.parent, "ls-files", "--", asked).strip())
