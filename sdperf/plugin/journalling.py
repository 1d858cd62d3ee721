"""The session's journal: finished cases are written to it, and a resumed session reads them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdperf.errors import ConfigurationError, ImageError, RecordError
from sdperf.plugin.live.ahead import Plan
from sdperf.record.environment import Environment
from sdperf.record.json import format_measurement, format_record, parse_measurement, parse_record
from sdperf.record.measurement import CaseKind, Measurement
from sdperf.record.observation import Observation
from sdperf.record.stages import SeparateStage
from sdperf.record.workload import SYNC_REFERENCES, Precision, Variant
from sdperf.settings import RESUME
from sdperf.store.code import hash_code, locate_module
from sdperf.store.images import ImageStore
from sdperf.store.journal import (
    MOST_JOURNALS,
    Journal,
    JournalContent,
    JournalEntry,
    JournalHead,
    JournalProcess,
    choose_journal,
    explain_other_session,
    list_journals,
    read_journal,
    remove_empty,
    remove_oldest,
)
from sdperf.store.quality import QUALITY_KEY, format_quality, make_quality_case, parse_quality
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.plugin.live.quality_results import QualityResult
    from sdperf.plugin.live.session import LiveSession
    from sdperf.plugin.options import Settings
    from sdperf.run.case import CaseResult
    from sdperf.run.suite import Suite

IMAGES: Final = Path(".sdperf") / "images"

UNMEASURED: Final = frozenset(
    {
        "html",
        "trace",
        "markdown",
        "max_slowdown",
        "max_suite_slowdown",
        "memory",
        "max_load",
        "max_first_call",
        "max_tail",
        "max_leak_bytes",
        "max_energy_j",
        "min_cores",
        "confirm_s",
        "budget_s",
        "limit_is_typed",
        "baselines",
        "calibration",
        "history",
        "durations",
        "strict",
        "exact",
        "resume",
    }
)
"""Settings that do not affect measuring: they may differ when a session is resumed. Every other
setting of `Settings`, also one that is added later, has to be equal."""

_MOMENTARY: Final = frozenset({"thermal_level"})
"""Fields of an environment that change from one minute to the next."""


@dataclass(frozen=True)
class ExpectedCase:
    """The properties that a case must have for its journal entry to count.

    Attributes:
        kind: Kind of the case.
        variant: The variant.
        stage: The stage of a ``stage`` case.
        rounds: Number of timed rounds of all processes together; ``None`` accepts any number.
    """

    kind: CaseKind
    variant: Variant
    stage: SeparateStage | None
    rounds: int | None


@dataclass
class SessionJournal:
    """A session's journal, with the cases that it took from an earlier process.

    Attributes:
        journal: The journal that this process writes; ``None`` where the session keeps none.
        images: The folder of pictures.
        earlier: Finished cases of earlier processes, by test id.
        kept: When the process began that measured each case that was taken over, by test id.
        measured_anew: Why cases of an earlier process were measured again, by test id.
        complaint: Why the journal cannot be written any more; ``None`` where it can.
        lines: Lines to show to people.
    """

    images: ImageStore
    journal: Journal | None = None
    earlier: Mapping[str, JournalEntry] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    measured_anew: dict[str, str] = field(default_factory=dict)
    complaint: str | None = None
    lines: list[str] = field(default_factory=list)

    def find_timed(self, suite: Suite, case: str, expected: ExpectedCase) -> CaseResult | None:
        """Return an earlier process's measurement of a case; ``None`` where it does not count."""
        from sdperf.run.case import CaseResult

        entry = self.earlier.get(case)
        if entry is None:
            return None
        try:
            if entry.kind != "timed":
                raise RecordError("it was a case of the quality suite")
            measurement = parse_measurement(entry.record)
            reason = _explain_other_case(suite, entry, measurement, expected)
            if reason is not None:
                raise RecordError(reason)
            pngs = self._read_images(entry)
        except (RecordError, ImageError) as error:
            self.measured_anew[case] = str(error)
            return None
        self.kept[case] = entry.started_at
        return CaseResult(measurement, pngs)

    def find_quality(
        self, suite: Suite, case: str, precision: Precision
    ) -> tuple[Observation, dict[str, bytes]] | None:
        """Return an earlier process's observation of a quality case, with its pictures."""
        entry = self.earlier.get(case)
        if entry is None:
            return None
        try:
            if entry.kind != "quality":
                raise RecordError("it was a timed case")
            (seen,) = parse_quality(Path("journal"), {QUALITY_KEY: dict(entry.record)})
            reason = _explain_other_place(suite, entry)
            if seen.precision != precision:
                reason = f"its precision was {seen.precision} and is {precision}"
            if reason is not None:
                raise RecordError(reason)
            pngs = self._read_images(entry)
        except (RecordError, ImageError, ValueError) as error:
            self.measured_anew[case] = str(error)
            return None
        self.kept[case] = entry.started_at
        return seen.seen, pngs

    def add_timed(self, suite: Suite, case: str, result: CaseResult) -> None:
        """Write a finished case to the disk, its pictures first."""
        against = {
            scores.against_sha256: suite.images.find_plain(scores.against_sha256)
            for image in result.measurement.images
            for scores in image.scores
            if scores.against in SYNC_REFERENCES
        }
        pngs = {sha256: png for sha256, png in against.items() if png is not None} | result.pngs
        self._add(suite, case, "timed", format_measurement(result.measurement), pngs)

    def add_quality(
        self, suite: Suite, case: str, result: QualityResult, shelf: Mapping[str, bytes]
    ) -> None:
        """Write a finished case of the quality suite to the disk, its pictures first.

        Args:
            suite: The suite of the session.
            case: Its test id.
            result: Its result.
            shelf: Every image that the quality suite made, by content hash.
        """
        record = format_quality(
            (make_quality_case(case, result.precision, result.observation, result.findings),)
        )
        named = _list_hashes(record)
        pngs = {sha256: shelf[sha256] for sha256 in named if sha256 in shelf}
        for sha256 in named - set(pngs):
            plain = suite.images.find_plain(sha256)
            if plain is not None:
                pngs[sha256] = plain
        self._add(suite, case, "quality", record, pngs)

    def _add(
        self,
        suite: Suite,
        case: str,
        kind: Any,
        record: Mapping[str, Any],
        pngs: Mapping[str, bytes],
    ) -> None:
        if self.journal is None or self.complaint is not None:
            return
        try:
            for png in pngs.values():
                self.images.write(png)
            self.journal.add(
                JournalEntry(
                    case=case,
                    kind=kind,
                    record=record,
                    environment=format_record(suite.environment()),
                    model_hash=suite.model.model_hash,
                    images=tuple(pngs),
                    started_at=self.journal.process.started_at,
                )
            )
        except OSError as error:
            self.complaint = f"the journal cannot be written: {error.strerror or error}"

    def _read_images(self, entry: JournalEntry) -> dict[str, bytes]:
        return {sha256: self.images.read_png(sha256) for sha256 in entry.images}

    def close(self, *, is_saved: bool) -> None:
        """Remove the journal of a session that was saved as a whole."""
        if self.journal is not None and is_saved:
            try:
                self.journal.remove()
            except OSError as error:
                self.lines.append(f"the journal cannot be removed: {error}")


