"""Git revisions as sides: worktrees beside the working tree, and their importable folders."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sdperf
from sdperf.ab.sides.sides import Side, SideError, SideName
from sdperf.ab.sides.worktree import (
    checked_out,
    find_repository,
    is_shallow,
    map_search_path,
    remove_worktree,
)
from sdperf.errors import ConfigurationError, SdperfError, SubjectError
from sdperf.git.command import run_git
from sdperf.leftovers import note_leftover
from sdperf.shell import join_command
from sdperf.units import format_bytes

WORKING_TREE: Final = "."
"""The name of the working tree in its present state, with uncommitted changes."""

_GITLINK: Final = "160000"
_SPARE_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class RevisionCode:
    """The place of a revision's code.

    Attributes:
        label: The name that the user gave.
        commit: Its commit; ``None`` is the present working tree.
        code: Folders to search first for modules.
        folder: Where its workers work: the current folder's place in the revision.
        replaces_sdperf: Whether it contains the package of the running sdperf in its own version.
        repository: Top of the repository.
    """

    label: str
    commit: str | None
    code: tuple[str, ...]
    folder: Path
    replaces_sdperf: bool
    repository: Path


@contextlib.contextmanager
def opened_revisions(
    names: Sequence[str], here: Path, *, search_path: Sequence[str] | None = None
) -> Iterator[tuple[RevisionCode, ...]]:
    """Check revisions out into temporary worktrees, which are removed afterwards.

    All possible errors are checked before the first worktree is made.

    Args:
        names: Names of commits for git, or `WORKING_TREE`.
        here: A folder of the repository.
        search_path: Python's search path; ``None`` is ``sys.path``.

    Raises:
        ConfigurationError: A name is not a commit, a submodule has uncommitted changes, or there is
            no room.
    """
    repository = find_repository(here).resolve()
    commits = [
        None if name == WORKING_TREE else resolve_revision(repository, name) for name in names
    ]
    if any(commit is not None for commit in commits):
        refuse_dirty_submodules(repository)
        refuse_full_disk(repository, [commit for commit in commits if commit is not None])
    paths = list(sys.path if search_path is None else search_path)
    with contextlib.ExitStack() as stack:
        found = []
        for name, commit in zip(names, commits, strict=True):
            top = repository
            if commit is not None:
                top = stack.enter_context(checked_out(repository, commit)).resolve()
                stack.enter_context(_submodules_checked_out(repository, commit, top))
            found.append(_find_code(name, commit, top, repository, here.resolve(), paths))
        yield tuple(found)


def resolve_revision(repository: Path, name: str) -> str:
    """Return the commit that a name stands for.

    Raises:
        ConfigurationError: It is not the name of a commit.
    """
    try:
        if name.startswith("-"):
            raise ConfigurationError("an option")
        return run_git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    except ConfigurationError as error:
        if not name.startswith("-") and is_shallow(repository):
            raise ConfigurationError(
                "git knows no such revision in this clone, which is shallow and lacks older ones",
                got=name,
                hint="git fetch --unshallow --tags",
            ) from error
        raise ConfigurationError(
            "git knows no such revision",
            got=name,
            expected=f"a branch, tag or commit, or {WORKING_TREE!r} for the working tree as it is",
            hint="git log --oneline --all; a remote's branch has to be fetched first",
        ) from error


def refuse_dirty_submodules(repository: Path) -> None:
    """Refuse uncommitted changes inside submodules, since a revision cannot contain them.

    Raises:
        ConfigurationError: A submodule has such changes.
    """
    status = run_git(repository, "status", "--porcelain=v2", "--ignore-submodules=untracked", "-z")
    dirty = [
        entry.split(" ", 8)[8]
        for entry in status.split("\0")
        if re.match(r"1 \S\S S.M", entry) and entry.count(" ") >= 8
    ]
    if dirty:
        raise ConfigurationError(
            f"the submodule {dirty[0]} has uncommitted changes, which no revision holds",
            expected="submodules that are clean",
            hint="commit or stash them: " + join_command(["git", "-C", dirty[0], "status"]),
        )


def refuse_full_disk(repository: Path, commits: Sequence[str]) -> None:
    """Refuse worktrees that would not fit into the temporary folder.

    Raises:
        ConfigurationError: They would not fit.
    """
    folder = tempfile.gettempdir()
    needed_bytes = _SPARE_BYTES
    for commit in commits:
        for line in run_git(repository, "ls-tree", "-r", "-l", commit).splitlines():
            size = line.split("\t")[0].split()[-1]
            needed_bytes += int(size) if size.isdigit() else 0
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise ConfigurationError(
            "there is no room for the revisions' files",
            got=f"{format_bytes(free_bytes)} free in {folder}",
            expected=f"{format_bytes(needed_bytes)}",
            hint="free some space, or set TMPDIR to a folder that has it",
        )


@contextlib.contextmanager
def _submodules_checked_out(repository: Path, commit: str, top: Path) -> Iterator[None]:
    """Fill the submodules of a worktree from those that the repository has checked out.

    Nothing is fetched: a submodule that is missing here, or lacks that commit, stays empty, as git
    itself leaves it.
    """
    with contextlib.ExitStack() as stack:
        for line in run_git(repository, "ls-tree", "-r", "-z", commit).split("\0"):
            facts, _, path = line.partition("\t")
            if not facts.startswith(_GITLINK) or not (repository / path / ".git").exists():
                continue
            pinned = facts.split()[2]
            with contextlib.suppress(ConfigurationError):
                run_git(repository / path, "cat-file", "-e", f"{pinned}^{{commit}}")
                stack.callback(remove_worktree, repository / path, top / path)
                note_leftover(top.parent, str(repository / path), str(top / path))
                run_git(
                    repository / path,
                    *("worktree", "add", "--detach", "--force", "--quiet"),
                    str(top / path),
                    pinned,
                )
        yield


def refuse_stray_subject(side: Side, name: SideName, file: str | None) -> None:
    """Refuse a subject that was imported from the working tree because the revision lacks it.

    A subject from outside the repository is allowed: the repository may have a package that it
    uses.

    Args:
        side: The side.
        name: The letter of the side.
        file: The file of the subject's module.

    Raises:
        SideError: The module came from the working tree.
    """
    if side.revision is None or side.repository is None or file is None:
        return
    path = Path(file)
    folders = [Path(folder).resolve() for folder in side.code]
    if any(path.is_relative_to(folder) for folder in folders) or "site-packages" in path.parts:
        return
    if path.is_relative_to(side.repository):
        cause = ConfigurationError(
            "the revision does not hold the subject's module",
            got=f"{path.relative_to(side.repository)} of the working tree",
            hint="name a revision that has it, or a subject that both revisions have",
        )
        raise SideError(name, side.label, cause)


def explain_missing_subject(error: SdperfError, label: str) -> SdperfError:
    """Say of a revision without the subject's module that it lacks it; leave other errors. Pure.

    To import the module by hand, as the error says, would find that of the working tree.

    Args:
        error: What the side's worker raised.
        label: The side's label.
    """
    if not isinstance(error, SubjectError) or "No module named" not in str(error.got):
        return error
    return SubjectError(
        error.what,
        got=error.got,
        expected="code that the revision itself holds: the working tree's is not looked at",
        hint=f"name a revision that holds it in the place of {label}, or each side's own subject: "
        "--a subject=MODULE:FUNCTION, --b subject=MODULE:FUNCTION, or none for the model's own "
        "pipeline",
    )


def _find_code(
    label: str,
    commit: str | None,
    top: Path,
    repository: Path,
    here: Path,
    search_path: Sequence[str],
) -> RevisionCode:
    """Find the existing folders of a revision that modules may come from."""
    place = top / here.relative_to(repository)
    searched = [here, repository, repository / "src"]
    searched += [Path(entry).resolve() for entry in search_path if entry]
    package = Path(sdperf.__file__).resolve().parent
    own = None
    if package.is_relative_to(repository) and not _is_installed(package):
        searched.insert(0, package.parent)
        candidate = top / package.relative_to(repository)
        own = candidate if (candidate / "__init__.py").is_file() else None
    kept = [str(path) for path in searched if not _is_installed(path)]
    mapped = map_search_path(kept, repository, top)
    return RevisionCode(
        label=label,
        commit=commit,
        code=tuple(folder for folder in mapped if Path(folder).is_dir()),
        folder=place if place.is_dir() else top,
        replaces_sdperf=own is not None,
        repository=repository,
    )


def _is_installed(path: Path) -> bool:
    """Tell whether a folder is part of an interpreter, which may live inside the repository."""
    prefixes = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    return any(path.is_relative_to(prefix) for prefix in prefixes) or "site-packages" in path.parts
