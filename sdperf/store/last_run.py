"""The last run below ``.sdperf``, and whether a later session left none.

A session that measured nothing, or whose run cannot be stored, leaves the last run as it is. It
also leaves a note, so that no command takes that older run for the last one without a word.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sdperf.errors import ConfigurationError, RecordError
from sdperf.store.files import write_atomically
from sdperf.store.runs import read_document

LAST_RUN: Final = ".sdperf/last-run.json"
"""The last run, below pytest's root folder."""
NOTE: Final = ".sdperf/nothing-measured.json"
"""The note of a later session that measured nothing, below pytest's root folder."""
_COMMIT_LENGTH: Final = 12


def note_nothing_measured(root: Path, instant: datetime, reason: str) -> None:
    """Leave a note that a session ended and the last run is an older one.

    Args:
        root: pytest's root folder.
        instant: When the session ended.
        reason: Why there is no run of it, one line.

    Raises:
        OSError: It cannot be written.
    """
    note = {"datetime": instant.isoformat(), "reason": reason}
    write_atomically(root / NOTE, json.dumps(note, indent=1).encode())


def store_as_last(root: Path, content: bytes) -> None:
    """Write the last run, and remove the note of an earlier session.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(root / LAST_RUN, content)
    (root / NOTE).unlink(missing_ok=True)


def find_last_run(command: str) -> Path:
    """Return the last run of this folder, for a command that was given none.

    Args:
        command: What to type to take the older run after all, up to the name of the run.

    Raises:
        ConfigurationError: There is none, or a later session measured nothing.
    """
    path, note = Path(LAST_RUN), _read_note(Path(NOTE))
    if note is not None:
        when, reason = note
        older = describe_run(path)
        raise ConfigurationError(
            "the last session left no run",
            got=f"the session of {when} ({reason})"
            + ("" if older is None else f"; {path} is an older run, {older}"),
            expected="a session whose run was stored",
            hint="pytest benchmarks"
            + ("" if older is None else f"; the older run is meant: {command} {path}"),
        )
    if not path.exists():
        raise ConfigurationError(
            "there is no last run here", got=str(path.resolve()), hint="pytest benchmarks"
        )
    return path


def describe_run(path: Path) -> str | None:
    """Name the time and the commit of a saved run; ``None`` where there is none.

    A damaged run is named too: whoever takes it hears what is wrong with it.
    """
    if not path.exists():
        return None
    try:
        document = read_document(path)
    except RecordError:
        return "damaged"
    info = document.get("commit_info")
    commit = info.get("id") if isinstance(info, dict) else None
    named = f"commit {commit[:_COMMIT_LENGTH]}" if isinstance(commit, str) else "commit unknown"
    return f"of {_format_time(document.get('datetime'))}, {named}"


def _read_note(path: Path) -> tuple[str, str] | None:
    """Return the time and the reason of a note; a damaged note is still one."""
    try:
        note: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        note = None
    if not isinstance(note, dict):
        note = {}
    return _format_time(note.get("datetime")), str(note.get("reason", f"{path} is damaged"))


def _format_time(given: object) -> str:
    """Lay out a saved time for people, in UTC.

    >>> _format_time("2026-11-30T20:39:37.123456+00:00"), _format_time(None)
    ('2026-11-30 20:39 UTC', 'an unknown time')
    """
    try:
        time = datetime.fromisoformat(str(given))
    except ValueError:
        return "an unknown time"
    zone = "" if time.utcoffset() is None else f" {time.tzname()}"
    return f"{time:%Y-%m-%d %H:%M}{zone}"
