"""Another revision's code beside the current one: a git worktree in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.leftovers import note_leftover, sweep, temporary_folder
from sdperf.measure.environment import GIT_QUIET

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_GIT_TIMEOUT_S: Final = 120.0
_PLACES: Final = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_EXTERNAL_DIFF"),
    *("GIT_PAGER", "GIT_EDITOR", "GIT_TEMPLATE_DIR", "GIT_QUARANTINE_PATH"),
)
"""Variables from hooks of another repository, which would lead git to that repository."""


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


def make_git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return git's variables without those that name another repository or allow fetching. Pure."""
    kept = {name: value for name, value in environ.items() if name not in _PLACES}
    return kept | {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


def read_refusal(stderr: str) -> tuple[str | None, str | None]:
    r"""Return git's complaint, and the command that git advises, if any. Pure.

    >>> read_refusal("fatal: dubious ownership\nTo add an exception, call:\n  git config x")
    ('fatal: dubious ownership', 'git config x')
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    advised = next((line for line in lines if line.startswith("git ")), None)
    fault = next((line for line in lines if line.startswith(("fatal:", "error:"))), None)
    return fault or (lines[-1] if lines else None), advised


def is_shallow(repository: Path) -> bool:
    """Tell whether the clone has only a part of the history."""
    return run_git(repository, "rev-parse", "--is-shallow-repository").strip() == "true"


def run_git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it printed.

    Raises:
        ConfigurationError: git failed, is missing, or took too long.
    """
    try:
        done = subprocess.run(
            ["git", *GIT_QUIET, "-C", str(folder), *arguments],
            env=make_git_environment(os.environ),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError("git cannot be run", got=str(error)) from error
    if done.returncode:
        got, hint = read_refusal(done.stderr)
        raise ConfigurationError(f"git {arguments[0]} failed", got=got, hint=hint)
    return done.stdout