def open_journal(
    live: LiveSession, arguments: Sequence[str], folder: Path, *, is_disabled: bool
) -> None:
    """Begin the session's journal, or continue the interrupted one.

    Args:
        live: The session.
        arguments: The words after ``pytest``.
        folder: The folder in which it was called.
        is_disabled: Whether ``--benchmark-disable`` was given.

    Raises:
        ConfigurationError: There is no session to resume, or it does not count.
        RecordError: The journal is damaged.
        OSError: It cannot be written.
    """
    settings = list_settings(live.settings, is_disabled=is_disabled)
    code_sha256 = hash_code(list_code_places(live.root, live.settings.subject, folder))
    now = datetime.now(UTC)
    process = JournalProcess(os.getpid(), now.isoformat(timespec="milliseconds"))
    held = live.journal = SessionJournal(ImageStore(live.root / IMAGES))
    if not live.settings.resume:
        remove_empty(live.root)
    left = list_journals(live.root)
    if live.settings.resume:
        content = _find_resumable(live.root, left)
        reason = explain_other_session(content.head, settings, code_sha256)
        if reason is not None:
            raise ConfigurationError(
                f"the interrupted session {content.head.session} does not count any more",
                got=reason,
                hint=f"leave {RESUME} out to measure everything; "
                "sdperf resume --forget removes that session",
            )
        held.journal = Journal.go_on(content, process)
        held.earlier = content.entries
        live.suites.plan = Plan(
            [one for one in live.suites.plan.tests if one.node_id not in content.entries]
        )
        held.lines.append(describe_left(content))
        return
    remove_oldest(live.root, MOST_JOURNALS - 1)
    head = JournalHead(
        session=f"{now:%Y%m%dT%H%M%S.%f}-{os.getpid()}",
        settings=settings,
        code_sha256=code_sha256,
        arguments=tuple(arguments),
        folder=str(folder),
        planned=len(live.suites.plan.tests),
    )
    held.journal = Journal.begin(live.root, head, process)
    for path in left[-1:]:
        held.lines.append(_describe_other(path))


