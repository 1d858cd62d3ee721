"""What a session is compared with: the accepted sessions of this machine, or saved runs."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdperf.errors import RecordError
from sdperf.judging.session.words import count_held, count_short, format_sessions_missing
from sdperf.judging.suite_estimate import FEWEST_SESSIONS
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import shorten_case
from sdperf.record.workload import Variant
from sdperf.settings import THREADS
from sdperf.store.baselines import AcceptedSession, BaselineStore
from sdperf.store.images import ImageStore
from sdperf.store.runs import SavedCase, parse_case
from sdperf.units import format_change, format_names, format_quantity

NOT_HELD: Final = "no compared run holds this case"
"""Reason of a case without a baseline, where no session has it under another id either."""

_SAVE: Final = "pytest benchmarks --benchmark-autosave"
_THREADS_PART: Final = re.compile(r"\d+t", re.ASCII)
"""The part of a test id that names the threads of a worker."""


@dataclass(frozen=True)
class ComparedSession:
    """One saved or accepted session.

    Attributes:
        source: Its file's name, as shown to people.
        cases: Its cases, by test id.
        images: The folder of its images.
        level_changed: Cases whose earlier history this session ends.
        is_accepted: Whether somebody accepted it, failures and all.
        stats: pytest-benchmark's own figures by test id, as read.
        path: Its file.
        void: Why no timing of it counts; always ``None``, since such a run is not saved.
        was_resumed: Whether several processes measured it; always false, since such a run is not
            saved.
        failed_guards: Guards of the machine that failed; always empty, since nobody asks here.
        machine: System, architecture and processor; always ``None``, since its records tell.
    """

    source: str
    cases: Mapping[str, SavedCase]
    images: ImageStore
    level_changed: tuple[str, ...] = ()
    is_accepted: bool = False
    stats: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    path: Path | None = None
    void: str | None = None
    was_resumed: bool = False
    failed_guards: tuple[str, ...] = ()
    machine: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Everything that a session is compared with.

    Attributes:
        is_asked: Whether ``--benchmark-compare`` was given.
        sessions: Oldest first.
        lines: Lines that explain the choice to people.
    """

    is_asked: bool = False
    sessions: tuple[ComparedSession, ...] = ()
    lines: tuple[str, ...] = ()

    def telling(self, lines: Iterable[str]) -> Comparison:
        """Return the same comparison with more lines about it."""
        return dataclasses.replace(self, lines=(*self.lines, *lines))

    def list_absent(self, ran: Iterable[str]) -> list[str]:
        """Return the cases of the latest session that did not run now."""
        ran = set(ran)
        return (
            [name for name in self.sessions[-1].cases if name not in ran] if self.sessions else []
        )


def compare_with_accepted(
    accepted: Sequence[AcceptedSession],
    limit: float,
    gross: float,
    names: Iterable[str] | None = None,
) -> Comparison:
    """Compare a session with the accepted ones of its machine. Pure.

    Args:
        accepted: The accepted sessions, oldest first, one or more.
        limit: Binding limit of a case, as a fraction.
        gross: Slowdown that fails before the limit binds, as a fraction.
        names: The cases of the session; those of the latest accepted one where none are given.
    """
    held = count_held([(one.run.cases, one.acceptance.level_changed) for one in accepted], names)
    return Comparison(
        is_asked=True,
        sessions=tuple(
            ComparedSession(
                source=f"baseline {one.number:04}",
                cases=one.run.cases,
                images=one.images,
                level_changed=one.acceptance.level_changed,
                is_accepted=True,
                stats={
                    saved["fullname"]: saved.get("stats")
                    for saved in one.run.document["benchmarks"]
                },
                path=one.run.path,
            )
            for one in accepted
        ),
        lines=(
            f"compared with the baselines of this machine: "
            f"{format_sessions_missing(len(accepted), held)}",
            _describe_limit(held or (len(accepted),), limit, gross),
        ),
    )


def compare_with_saved(
    compared: Mapping[Any, Mapping[str, Any]],
    storage: Path,
    limit: float,
    gross: float,
    names: Iterable[str] | None = None,
) -> Comparison:
    """Compare a session with the runs that pytest-benchmark loaded. Pure, but for resolving paths.

    Args:
        compared: Path to benchmarks by test id, as in ``BenchmarkSession.compared_mapping``.
        storage: Folder that relative paths start from.
        limit: Binding limit of a case, as a fraction.
        gross: Slowdown that fails before the limit binds, as a fraction.
        names: The cases of the session; those of the latest saved run where none are given.
    """
    sessions = []
    for relative, benchmarks in compared.items():
        path = storage / Path(str(relative))
        cases = {name: parse_case(name, saved) for name, saved in benchmarks.items()}
        sessions.append(
            ComparedSession(
                source=path.name,
                cases=cases,
                images=ImageStore(path.parent / "images"),
                stats={name: saved.get("stats") for name, saved in benchmarks.items()},
                path=path,
            )
        )
    if not sessions:
        return Comparison(is_asked=True, lines=("compared with nothing: no run was saved yet",))
    named = sessions[0].source if len(sessions) == 1 else f"{len(sessions)} saved runs"
    held = count_held([(one.cases, one.level_changed) for one in sessions], names)
    return Comparison(
        is_asked=True,
        sessions=tuple(sessions),
        lines=(
            f"compared with {named}",
            _describe_limit(held or (len(sessions),), limit, gross, "more session"),
        ),
    )


