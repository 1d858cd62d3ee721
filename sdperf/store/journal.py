"""The journal of a session: every finished case is on the disk before the next case begins.

A journal is the folder ``.sdperf/journal/<session>/`` with one append-only file, a JSON line for
each thing that happened: the session's head, each process that worked on it, each finished case.
A line has a checksum of its entry. Pictures are in ``.sdperf/images`` under their hashes, and are
written before the line that names them. See ``docs/decisions/0035-a-journal-for-every-session.md``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sdperf.errors import RecordError
from sdperf.folders import list_folder, remove_marked
from sdperf.record.json import check_format_version, format_record, parse_record
from sdperf.store.files import sync_folder, sync_to_disk

JOURNAL_FOLDER: Final = Path(".sdperf") / "journal"
JOURNAL_FILE: Final = "journal.jsonl"
JOURNAL_FORMAT_VERSION: Final = 1

MOST_JOURNALS: Final = 5
"""The most unfinished journals in a folder; a new session removes the oldest."""

LARGEST_JOURNAL_BYTES: Final = 256 * 2**20

EntryKind = Literal["timed", "quality"]


@dataclass(frozen=True)
class JournalHead:
    """The identity of a session: two processes work on the same session only where it is equal.

    Attributes:
        session: Its name, which is also the name of its folder.
        settings: Every setting that affects measuring, as text by name.
        code_sha256: Hash of the code under test; ``None`` where it is unknown.
        arguments: The words after ``pytest`` on the command line.
        folder: The folder in which pytest was called.
        planned: Number of cases that were collected.
        format_version: Version of the journal's format.
    """

    session: str
    settings: Mapping[str, str]
    code_sha256: str | None
    arguments: tuple[str, ...]
    folder: str
    planned: int
    format_version: int = JOURNAL_FORMAT_VERSION


@dataclass(frozen=True)
class JournalProcess:
    """A process that worked on the session.

    Attributes:
        pid: Its process id.
        started_at: When it began, ISO 8601 in UTC.
    """

    pid: int
    started_at: str


@dataclass(frozen=True)
class JournalEntry:
    """A finished case.

    Attributes:
        case: Its test id.
        kind: ``timed``, or ``quality`` of a case of the quality suite.
        record: Its record, in the form of `sdperf.record.json.format_measurement`
            or of `sdperf.store.quality.format_quality`.
        environment: Where it was measured, in the form of `sdperf.record.json`.
        model_hash: Hash of the model that was measured.
        images: Content hashes of its pictures.
        started_at: When the process that measured it began.
    """

    case: str
    kind: EntryKind
    record: Mapping[str, Any]
    environment: Mapping[str, Any]
    model_hash: str
    images: tuple[str, ...]
    started_at: str


@dataclass(frozen=True)
class JournalContent:
    """The content of a journal's file.

    Attributes:
        path: The file.
        head: The identity of the session.
        processes: The processes that worked on it, in order.
        entries: The finished cases by test id; for a repeated case, the last entry.
        whole_bytes: Length of the intact part; the rest was cut off when the process ended.
    """

    path: Path
    head: JournalHead
    processes: tuple[JournalProcess, ...] = ()
    entries: Mapping[str, JournalEntry] = field(default_factory=dict)
    whole_bytes: int = 0


@dataclass
class Journal:
    """An open journal, which one process appends to.

    Attributes:
        path: Its file.
        process: The process that appends.
    """

    path: Path
    process: JournalProcess

    @classmethod
    def begin(cls, root: Path, head: JournalHead, process: JournalProcess) -> Journal:
        """Begin the journal of a new session.

        Args:
            root: The folder that has ``.sdperf``.
            head: The identity of the session.
            process: The process that appends.

        Raises:
            OSError: It cannot be written.
        """
        journal = cls(root / JOURNAL_FOLDER / head.session / JOURNAL_FILE, process)
        journal.path.parent.mkdir(parents=True)
        sync_folder(journal.path.parent.parent)
        journal._append("session", format_record(head))
        journal._append("process", format_record(process))
        sync_folder(journal.path.parent)
        return journal

    @classmethod
    def go_on(cls, content: JournalContent, process: JournalProcess) -> Journal:
        """Continue a journal whose process has ended; a torn line at its end is cut off.

        Raises:
            OSError: It cannot be written.
        """
        os.truncate(content.path, content.whole_bytes)
        journal = cls(content.path, process)
        journal._append("process", format_record(process))
        return journal

    def add(self, entry: JournalEntry) -> None:
        """Append a finished case; returns when it is on the disk.

        Raises:
            OSError: The entry cannot be written; earlier entries stay intact.
        """
        self._append(entry.kind, format_record(entry))

    def remove(self) -> None:
        """Remove the journal, since its session was saved as a whole.

        Raises:
            OSError: The journal cannot be removed.
        """
        remove_marked(self.path.parent, JOURNAL_FILE)

    def _append(self, kind: str, entry: Mapping[str, Any]) -> None:
        line = format_line({"is": kind} | dict(entry))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, line)
                sync_to_disk(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)


def format_line(entry: Mapping[str, Any]) -> bytes:
    """Return an entry's line: the entry beside its checksum. Pure."""
    text = json.dumps(entry, sort_keys=True, allow_nan=False)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"sha256": "{sha256}", "entry": {text}}}\n'.encode()


def list_journals(root: Path) -> list[Path]:
    """Return the files of the unfinished sessions of a folder, oldest first."""
    found = (folder / JOURNAL_FILE for folder in list_folder(root / JOURNAL_FOLDER))
    return [path for path in found if path.is_file()]