def describe_left(content: JournalContent) -> str:
    """Describe an interrupted session in one line."""
    head = content.head
    since = content.processes[0].started_at if content.processes else head.session
    cases = format_quantity(len(content.entries), "finished case")
    return (
        f"the session that began {since} left {cases} of {head.planned} selected, "
        "those that are skipped among them"
    )


def _describe_other(path: Path) -> str:
    try:
        return (
            f"{describe_left(read_journal(path))}: sdperf resume goes on with it, "
            "sdperf resume --forget removes it"
        )
    except RecordError as error:
        return str(error)


def _find_resumable(root: Path, left: Sequence[Path]) -> JournalContent:
    if not left:
        raise ConfigurationError(
            "there is no interrupted session here",
            got=f"none in {root / '.sdperf' / 'journal'}",
            hint=f"leave {RESUME} out",
        )
    return read_journal(choose_journal(left))


def list_settings(settings: Settings, *, is_disabled: bool) -> dict[str, str]:
    """Return every setting that affects measuring, as text by name. Pure."""
    texts = {"benchmark_disable": str(is_disabled)}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if item.name == "workload":
            named = format_record(value)
            texts |= {f"workload.{name}": repr(part) for name, part in named.items()}
        elif item.name not in UNMEASURED:
            texts[item.name] = repr(sorted(value) if isinstance(value, frozenset) else value)
    return texts


def list_code_places(root: Path, subject: str | None, folder: Path) -> list[Path]:
    """Return the places of the code that affects measuring: project, sdperf and subject."""
    import sys

    import sdperf

    places = [root, Path(sdperf.__file__).parent]
    if subject is not None:
        search_path = [str(folder), *(entry or str(folder) for entry in sys.path)]
        found = locate_module(subject.partition(":")[0], search_path)
        places += [] if found is None else [found]
    return places


def _explain_other_case(
    suite: Suite, entry: JournalEntry, measurement: Measurement, expected: ExpectedCase
) -> str | None:
    """Say why a journal's measurement does not fit the present case; ``None`` where it does."""
    pairs: tuple[tuple[str, object, object], ...] = (
        ("the kind", measurement.kind, expected.kind),
        ("the variant", measurement.variant, expected.variant),
        ("the stage", measurement.stage, expected.stage),
        ("the number of rounds", len(measurement.rounds_s), expected.rounds),
        ("the workload", measurement.workload, suite.workload),
        ("the subject", measurement.subject, suite.subject),
        ("the model", measurement.model_hash, suite.model.model_hash),
    )
    for name, before, now in pairs:
        if before != now and not (name == "the number of rounds" and now is None):
            return f"{name} was {before} and is {now}"
    return _explain_other_place(suite, entry)


def _explain_other_place(suite: Suite, entry: JournalEntry) -> str | None:
    """Say how the machine, its software or the model differ; ``None`` where they do not."""
    if entry.model_hash != suite.model.model_hash:
        return f"the model was {entry.model_hash} and is {suite.model.model_hash}"
    before, now = parse_record(Environment, entry.environment), suite.environment()
    for item in dataclasses.fields(Environment):
        then, here = getattr(before, item.name), getattr(now, item.name)
        if item.name not in _MOMENTARY and then != here:
            return f"{item.name} of the machine was {then} and is {here}"
    return None


def _list_hashes(value: object) -> set[str]:
    """Return every content hash that a record names."""
    if isinstance(value, Mapping):
        found = {
            one for key, one in value.items() if key.endswith("sha256") and isinstance(one, str)
        }
        return found.union(*(_list_hashes(one) for one in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(_list_hashes(one) for one in value))
    return set()
