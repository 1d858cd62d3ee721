"""The end of a session: every case judged and its verdict written into its record."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sdperf.errors import SdperfError
from sdperf.judging.doubts.processes import judge_processes
from sdperf.judging.session.comparison import (
    Comparison,
    compare_with_accepted,
    compare_with_saved,
    describe_nearest,
    load_last_saved,
)
from sdperf.judging.session.confirmation import INTERRUPTED
from sdperf.judging.session.gate import Gate, JudgedCase
from sdperf.judging.session.recorded import (
    RecordedCase,
    judge_recorded,
    repeat_suspects,
)
from sdperf.judging.session.speed import Confirm, SpeedVerdict, judge_speed, void_finding
from sdperf.judging.settling import name_baselines
from sdperf.plugin.ending.calibrated import find_noise
from sdperf.plugin.ending.confirming import confirm_suspects
from sdperf.plugin.ending.html import ReportError, write_html
from sdperf.plugin.ending.keeping import keep_in_history, write_markdown
from sdperf.plugin.ending.parts import divide, judge_parts
from sdperf.plugin.ending.saving import (
    EVIDENCE_FOLDER,
    find_json_folder,
    find_storage_folder,
    guard_saving,
    has_result,
    store_evidence,
    store_images,
    store_last_run,
    store_null_control,
)
from sdperf.plugin.ending.starts import explain_tails, make_repeat
from sdperf.plugin.exit_status import EXIT_VOID
from sdperf.record.json import format_measurement
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import EVIDENCE_PATH, Finding, Outcome, Verdict, shorten_case
from sdperf.report.text.session.cases import Row
from sdperf.report.text.session.quality_seen import describe_seen
from sdperf.settings import CONFIRM, HTML
from sdperf.store.baselines import BaselineStore

if TYPE_CHECKING:
    from sdperf.plugin.session import SdSession
    from sdperf.run.case import CaseResult


REFUSALS: Final = {
    "failure": "not saved: a run with a failure is never a baseline",
    "void": "not saved: a void run is never a baseline",
    "interrupted": "not saved: an interrupted run is never a baseline",
    "resumed": "not saved: a resumed run is never a baseline, its cases share no process",
}

EXIT_UNSAVED: Final = 3
"""Exit status of a session that could not write what was asked for; what it found is kept."""


def finish_session(session: pytest.Session, ours: SdSession) -> None:
    """Judge all cases, before pytest-benchmark saves.

    Verdicts and scores go into ``extra_info``; images are stored by content hash beside whatever
    is saved, and the whole run as the last one, for ``sdperf baseline accept``. A run with a
    failure exits 1, a void one 6, and neither is saved as a run to compare with.
    """
    host = getattr(session.config, "_benchmarksession", None)
    ours.interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
    with ours.ledger.spend("comparing"):
        _judge(ours, host)
    failing = _find_failing(ours)
    void = ours.speed.confirmation.void is not None and not failing
    ours.interrupted |= ours.speed.confirmation.was_interrupted
    folders, storage = [session.config.rootpath / EVIDENCE_FOLDER / "images"], None
    if host is not None:
        refusal = "failure" if failing or session.testsfailed else None
        refusal = refusal or ("void" if void else "interrupted" if ours.interrupted else None)
        if refusal is None and ours.journal is not None and ours.journal.kept:
            refusal = "resumed"
        if refusal is not None:
            ours.refused_save = REFUSALS[refusal] if host.save or host.autosave else None
            host.save = host.autosave = None
        host.save_data = True
        host.quiet = host.quiet or (
            len(host.benchmarks) == len(ours.results)
            and not session.config.getoption("benchmark_columns")
        )
        if (beside := find_json_folder(host)) is not None:
            folders.append(beside)
        storage = find_storage_folder(host)
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        if ours.interrupted:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        elif failing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif void:
            session.exitstatus = EXIT_VOID
    run = _store(session, ours, host, folders, storage) if has_result(ours) else None
    if run is not None and host is not None and not host.disabled:
        keep_in_history(ours, run, session.config.rootpath)
    if run is not None and ours.settings.html is not None:
        try:
            ours.report = write_html(ours, session.config.rootpath, ours.settings.html)
        except ReportError as error:
            kind = ours.unsaved if error.is_unwritten else ours.undrawn
            kind.append(f"{HTML}: {error}")
    if ours.settings.markdown is not None and not hasattr(session.config, "workerinput"):
        write_markdown(ours, ours.settings.markdown, has_failed=session.exitstatus != 0)
    if host is not None:
        guard_saving(ours, host)


def _store(
    session: pytest.Session, ours: SdSession, host: Any, folders: list[Path], storage: Path | None
) -> str | None:
    """Store the run, its evidence first; return it as it was stored, ``None`` where it was not.

    A run without a result stores nothing: it would overwrite one that has some.
    """
    root = session.config.rootpath
    try:
        store_images(ours, folders, storage)
        store_evidence(ours, root / EVIDENCE_PATH)
        store_null_control(ours, root)
        return None if host is None else store_last_run(session.config, host)
    except OSError as error:
        where = "" if error.filename is None else f" ({error.filename})"
        ours.unsaved.append(f"the run cannot be stored: {error.strerror or error}{where}")
    return None


def close_session(session: pytest.Session, ours: SdSession) -> None:
    """Say what could not be written, and remove the journal of a session that is saved as a whole.

    Comes after pytest-benchmark has saved.
    """
    journal = ours.journal
    is_whole = not (ours.unsaved or ours.interrupted or ours.list_left_out()) and (
        journal is None or journal.complaint is None
    )
    if (ours.unsaved or ours.undrawn) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = EXIT_UNSAVED
    if journal is not None:
        journal.close(is_saved=is_whole)


def _judge(ours: SdSession, host: Any) -> None:
    """Judge images and memory case by case, speed over the whole suite, and make the rows."""
    ids = ours.judged_ids()
    complete = {
        node_id: result
        for node_id in ids
        if (result := ours.results.get(node_id)) is not None and node_id not in ours.complaints
    }
    try:
        ours.comparison = _choose_comparison(ours, host, complete)
    except SdperfError as error:
        ours.comparison, ours.no_overlap = Comparison(is_asked=True), str(error)
    gate = Gate(
        comparison=ours.comparison,
        references=ours.suite().shipped if complete else None,
        memory=None if ours.settings.in_process else ours.settings.memory,
    )
    judged, broken = {}, {}
    for node_id, result in complete.items():
        try:
            judged[node_id] = gate.judge(node_id, result)
        except SdperfError as error:
            broken[node_id] = Finding(Outcome.BROKEN, "image", str(error))
    timed = judged if host is not None and not host.disabled else {}
    timed = {node_id: one for node_id, one in timed.items() if node_id not in ours.order.void}
    settings = ours.settings
    slowdowns = {one: settings.case_slowdown(ours.limits.get(one)) for one in ids}
    confirm: Confirm | None = None
    unconfirmed = INTERRUPTED if settings.confirm_s > 0 else f"{CONFIRM} 0"
    noises = find_noise(ours, {name: one.measurement for name, one in timed.items()})

    def judge(part: Mapping[str, JudgedCase], asked: Confirm | None, why: str) -> SpeedVerdict:
        limits = settings.latency_limits()
        return judge_speed(
            part, slowdowns, limits, asked, unconfirmed=why, noises=noises, typed=ours.typed
        )

    parts = divide(timed, {} if ours.journal is None else ours.journal.kept)
    if settings.confirm_s > 0 and not ours.interrupted:
        share_s = settings.confirm_s / max(1, len(parts))
        confirm = functools.partial(confirm_suspects, ours, timed, budget_s=share_s)
    ours.speed = judge_parts(parts, judge, confirm, unconfirmed) if parts else SpeedVerdict()
    judged |= _repeat_suspects(ours, timed)
    recorded = _judge_recorded(ours, {name: judged[name] for name in timed})
    for node_id in ids:
        one = judged.get(node_id)
        extra = [broken[node_id]] if node_id in broken else []
        if one is not None:
            is_void = node_id in ours.order.void
            extra += _judge_timing(node_id, one, ours, is_timed=bool(timed) or is_void)
            extra += recorded.get(node_id, [])
            extra += _judge_compare_fail(node_id, ours, host)
        ours.rows.append(_make_row(ours, host, node_id, one, extra))


def _repeat_suspects(ours: SdSession, timed: Mapping[str, JudgedCase]) -> dict[str, JudgedCase]:
    """Measure again what is suspect of starts and tails, and put what came of it on record.

    Returns:
        The suspects, their records with what came of it.
    """
    settings = ours.settings
    is_void = ours.speed.confirmation.void is not None
    if is_void or settings.confirm_s == 0 or ours.interrupted or settings.in_process:
        return {}
    repeat = make_repeat(ours, timed, settings.confirm_s)
    found = repeat_suspects(_as_recorded(timed), settings.recorded_limits(), repeat)
    return {
        name: dataclasses.replace(
            timed[name], measurement=dataclasses.replace(timed[name].measurement, repeats=repeats)
        )
        for name, repeats in found.items()
    }


def _judge_recorded(ours: SdSession, timed: Mapping[str, JudgedCase]) -> dict[str, list[Finding]]:
    """Judge what is in the records beside the median."""
    is_void = ours.speed.confirmation.void is not None
    ours.tails_left_out = None if is_void else explain_tails(timed)
    limits = ours.settings.recorded_limits()
    return judge_recorded(_as_recorded(timed), limits, is_void=is_void)


def _as_recorded(timed: Mapping[str, JudgedCase]) -> dict[str, RecordedCase]:
    return {name: RecordedCase(one.measurement, one.history) for name, one in timed.items()}


def _judge_timing(
    node_id: str, judged: JudgedCase, ours: SdSession, *, is_timed: bool
) -> list[Finding]:
    """Return what is said of a case's speed, beside its images."""
    said = (judge_processes(judged.measurement), ours.order.judge(node_id))
    findings = [one for one in said if one is not None]
    if node_id in ours.speed.cases:
        findings.append(ours.speed.cases[node_id])
    elif not is_timed and any(saved is not None for saved in judged.history):
        findings.append(
            Finding(
                Outcome.INCONCLUSIVE,
                "latency",
                "nothing is said of speed: --benchmark-disable runs one round, not warmed up",
                "leave --benchmark-disable out",
            )
        )
    return findings


