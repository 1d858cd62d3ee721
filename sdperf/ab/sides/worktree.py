"""Another revision's code beside the current one: a git worktree in a temporary folder."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.git.command import run_git
from sdperf.leftovers import note_leftover, sweep, temporary_folder

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")


def find_repository(folder: Path) -> Path:
    """Return the top folder of a folder's git repository.

    Raises:
        ConfigurationError: The folder is not in a repository, or git is missing.
    """
    try:
        return Path(run_git(folder, "rev-parse", "--show-toplevel").strip())
    except ConfigurationError as error:
        if "not a git repository" not in str(error.got):
            raise
        raise ConfigurationError(
            "this folder lies in no git repository",
            got=str(folder),
            expected="a folder of the repository whose revisions are meant",
            hint="cd to it first; git -C FOLDER status says whether FOLDER lies in one",
        ) from error


@contextlib.contextmanager
def checked_out(repository: Path, commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder, and remove it again.

    The repository's own files, branch and index are left alone.

    Raises:
        ConfigurationError: The commit is malformed or not in this repository.
    """
    if not _COMMIT.fullmatch(commit):
        raise ConfigurationError(
            "no commit to check out", got=commit[:80], expected="hexadecimal digits"
        )
    clear_leftovers()
    with temporary_folder("baseline") as parent:
        folder = parent / "code"
        note_leftover(parent, str(repository), str(folder))
        try:
            run_git(repository, "worktree", "add", "--detach", "--quiet", str(folder), commit)
            yield folder
        finally:
            remove_worktree(repository, folder)


def clear_leftovers() -> int:
    """Remove the worktrees and temporary folders of commands that were killed; count them."""

    def undo(note: list[str]) -> None:
        if len(note) == 2:
            remove_worktree(Path(note[0]), Path(note[1]))

    return sweep(undo)


def remove_worktree(repository: Path, folder: Path) -> None:
    """Remove a worktree, also one that git was killed in the middle of adding."""
    with contextlib.suppress(ConfigurationError):
        run_git(repository, "worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(ConfigurationError):
        run_git(repository, "worktree", "prune")


def map_search_path(search_path: Sequence[str], repository: Path, folder: Path) -> tuple[str, ...]:
    """Return the worktree's folders for the repository's entries in Python's search path. Pure.

    Args:
        search_path: ``sys.path``, with the current folder for ``""``.
        repository: Top of the repository.
        folder: Top of the worktree.
    """
    mapped = []
    for entry in search_path:
        path = Path(entry)
        if path.is_relative_to(repository):
            mapped.append(str(folder / path.relative_to(repository)))
    return tuple(dict.fromkeys(mapped))


def is_shallow(repository: Path) -> bool:
    """Tell whether the clone has only a part of the history."""
    return run_git(repository, "rev-parse", "--is-shallow-repository").strip() == "true"
