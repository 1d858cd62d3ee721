"""The commits between two revisions, and what people want to know of one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdperf.ab.sides.revisions import resolve_revision
from sdperf.ab.sides.worktree import is_shallow
from sdperf.bisect.search import History
from sdperf.errors import ConfigurationError
from sdperf.git.command import run_git

_FIELDS: Final = "%H%x1f%s%x1f%an%x1f%aI%x1f%P"


@dataclass(frozen=True)
class BisectCommit:
    """What a report says of a commit.

    Attributes:
        commit: Full hash.
        subject: First line of its message.
        author: Name of its author.
        author_date: ISO 8601, in the author's time zone.
        parents: Full hashes.
        files: What it changed against its first parent: letter of the change and path.
    """

    commit: str
    subject: str
    author: str
    author_date: str
    parents: tuple[str, ...]
    files: tuple[tuple[str, str], ...]

    @property
    def short(self) -> str:
        """The first twelve digits of the hash."""
        return self.commit[:12]


def resolve_commit(repository: Path, revision: str) -> str:
    """Return the full hash of a branch, tag, hash or expression such as ``HEAD~3``.

    Raises:
        ConfigurationError: It names no commit of this repository.
    """
    try:
        return resolve_revision(repository, revision)
    except ConfigurationError as error:
        raise ConfigurationError(
            error.what, got=revision[:100], expected="a branch, tag or commit", hint=error.hint
        ) from error


BISECT: Final = ("the good revision", "the bad one", "sdperf bisect {} {}")
"""What a search calls the two ends of its history, and how it is asked."""


def read_history(
    repository: Path,
    good: str,
    bad: str,
    *,
    first_parent: bool = False,
    words: tuple[str, str, str] = BISECT,
) -> History:
    """Return the commits that ``git bisect`` would search: those of ``bad`` that ``good`` lacks.

    That is all of a branch that was merged in between, also where it began before ``good``.

    Args:
        repository: Top of the repository.
        good: Full hash.
        bad: Full hash.
        first_parent: Whether to follow only first parents, so that merged branches count as one.
        words: What the user's command calls the two ends, and how it is asked with them.

    Raises:
        ConfigurationError: ``good`` is no ancestor of ``bad``, both are the same, or the clone is
            shallow and lacks commits between the two.
    """
    if good == bad:
        raise ConfigurationError(
            "there is nothing between a commit and itself",
            got=good[:12],
            expected="two commits",
            hint="git log --oneline lists them",
        )
    if not _is_ancestor(repository, good, bad):
        raise _explain_order(repository, good, bad, words)
    options = ["--first-parent"] if first_parent else []
    listed = run_git(
        repository, "rev-list", "--topo-order", "--reverse", "--parents", *options, bad, f"^{good}"
    )
    all_parents = {}
    for line in listed.splitlines():
        commit, *its_parents = line.split()
        all_parents[commit] = its_parents[:1] if first_parent else its_parents
    _refuse_cut_history(repository, set(all_parents))
    parents = {
        commit: tuple(parent for parent in its_parents if parent in all_parents)
        for commit, its_parents in all_parents.items()
    }
    return History(tuple(all_parents), parents)


def describe_commit(repository: Path, commit: str) -> BisectCommit:
    """Return what a report says of a commit."""
    found, subject, author, date, parents = (
        run_git(repository, "show", "-s", f"--format={_FIELDS}", commit).rstrip("\n").split("\x1f")
    )
    listed = run_git(
        repository,
        *("diff-tree", "-r", "--root", "--no-commit-id", "--name-status", "-M", "-z"),
        *([f"{commit}^1", commit] if parents else [commit]),
    )
    return BisectCommit(found, subject, author, date, tuple(parents.split()), _parse_files(listed))


def list_subjects(repository: Path, commits: Sequence[str]) -> dict[str, str]:
    """Return the first line of each commit's message."""
    listed = run_git(
        repository, "log", "--no-walk=unsorted", "--format=%H %s", "--end-of-options", *commits
    )
    return dict(line.split(" ", 1) for line in listed.splitlines() if " " in line)


def _parse_files(listed: str) -> tuple[tuple[str, str], ...]:
    """Read ``--name-status -z``: a letter, then one path, or two where it was renamed."""
    parts = iter(listed.split("\0"))
    files = []
    for letter in parts:
        if not letter:
            continue
        path = next(parts, "")
        if letter[0] in "RC":
            path = f"{path} -> {next(parts, '')}"
        files.append((letter[0], path))
    return tuple(files)


def _is_ancestor(repository: Path, older: str, newer: str) -> bool:
    missing = run_git(repository, "rev-list", "--max-count=1", older, f"^{newer}")
    return not missing.strip()


def _explain_order(
    repository: Path, good: str, bad: str, words: tuple[str, str, str]
) -> ConfigurationError:
    older, newer, command = words
    what = f"{older} is no ancestor of {newer}"
    got = f"{good[:12]} and {bad[:12]}"
    if _is_ancestor(repository, bad, good):
        return ConfigurationError(
            what,
            got=got,
            expected=f"{older} first, then {newer}",
            hint=command.format(bad[:12], good[:12]),
        )
    if is_shallow(repository):
        return ConfigurationError(
            f"{what}, as far as this shallow clone goes", got=got, hint="git fetch --unshallow"
        )
    base = ""
    with contextlib.suppress(ConfigurationError):
        base = run_git(repository, "merge-base", good, bad).strip()
    return ConfigurationError(
        what,
        got=got,
        expected="a line of history from one to the other",
        hint=f"begin where they part: {command.format(base[:12], bad[:12])}"
        if base
        else "they have no commit in common",
    )


def _refuse_cut_history(repository: Path, commits: set[str]) -> None:
    """Refuse a search through commits whose parents a shallow clone does not have."""
    if not is_shallow(repository):
        return
    path = repository / run_git(repository, "rev-parse", "--git-path", "shallow").strip()
    boundary = set(path.read_text(encoding="ascii").split())
    if cut := sorted(boundary & commits):
        raise ConfigurationError(
            "this clone is shallow and lacks commits between the two revisions",
            got=f"history ends at {cut[0][:12]}",
            hint="git fetch --unshallow",
        )
