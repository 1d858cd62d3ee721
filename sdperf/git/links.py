"""What came with a git repository, and so was chosen by its writer: files, and links on the way."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.git.command import run_git

_LINK_MODE: Final = "120000"
"""Mode of a link in git's index."""


def is_tracked(path: Path) -> bool:
    """Tell whether git tracks a file, which then belongs to the repository.

    Links are followed; without git, or outside a git repository, no file is tracked.

    Raises:
        ConfigurationError: git is there and cannot tell.
    """
    try:
        return _find_entry(path.resolve()) is not None
    except ConfigurationError:
        if shutil.which("git") is None:
            return False
        raise


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
        entry = _find_entry(link.parent.resolve() / link.name, mode=_LINK_MODE)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"whether the place of the {noun} came with the repository cannot be told",
            got=f"{shown}, a link, and git: {error.got}",
            expected="a folder, or a link of which git says that it is your own",
            hint=error.hint or "install git, or put a folder in the place of the link",
        ) from error
    if entry is None:
        return
    from sdperf.shell import join_command, join_step

    repository, name = entry
    raise ConfigurationError(
        f"the place of the {noun} came with the repository: it may lead anywhere",
        got=f"{shown}, a link that git tracks",
        expected="a folder, or a link of your own",
        hint=join_step(
            join_command(["git", "rm", "--cached", "--", str(name)]),
            ", then ",
            join_command(["rm", "--", str(name)]),
            f" (in {ascii(str(repository))[1:-1]})",
        ),
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


def _find_entry(path: Path, mode: str = "") -> tuple[Path, str] | None:
    """Find what git tracks at a path: the repository's folder, and the name in it.

    Every repository above the path is asked, in the folder that holds its ``.git``. git would
    search outwards from the path itself, and take a folder with the files of a bare repository for
    one, although a repository can bring such a folder; it cannot bring a ``.git``.

    Args:
        path: Without links, but for its last name.
        mode: Mode that the entry must have; empty where every one counts.

    Raises:
        ConfigurationError: git cannot answer.
    """
    holders = (one for one in path.parents if os.path.lexists(one / ".git"))
    for repository in holders:
        if _has_work_tree(repository):
            for name in _list_names(repository, mode):
                if _is_same(repository, name, path):
                    return repository, name
    return None


def _has_work_tree(repository: Path) -> bool:
    """Tell whether a repository has files; a bare one, with worktrees elsewhere, tracks no file.

    Raises:
        ConfigurationError: git cannot answer, or answers from another repository.
    """
    asked = ("rev-parse", "--absolute-git-dir", "--is-bare-repository")
    folder, _, is_bare = run_git(repository, *asked).rstrip("\n").rpartition("\n")
    is_own = Path(folder).resolve() != repository
    if is_own and is_bare != "true":
        top = run_git(repository, "rev-parse", "--show-toplevel").rstrip("\n")
        is_own = Path(top).resolve() == repository
    if not is_own:
        raise ConfigurationError(
            "git took another folder for the repository",
            got=f"another repository than that of {ascii(str(repository / '.git'))[1:-1]}",
        )
    return is_bare != "true"


def _list_names(repository: Path, mode: str) -> Iterator[str]:
    """List the paths that git tracks, below the repository's folder."""
    for line in run_git(repository, "ls-files", "--stage", "-z").split("\0"):
        head, _, name = line.partition("\t")
        if name and head.startswith(mode):
            yield name


def _is_same(repository: Path, name: str, path: Path) -> bool:
    """Tell whether a name is a path, also in another spelling where the disk takes both for one."""
    here = str(path.relative_to(repository))
    if name == here:
        return True
    if _fold(name) != _fold(here):
        return False
    try:
        return os.path.samestat((repository / name).lstat(), path.lstat())
    except OSError:
        return False


def _fold(name: str) -> str:
    """Return what spellings have in common that some disks take for one name."""
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
