"""The code that a run measured, from pytest-benchmark's record; a placeholder is not a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_COMMIT_ID: Final = re.compile(r"[0-9a-f]{3,64}")
_NO_BRANCH: Final = ("(unknown)", "(detached head)")
_LONGEST_BRANCH: Final = 1000


@dataclass(frozen=True)
class CommitInfo:
    """The commit of a run. ``None`` is unknown.

    Attributes:
        id: Its hash, hexadecimal digits.
        is_dirty: Whether the code had uncommitted changes; unknown where the commit is unknown.
        branch: The branch that was checked out.
    """

    id: str | None = None
    is_dirty: bool | None = None
    branch: str | None = None


def parse_commit_info(raw: object) -> CommitInfo:
    """Read a run's ``commit_info``. Pure.

    pytest-benchmark writes ``unversioned`` where there is no repository, and ``unknown`` with
    ``dirty: false`` where git refuses to answer (a folder of another user, a broken repository).

    >>> parse_commit_info({"id": "unknown", "dirty": False, "branch": "(unknown)"})
    CommitInfo(id=None, is_dirty=None, branch=None)
    """
    info: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    commit, dirty, branch = parse_commit_id(info.get("id")), info.get("dirty"), info.get("branch")
    return CommitInfo(
        id=commit,
        is_dirty=dirty if commit is not None and isinstance(dirty, bool) else None,
        branch=branch[:_LONGEST_BRANCH]
        if isinstance(branch, str) and branch and branch not in _NO_BRANCH
        else None,
    )


def parse_commit_id(value: object) -> str | None:
    """Return a commit's hash; ``None`` for any other text. Pure.

    >>> parse_commit_id("unversioned") is None, parse_commit_id("67774c3")
    (True, '67774c3')
    """
    return value if isinstance(value, str) and _COMMIT_ID.fullmatch(value) else None