def _judge_compare_fail(node_id: str, ours: SdSession, host: Any) -> list[Finding]:
    """Apply ``--benchmark-compare-fail``, before anything is saved and without a traceback."""
    findings = []
    for benchmark in host.benchmarks if ours.compare_fail else ():
        for session in ours.comparison.sessions[-1:] if benchmark.fullname == node_id else ():
            saved = session.stats.get(node_id)
            for check in ours.compare_fail if isinstance(saved, dict) else ():
                flat = benchmark.as_dict(include_data=False, stats=False) | saved
                try:
                    failure = check.fails(benchmark, flat)
                except (KeyError, TypeError, ValueError, ArithmeticError) as error:
                    reason = f"--benchmark-compare-fail: {session.source} lacks {error}"
                    findings.append(Finding(Outcome.INCOMPARABLE, "latency", reason))
                    continue
                if failure and ours.speed.confirmation.void is not None:
                    findings.append(void_finding(ours.speed.confirmation.void))
                elif failure:
                    reason = f"--benchmark-compare-fail: {failure} against {session.source}"
                    findings.append(Finding(Outcome.SLOWER, "latency", reason))
    return findings


def _choose_comparison(
    ours: SdSession, host: Any, complete: Mapping[str, CaseResult]
) -> Comparison:
    """Find what to compare with; a bare ``--benchmark-compare`` prefers accepted sessions."""
    settings = ours.settings
    limit, gross = settings.case_slowdown(), settings.latency_limits().gross_slowdown
    if host is None or not (ours.compares_with_accepted or host.compare) or not complete:
        return Comparison()
    storage = Path(getattr(host.storage, "path", "."))
    if not ours.compares_with_accepted:
        return compare_with_saved(host.compared_mapping or {}, storage, limit, gross)
    measured = {name: result.measurement for name, result in complete.items()}
    fingerprint = next(iter(measured.values())).environment.fingerprint()
    store = BaselineStore(settings.baselines)
    accepted = store.load(fingerprint)
    if accepted:
        return compare_with_accepted(accepted, limit, gross)
    saved = compare_with_saved(load_last_saved(host.storage), storage, limit, gross)
    return dataclasses.replace(
        saved,
        lines=(
            f"no baseline of this machine: {fingerprint}",
            *describe_nearest(store, fingerprint, measured),
            *saved.lines,
        ),
    )