def choose_journal(journals: Sequence[Path]) -> Path:
    """Return the journal to continue: the newest with a finished case, else the newest.

    A session that ended before its first case must not hide one that measured fifteen.
    """
    return next((one for one in reversed(journals) if not _holds_nothing(one)), journals[-1])


def remove_oldest(root: Path, keep: int) -> int:
    """Remove the oldest journals, so that at most ``keep`` stay; return how many were removed.

    Raises:
        OSError: One cannot be removed.
    """
    journals = list_journals(root)
    gone = journals[: max(0, len(journals) - keep)]
    for path in gone:
        remove_marked(path.parent, JOURNAL_FILE)
    return len(gone)


def remove_empty(root: Path) -> None:
    """Remove journals without a finished case: their sessions ended before the first one.

    Raises:
        OSError: One cannot be removed.
    """
    for folder in list_folder(root / JOURNAL_FOLDER):
        path = folder / JOURNAL_FILE
        if not path.exists() or _holds_nothing(path):
            remove_marked(folder, JOURNAL_FILE)


def _holds_nothing(path: Path) -> bool:
    try:
        return not read_journal(path).entries
    except RecordError:
        return path.stat().st_size <= LARGEST_JOURNAL_BYTES and b"\n" not in path.read_bytes()


def read_journal(path: Path) -> JournalContent:
    """Read a journal. A torn last line is skipped: its case did not finish.

    Raises:
        RecordError: The journal cannot be read, is too large, has a damaged line before the last,
            or was written by a newer sdperf.
    """
    try:
        if path.stat().st_size > LARGEST_JOURNAL_BYTES:
            raise RecordError(
                f"{path} is too large",
                got=f"{path.stat().st_size} bytes",
                expected=f"at most {LARGEST_JOURNAL_BYTES}",
            )
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=error.strerror or str(error)) from error
    return parse_journal(path, content)


def parse_journal(path: Path, content: bytes) -> JournalContent:
    """Turn a journal's bytes into its content. Pure.

    Args:
        path: The file, for messages.
        content: The bytes.

    Raises:
        RecordError: For the reasons of `read_journal`.
    """
    lines = content.splitlines(keepends=True)
    head: JournalHead | None = None
    processes: list[JournalProcess] = []
    entries: dict[str, JournalEntry] = {}
    whole_bytes = 0
    for number, line in enumerate(lines, 1):
        entry = _parse_line(line)
        if entry is None and number == len(lines) and head is not None:
            break
        try:
            if entry is None:
                raise RecordError("it is not whole")
            if (head is None) != (entry.get("is") == "session"):
                raise RecordError("a journal begins with its session and holds one")
            if head is None:
                head = _parse_head(entry)
            elif entry.get("is") == "process":
                processes.append(parse_record(JournalProcess, entry))
            else:
                case = _parse_entry(entry)
                entries[case.case] = case
        except RecordError as error:
            raise RecordError(
                f"line {number} of {path} is damaged",
                got=str(error),
                hint="sdperf resume --forget removes that session; then run the command again",
            ) from error
        whole_bytes += len(line)
    if head is None:
        raise RecordError(
            f"{path} holds no session",
            hint="sdperf resume --forget removes it; then run the command again",
        )
    return JournalContent(path, head, tuple(processes), entries, whole_bytes)


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """Return a line's entry; ``None`` where the line is not intact."""
    if not line.endswith(b"\n"):
        return None
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    entry = document.get("entry") if isinstance(document, dict) else None
    if not isinstance(entry, dict):
        return None
    text = json.dumps(entry, sort_keys=True)
    is_whole = document.get("sha256") == hashlib.sha256(text.encode()).hexdigest()
    return entry if is_whole else None


def _parse_head(entry: Mapping[str, Any]) -> JournalHead:
    head = parse_record(JournalHead, entry)
    check_format_version("this journal", head.format_version, JOURNAL_FORMAT_VERSION)
    return head


def _parse_entry(entry: Mapping[str, Any]) -> JournalEntry:
    record, environment = entry.get("record"), entry.get("environment")
    if not isinstance(record, dict) or not isinstance(environment, dict):
        raise RecordError("a case has no record or no environment")
    slim = parse_record(_SlimEntry, entry)
    return JournalEntry(
        case=slim.case,
        kind=slim.kind,
        record=record,
        environment=environment,
        model_hash=slim.model_hash,
        images=slim.images,
        started_at=slim.started_at,
    )


@dataclass(frozen=True)
class _SlimEntry:
    """The part of an entry that this module can read."""

    case: str
    kind: EntryKind
    model_hash: str
    images: tuple[str, ...]
    started_at: str


def _write_all(descriptor: int, content: bytes) -> None:
    """Write every byte; the system may write fewer at a time, for example on a full disk."""
    view: memoryview | bytes = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def explain_other_session(
    head: JournalHead, settings: Mapping[str, str], code_sha256: str | None
) -> str | None:
    """Say why a journal's cases do not count now; ``None`` where they do. Pure.

    Args:
        head: The identity of the journal's session.
        settings: The present settings.
        code_sha256: Hash of the present code.
    """
    if head.code_sha256 is None or code_sha256 is None:
        return "it could not be told whether the code is the same: too many or unreadable files"
    if head.code_sha256 != code_sha256:
        return "the code has changed since"
    for name in _list_names(head.settings, settings):
        before, now = head.settings.get(name), settings.get(name)
        if before != now:
            return f"the setting {name} was {before} and is {now}"
    return None


def _list_names(*mappings: Mapping[str, str]) -> Iterable[str]:
    return dict.fromkeys(name for mapping in mappings for name in mapping)