def _describe_limit(
    held: Sequence[int], limit: float, gross: float, kind: str = "more accepted session"
) -> str:
    """Say which limit binds, by the sessions that count for each case."""
    sessions, short = min(held), count_short(held)
    where = f" in {short}" if short else ""
    if sessions >= FEWEST_SESSIONS:
        return f"limit {format_change(1 + limit)} a case, held to the spread between sessions"
    missing = format_quantity(FEWEST_SESSIONS - sessions, kind)
    if gross <= limit:
        return (
            f"{format_change(1 + limit)} fails; {missing} to know the spread between sessions"
            f"{where}"
        )
    return (
        f"only {format_change(1 + gross)} fails{where}; {missing} for the "
        f"limit of {format_change(1 + limit)} to bind"
    )


def load_last_saved(storage: Any) -> dict[Any, dict[str, Any]]:
    """Load the last saved run as pytest-benchmark does for a bare ``--benchmark-compare``."""
    return {
        path: {saved["fullname"]: saved for saved in document["benchmarks"]}
        for path, document in list(storage.load())[-1:]
    }


def describe_renamed(
    sessions: Sequence[ComparedSession], measured: Mapping[str, Measurement]
) -> str | None:
    """Say which cases no session holds by their ids, but the latest one by what they measure. Pure.

    An option with one value is no part of an id; an axis that is named is. So ``none`` among the
    optimisations gives the plain case another id.

    Args:
        sessions: The sessions compared with, oldest first.
        measured: The current measurements by test id.

    Returns:
        ``None`` where there is no such case.
    """
    if not sessions:
        return None
    latest = sessions[-1]
    known = {name for one in sessions for name in one.cases}
    gone = {
        _describe_work(name, case.measurement): name
        for name, case in latest.cases.items()
        if case.measurement is not None and name not in measured
    }
    renamed = {
        shorten_case(gone[key]): shorten_case(name)
        for name, one in measured.items()
        if name not in known
        and (key := _describe_work(name, one)) in gone
        and _differ_by_an_axis(gone[key], name)
    }
    if not renamed:
        return None
    was, now = next(iter(renamed.items()))
    count = format_quantity(len(renamed), "case")
    return (
        f"{latest.source} holds {count} of now under another id, because another axis is named "
        f"now: {was} is {now}. Cases are compared by id: name the axes as then, or save a run "
        "with these"
    )


def explain_absence(
    sessions: Sequence[ComparedSession], name: str, measured: Measurement
) -> tuple[str, str]:
    """Say why no session holds a case: perhaps one does under another id. Pure.

    Args:
        sessions: The sessions compared with, oldest first; none of them holds this id.
        name: The case, by its test id.
        measured: Its current measurement.

    Returns:
        The reason, and what to do in place of accepting a run.
    """
    if not sessions:
        return "there is no run to compare with", _SAVE
    held = [
        (one, other, case.measurement)
        for one in reversed(sessions)
        for other, case in one.cases.items()
        if case.measurement is not None
    ]
    for one, other, then in held:
        if _differ_by_an_axis(other, name) and (
            _describe_work(other, then) == _describe_work(name, measured)
        ):
            return (
                f"{one.source} has it under another id, {shorten_case(other)}",
                "name the axes as then",
            )
    for one, other, then in held:
        if _differ_by_threads((other, then), (name, measured)):
            typed = then.variant.threads
            return (
                f"measured with {_describe_threads(measured)}; {one.source} has it with "
                f"{_describe_threads(then)}",
                f"pytest without {THREADS}"
                if typed is None
                else f"pytest benchmarks {THREADS} {typed}",
            )
    return NOT_HELD, _SAVE


def _differ_by_threads(one: tuple[str, Measurement], other: tuple[str, Measurement]) -> bool:
    """Tell whether two cases, each with its id, differ by typed threads and the ids' axes alone."""
    (name, then), (now, measured) = one, other
    if then.variant.threads == measured.variant.threads:
        return False
    parts, others = (
        Counter(part for part in _split_id(each) if not _THREADS_PART.fullmatch(part))
        for each in (name, now)
    )
    return (parts <= others or others <= parts) and (
        _describe_work(name, _automatic(then)) == _describe_work(now, _automatic(measured))
    )