def _find_failing(ours: SdSession) -> bool:
    """Tell whether the run fails: a case, the suite as a whole, or nothing that was compared.

    A void session leaves everything that was timed open, and is void instead, also when strict.
    """
    outcomes = [row.verdict.outcome for row in ours.rows]
    if ours.speed.suite is not None:
        outcomes.append(ours.speed.suite.outcome)
    sessions, measured = ours.comparison.sessions, [row for row in ours.rows if row.measurement]
    names = {name for one in sessions for name in one.cases}
    if sessions and measured and not names & {row.verdict.case for row in measured}:
        ours.no_overlap = (
            f"no overlap: {sessions[-1].source} holds none of the {len(measured)} cases; were they "
            f"renamed, or is pytest run from another folder?"
        )
    is_strict = ours.settings.strict and ours.speed.confirmation.void is None
    if ours.settings.exact or ours.settings.strict:
        told = (finding.outcome for row in ours.rows for finding in row.verdict.told)
        if Outcome.CHANGED in told:  # no matter of the clock: a void session fails by it too
            return True
    return ours.no_overlap is not None or any(
        one.is_failure or (is_strict and one.is_open) for one in outcomes
    )


def _make_row(
    ours: SdSession, host: Any, node_id: str, judged: JudgedCase | None, extra: list[Finding]
) -> Row:
    case = shorten_case(node_id)
    seen = ours.quality.results.get(node_id)
    if seen is not None and node_id not in ours.complaints:
        return Row(
            case, Verdict(node_id, seen.findings), None, None, describe_seen(seen.observation)
        )
    result = ours.results.get(node_id)
    measurement = None if result is None else result.measurement
    if judged is None and not extra:
        complaint = ours.complaints.get(node_id, "the case left no measurement")
        extra = [Finding(Outcome.BROKEN, "worker", complaint)]
        if node_id in ours.unfit:
            extra = [Finding(Outcome.INCONCLUSIVE, "machine", complaint, "sdperf doctor")]
    findings = tuple(extra)
    if judged is not None:
        measurement, findings = judged.measurement, (*judged.findings, *extra)
    findings = tuple(
        dataclasses.replace(one, next_step=name_baselines(one.next_step, ours.typed))
        for one in findings
    )
    verdict = Verdict(node_id, findings)
    if measurement is not None:
        _write_record(host, node_id, measurement, verdict)
    return Row(case, verdict, measurement, ours.speed.changes.get(node_id))


def _write_record(host: Any, node_id: str, measurement: Measurement, verdict: Verdict) -> None:
    for benchmark in host.benchmarks if host is not None else ():
        if benchmark.fullname == node_id:
            record = format_measurement(measurement)
            record["verdict"] = {
                "outcome": verdict.outcome.value,
                "findings": [
                    {"outcome": one.outcome.value, "gate": one.gate, "reason": one.reason}
                    for one in verdict.findings
                ],
            }
            benchmark.extra_info["sdperf"] = record
