"""Another revision's code beside the current one: a git worktree in a temporary folder."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_GIT_TIMEOUT_S: Final = 120.0
_QUIET: Final = (
    *("--no-optional-locks", "-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
)
"""No hook of the repository runs and its index is not refreshed: it is only looked at."""


def find_repository(folder: Path) -> Path:
    """Return the top folder of the git repository that a folder lies in.

    Raises:
        ConfigurationError: It lies in none, or there is no git.
    """
    return Path(run_git(folder, "rev-parse", "--show-toplevel").strip())


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
    parent = Path(tempfile.mkdtemp(prefix="sdperf-baseline-"))
    folder = parent / "code"
    try:
        run_git(repository, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        yield folder
    finally:
        with contextlib.suppress(ConfigurationError):
            run_git(repository, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(parent, ignore_errors=True)
        with contextlib.suppress(ConfigurationError):
            run_git(repository, "worktree", "prune")


def map_search_path(search_path: Sequence[str], repository: Path, folder: Path) -> tuple[str, ...]:
    """Return where the worktree keeps what Python's search path finds in the repository. Pure.

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


def run_git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it printed.

    Raises:
        ConfigurationError: It failed, there is no git, or it took too long.
    """
    try:
        done = subprocess.run(
            ["git", *_QUIET, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError("git cannot be run", got=str(error)) from error
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise ConfigurationError(f"git {arguments[0]} failed", got=words[-1] if words else None)
    return done.stdout