def _automatic(one: Measurement) -> Measurement:
    """Return a measurement whose number of threads nobody typed."""
    return dataclasses.replace(one, variant=dataclasses.replace(one.variant, threads=None))


def _describe_threads(one: Measurement) -> str:
    typed = one.variant.threads
    if typed is not None:
        return format_quantity(typed, "thread")
    if one.worker_threads is None:
        return "the automatic number"
    return f"{one.worker_threads}, the automatic number"


def _describe_work(name: str, one: Measurement) -> tuple[str, str, Variant, int]:
    """Return what makes two cases of one test the same, whatever their ids are."""
    return name.partition("[")[0], one.kind, one.variant.identity, one.images_per_round


def _differ_by_an_axis(one: str, other: str) -> bool:
    """Tell whether one of two ids has all parts of the other, and more."""
    parts, others = (Counter(_split_id(name)) for name in (one, other))
    return parts != others and (parts <= others or others <= parts)


def _split_id(name: str) -> list[str]:
    """Return the parts of a test id in its brackets."""
    return name.partition("[")[2].removesuffix("]").split("-")


def describe_elsewhere(
    accepted: Sequence[ComparedSession],
    saved: Sequence[ComparedSession],
    measured: Iterable[str],
) -> list[str]:
    """Say which cases no accepted session holds, but a saved run does. Pure.

    Args:
        accepted: The accepted sessions that are compared with.
        saved: The last saved run, if there is one.
        measured: The current cases, by test id.

    Returns:
        One line, or none where every case has a baseline or no saved run helps.
    """
    known = {name for one in accepted for name in one.cases}
    new = [name for name in measured if name not in known]
    for one in saved[-1:]:
        held = [shorten_case(name) for name in new if name in one.cases]
        if held:
            return [
                f"no baseline has {format_names(held)}, but the saved run {one.source} does: "
                f"--benchmark-compare={one.source.partition('_')[0]} compares with that run alone"
            ]
    return []


def describe_nearest(
    store: BaselineStore, fingerprint: str, measured: Mapping[str, Measurement]
) -> list[str]:
    """Show the baselines of the most similar machine, for information only.

    Args:
        store: The accepted sessions of all machines.
        fingerprint: This machine.
        measured: The current measurements by test id.

    Raises:
        RecordError: The nearest baselines are damaged.
    """
    others = [each for each in store.list_fingerprints() if each != fingerprint]
    if not others:
        return []
    nearest = max(others, key=lambda other: count_shared_parts(other, fingerprint))
    sessions = store.load(nearest)
    lines = [f"nearest baselines, for information: {nearest}"]
    ours, theirs = (set(each.split("--")) for each in (fingerprint, nearest))
    lines.append(
        f"  there {', '.join(sorted(theirs - ours)) or '-'}; here "
        f"{', '.join(sorted(ours - theirs)) or '-'}"
    )
    changes = []
    for name, measurement in measured.items():
        medians = [
            statistics.median(saved.rounds_s)
            for session in sessions
            if (case := session.run.cases.get(name)) is not None
            and (saved := case.measurement) is not None
            and case.unusable is None
        ]
        if medians:
            current = math.log(statistics.median(measurement.rounds_s))
            changes.append(current - statistics.fmean(map(math.log, medians)))
    if changes:
        change = format_change(math.exp(statistics.median(changes)))
        lines.append(
            f"  {format_quantity(len(changes), 'case')} took {change} of its time in the "
            "median; not judged"
        )
    return lines


def count_shared_parts(one: str, other: str) -> int:
    """Count the parts that two fingerprints have in common. Pure."""
    return len(set(one.split("--")) & set(other.split("--")))


def find_damage(storage: Any, compare: object, loaded: Iterable[Any]) -> RecordError | None:
    """Find a saved run that was asked for but could not be loaded.

    pytest-benchmark skips such a run with a warning and compares with an older one.

    Args:
        storage: pytest-benchmark's storage.
        compare: The value of ``--benchmark-compare``; ``True`` is the last run.
        loaded: Paths that were loaded.
    """
    if not hasattr(storage, "query"):
        return None
    from sdperf.store.runs import read_run

    files = storage.query("[0-9][0-9][0-9][0-9]_")[-1:] if compare is True else []
    files = storage.query(compare) if isinstance(compare, str) else files
    known = {(Path(storage.path) / str(path)).resolve() for path in loaded}
    for file in files:
        if Path(file).resolve() not in known:
            try:
                read_run(Path(file))
            except RecordError as error:
                return error
            return RecordError(f"{file} cannot be compared with", hint="save the run again")
    return None
