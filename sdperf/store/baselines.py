"""Accepted sessions: later runs are compared with them. Only `accept_run` adds one.

``<folder>/<fingerprint>/NNNN_<time>_<commit>_<content>.json`` are ordinary pytest-benchmark files,
so that ``pytest-benchmark --storage <folder> compare`` reads them too; their images lie in
``<fingerprint>/images/<sha256>.png``. Images are written first and the session last, each file
atomically: a kill at any moment leaves the old state or the new one, at worst with unused images.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError, ImageError, RecordError
from sdperf.record.json import format_record
from sdperf.record.measurement import Measurement
from sdperf.record.observation import ACCEPTED, ImageParity
from sdperf.record.verdict import Outcome
from sdperf.shell import join_command, join_step
from sdperf.store.files import write_atomically
from sdperf.store.images import ImageStore
from sdperf.store.runs import ACCEPTED_KEY, Acceptance, SavedRun, hash_content, read_run
from sdperf.units import format_quantity

DEFAULT_FOLDER: Final = "benchmarks/baselines"
IMAGES: Final = "images"

_NAME: Final = re.compile(r"(\d{4,})_.+\.json")
_LONGEST_FINGERPRINT: Final = 200
_STALE_S: Final = 3600.0
_LEVEL_CHANGES: Final = (Outcome.SLOWER, Outcome.FASTER, Outcome.HEAVIER, Outcome.DEGRADED)


@dataclass(frozen=True)
class AcceptedSession:
    """One accepted session.

    Attributes:
        fingerprint: The kind of machine that it was measured on.
        number: Its place in the order of acceptance, from 1.
        run: The run.
        acceptance: When and why it was accepted, and the commit that was measured.
    """

    fingerprint: str
    number: int
    run: SavedRun
    acceptance: Acceptance

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.run.path.stem

    @property
    def images(self) -> ImageStore:
        """The folder of its images."""
        return ImageStore(self.run.path.parent / IMAGES)


@dataclass(frozen=True)
class BaselineStore:
    """A folder of accepted sessions.

    Attributes:
        folder: The folder, ``benchmarks/baselines`` of the project.
    """

    folder: Path

    def list_fingerprints(self) -> list[str]:
        """Return the kinds of machine that have accepted sessions, sorted."""
        return sorted({path.parent.name for path in self.folder.glob("*/*.json")})

    def is_empty(self) -> bool:
        """Tell whether no machine has an accepted session."""
        return not self.list_fingerprints()

    def load(self, fingerprint: str) -> list[AcceptedSession]:
        """Read the accepted sessions of one kind of machine, oldest first.

        Raises:
            RecordError: One of them is damaged. No session is skipped: a baseline that lost a
                session unnoticed would let slowdowns pass.
        """
        return [
            _read_accepted(path, number)
            for number, path in sorted(_numbered(self.folder / fingerprint))
        ]

    def load_all(self) -> list[AcceptedSession]:
        """Read every accepted session, by fingerprint, oldest first.

        Raises:
            RecordError: One of them is damaged.
        """
        return [
            session
            for fingerprint in self.list_fingerprints()
            for session in self.load(fingerprint)
        ]

    def check_images(self) -> None:
        """Check that every accepted picture exists and has not changed.

        Raises:
            RecordError: A picture is missing or was changed, so that none can be compared with it.
        """
        for session in self.load_all():
            for sha256 in sorted(_list_images(session.run)):
                fault = explain_missing_image(session, sha256)
                if fault is not None:
                    raise RecordError(
                        f"the accepted session {session.name} is damaged: {fault}",
                        hint=join_step(
                            join_command(["git", "checkout", str(session.images.folder)]),
                            ", or take the session out: ",
                            join_command(["sdperf", "baseline", "reject", str(session.number)]),
                        ),
                    )

    def find(self, name: str, fingerprint: str | None = None) -> AcceptedSession:
        """Find one session by its number, the beginning of its name, or its file.

        Raises:
            ConfigurationError: No session fits, or more than one.
            RecordError: The session is damaged.
        """
        wanted = Path(name).name.removesuffix(".json")
        paths = [
            (number, path)
            for each in self.list_fingerprints()
            if fingerprint in (None, each)
            for number, path in _numbered(self.folder / each)
            if path.stem.startswith(wanted) or (wanted.isdecimal() and number == int(wanted))
        ]
        if len(paths) != 1:
            raise ConfigurationError(
                f"{len(paths) or 'no'} accepted sessions are called {name}",
                got=", ".join(f"{path.parent.name}/{path.stem}" for _, path in paths) or None,
                expected="exactly one",
                hint="sdperf baseline list",
            )
        return _read_accepted(paths[0][1], paths[0][0])

    def accept(
        self,
        run: SavedRun,
        *,
        reason: str,
        intended_change: bool = False,
        now: datetime | None = None,
    ) -> AcceptedSession:
        """Make a run an accepted session.

        Args:
            run: A run that the plugin wrote, its images beside it in ``images/``.
            reason: Why it is accepted; must not be empty.
            intended_change: Whether to accept cases that were SLOWER, HEAVIER or DEGRADED. They
                begin a new history. A case that was BROKEN is never accepted.
            now: The time of acceptance; the present time by default.

        Raises:
            ConfigurationError: The run is not fit to be a baseline, or was accepted before.
            RecordError: Its records are damaged.
            ImageError: One of its images is missing or was changed.
            OSError: The folder cannot be written.
        """
        measurements = check_acceptable(run, intended_change=intended_change)
        reason = " ".join(reason.split())
        if not reason:
            raise ConfigurationError("a baseline needs a reason", hint="--reason 'why it is right'")
        with self._locked():
            return self._accept_alone(run, measurements, reason, now)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from changing the sessions; leaves no file behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _accept_alone(
        self,
        run: SavedRun,
        measurements: dict[str, Measurement],
        reason: str,
        now: datetime | None,
    ) -> AcceptedSession:
        fingerprint = _single_fingerprint(run, measurements)
        folder = self.folder / fingerprint
        content = hash_content(run.document)
        numbered = sorted(_numbered(folder))
        for number, path in numbered:
            if _read_accepted(path, number).acceptance.content_sha256 == content:
                raise ConfigurationError(
                    f"{run.path} was accepted before", got=path.name, hint="sdperf baseline list"
                )
        instant = (now or datetime.now(UTC)).astimezone(UTC)
        commit = next(iter(measurements.values())).environment.commit
        acceptance = Acceptance(
            reason=reason,
            accepted_at=instant.isoformat(timespec="seconds"),
            commit=commit,
            content_sha256=content,
            level_changed=_list_level_changes(run),
        )
        source, target = ImageStore(run.path.parent / IMAGES), ImageStore(folder / IMAGES)
        _copy_images(source, target, _list_images(run))
        _remove_stale(folder)
        number = numbered[-1][0] + 1 if numbered else 1
        short = re.sub(r"[^0-9a-f]", "", (commit or "")[:8]) or "nocommit"
        path = folder / f"{number:04}_{instant:%Y%m%dT%H%M%SZ}_{short}_{content[:8]}.json"
        document = dict(run.document) | {ACCEPTED_KEY: format_record(acceptance)}
        write_atomically(path, json.dumps(document, indent=1).encode() + b"\n")
        return AcceptedSession(fingerprint, number, dataclasses.replace(run, path=path), acceptance)

    def reject(self, session: AcceptedSession) -> list[Path]:
        """Remove a session, with the images that no other session of its machine needs.

        Returns:
            The session that was removed.

        Raises:
            RecordError: Another session is damaged, so that its images are unknown.
            OSError: A file cannot be removed.
        """
        with self._locked():
            return self._reject_alone(session)

    def _reject_alone(self, session: AcceptedSession) -> list[Path]:
        folder = self.folder / session.fingerprint
        others = [one for one in self.load(session.fingerprint) if one.name != session.name]
        needed = {sha256 for other in others for sha256 in _list_images(other.run)}
        removed = [session.run.path]
        session.run.path.unlink()
        for path in sorted((folder / IMAGES).glob("*.png")):
            if path.stem not in needed:
                path.unlink()
                removed.append(path)
        for emptied in (folder / IMAGES, folder):
            with contextlib.suppress(OSError):
                emptied.rmdir()
        return removed


def check_acceptable(run: SavedRun, *, intended_change: bool) -> dict[str, Measurement]:
    """Check that a run meets the needs of a baseline. Pure.

    Returns:
        Its measurements by test id.

    Raises:
        ConfigurationError: A case failed, the run was void, interrupted or resumed, or nothing was
            measured.
        RecordError: A record cannot be used.
    """
    again = "measure again: pytest benchmarks"
    if run.summary is None:
        raise ConfigurationError(
            f"{run.path} does not say what became of its cases",
            expected="a run that sdperf's plugin wrote",
            hint=again,
        )
    if run.summary.void is not None:
        raise ConfigurationError(f"{run.path} is void", got=run.summary.void, hint=again)
    if run.summary.interrupted:
        raise ConfigurationError(f"{run.path} was interrupted", hint=again)
    if run.summary.was_resumed:
        raise ConfigurationError(
            f"{run.path} was resumed after an interruption: its cases share no process",
            got=f"{len(run.summary.earlier)} of "
            f"{format_quantity(len(run.summary.outcomes), 'case')} from an earlier process",
            expected="a session in one piece",
            hint=again,
        )
    forgiven = _LEVEL_CHANGES if intended_change else ()
    together = {} if run.summary.suite is None else {"all cases together": run.summary.suite}
    failed = {
        name: outcome
        for name, outcome in (*run.summary.outcomes.items(), *together.items())
        if outcome not in {one.value for one in Outcome if not one.is_failure or one in forgiven}
    }
    if failed:
        name, outcome = next(iter(failed.items()))
        is_broken = Outcome.BROKEN.value in failed.values()
        raise ConfigurationError(
            f"{run.path} failed: {len(failed)} of "
            f"{format_quantity(len(run.summary.outcomes), 'case')}"
            if name in run.summary.outcomes
            else f"{run.path} failed as a whole",
            got=f"{outcome} {name}",
            expected="no failure",
            hint="repair what is broken and measure again"
            if is_broken or intended_change
            else "repair it; or, if the change is meant, add --intended-change",
        )
    measurements = {}
    for name, case in run.cases.items():
        if case.measurement is None or case.unusable is not None:
            raise RecordError(f"{run.path}: {name} cannot be used", got=case.unusable, hint=again)
        measurements[name] = case.measurement
    looked_at = {one.case for one in run.quality}
    lost = sorted(set(run.summary.outcomes) ^ (set(measurements) | looked_at))
    if lost or not measurements:
        raise RecordError(
            f"{run.path} holds no measurement of each of its cases",
            got=lost[0] if lost else "no case at all",
            expected="a run without --benchmark-disable",
            hint=again,
        )
    return measurements


def _list_level_changes(run: SavedRun) -> tuple[str, ...]:
    """Name the cases that begin a new history: those that changed alone, or all together."""
    changes = {one.value for one in _LEVEL_CHANGES}
    if run.summary is None:
        return ()
    is_whole = run.summary.suite in changes
    return tuple(
        name for name, outcome in run.summary.outcomes.items() if is_whole or outcome in changes
    )


def _single_fingerprint(run: SavedRun, measurements: dict[str, Measurement]) -> str:
    found = sorted({one.environment.fingerprint() for one in measurements.values()})
    if len(found) != 1 or not 0 < len(found[0]) <= _LONGEST_FINGERPRINT:
        raise RecordError(
            f"{run.path} is not of one machine", got=", ".join(found)[:300], expected="one"
        )
    return found[0]


def _copy_images(source: ImageStore, target: ImageStore, wanted: set[str]) -> None:
    for sha256 in sorted(wanted):
        source.read(sha256)  # raises where it is missing, changed or not an image
        target.write(source.path(sha256).read_bytes())


def _list_images(run: SavedRun) -> set[str]:
    """List the images that later sessions are compared with, by content hash."""
    measured = [case.measurement for case in run.cases.values() if case.measurement is not None]
    own = [one.seen for one in run.quality if isinstance(one.seen, ImageParity)]
    return {
        *(image.sha256 for one in measured for image in one.images),
        *(image.sha256 for one in own if one.against == ACCEPTED for image in one.images),
    }


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("*.json"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise RecordError(
                f"{path} is no accepted session",
                expected="files that sdperf baseline accept wrote",
                hint="move it elsewhere",
            )
        found.append((int(match.group(1)), path))
    return found


def _read_accepted(path: Path, number: int) -> AcceptedSession:
    run = read_run(path)
    acceptance = run.acceptance
    if acceptance is None:
        raise RecordError(
            f"{path} was never accepted",
            hint="move it away; sdperf baseline accept makes these files",
        )
    if hash_content(run.document) != acceptance.content_sha256:
        raise RecordError(
            f"{path} was changed after it was accepted",
            hint="git checkout it, or sdperf baseline reject it",
        )
    return AcceptedSession(path.parent.name, number, run, acceptance)


def _remove_stale(folder: Path) -> None:
    """Remove the unfinished files of a killed writer, once nobody can still be writing them."""
    for path in (*folder.glob(".*.tmp"), *(folder / IMAGES).glob(".*.tmp")):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def explain_missing_image(session: AcceptedSession, sha256: str) -> str | None:
    """Say why a reference image of a session cannot be read; ``None`` when it can."""
    try:
        session.images.read(sha256)
    except ImageError as error:
        return str(error)
    return None
