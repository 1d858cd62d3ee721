"""Runs git: no hook or watcher runs, and nothing leads it to another repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError

GIT_QUIET: Final = (
    *("--no-optional-locks", "--no-pager", "-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "-c", "diff.external="),
    *("-c", "safe.bareRepository=explicit"),
)
"""Options of git before a command: with them no hook or watcher runs, and nothing is written.

A folder that looks like a bare repository is not taken for one: a repository can bring such a
folder, with settings and with an index of its own. Source: ``git help config``, from git 2.38 on.
"""

_GIT_TIMEOUT_S: Final = 120.0
_PLACES: Final = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_EXTERNAL_DIFF"),
    *("GIT_PAGER", "GIT_EDITOR", "GIT_TEMPLATE_DIR", "GIT_QUARANTINE_PATH"),
    *("GIT_IMPLICIT_WORK_TREE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS"),
    *("GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
)
"""Variables from hooks of another repository, which would lead git to that repository, and of
whoever calls git by hand, which change how it reads paths."""


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
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError("git cannot be run", got=str(error)) from error
    if done.returncode:
        got, hint = read_refusal(os.fsdecode(done.stderr))
        raise ConfigurationError(f"git {arguments[0]} failed", got=got, hint=hint)
    return os.fsdecode(done.stdout)
