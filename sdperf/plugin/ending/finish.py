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
from sdperf.judging.session.gate import Gate, JudgedCase
from sdperf.judging.session.judge import Again, JudgedSession, judge_session, settle_case
from sdperf.judging.session.parts import divide
from sdperf.judging.session.speed import void_finding
from sdperf.judging.settling import name_baselines
from sdperf.plugin.ending.calibrated import find_noise
from sdperf.plugin.ending.confirming import confirm_suspects
from sdperf.plugin.ending.html import ReportError, write_html
from sdperf.plugin.ending.keeping import keep_in_history, write_markdown
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
from sdperf.record.verdict import (
    EVIDENCE_PATH,
    Finding,
    Outcome,
    SettledCase,
    Verdict,
    shorten_case,
)
from sdperf.report.text.session.cases import Row
from sdperf.report.text.session.quality_seen import describe_seen
from sdperf.settings import CONFIRM, HTML
from sdperf.store.baselines import BaselineStore

if TYPE_CHECKING:
    from sdperf.plugin.live.session import SdSession
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
    cases = {name: one.held for name, one in timed.items()}
    parts = len(divide(cases, {} if ours.journal is None else ours.journal.kept))
    again = _again(ours, timed, confirm_s=ours.settings.confirm_s / max(1, parts))
    numbers = judge_session(cases, ours.read_limits(), again)
    ours.speed = numbers.speed
    for name, held in numbers.cases.items():
        if held.measurement is not None:
            judged[name] = dataclasses.replace(judged[name], measurement=held.measurement)
    is_void = ours.speed.confirmation.void is not None
    ours.tails_left_out = None if is_void else explain_tails(timed)
    for node_id in ids:
        one = judged.get(node_id)
        extra = [broken[node_id]] if node_id in broken else []
        if one is not None:
            is_void = node_id in ours.order.void
            extra += _judge_timing(node_id, one, ours, is_timed=bool(timed) or is_void)
            extra += numbers.recorded.get(node_id, [])
            extra += _judge_compare_fail(node_id, ours, host)
        ours.rows.append(_make_row(ours, host, node_id, one, extra))
    ours.settled = _settle(ours, numbers)


def _again(ours: SdSession, timed: Mapping[str, JudgedCase], *, confirm_s: float) -> Again:
    """Say how the session measures its suspects again, as far as it may.

    Args:
        ours: The session.
        timed: Its timed cases.
        confirm_s: Seconds for the suspects of each process.
    """
    settings, earlier = ours.settings, {} if ours.journal is None else ours.journal.kept
    confirm, repeat = None, None
    if settings.confirm_s > 0 and not ours.interrupted:
        confirm = functools.partial(confirm_suspects, ours, timed, budget_s=confirm_s)
        repeat = None if settings.in_process else make_repeat(ours, timed, settings.confirm_s)
    return Again(
        confirm=confirm,
        unconfirmed="interrupted" if ours.interrupted else f"{CONFIRM} 0",
        repeat=repeat,
        processes=earlier,
        noises=find_noise(ours, {name: one.measurement for name, one in timed.items()}),
        typed=ours.typed,
        is_here=True,
    )


def _settle(ours: SdSession, numbers: JudgedSession) -> dict[str, SettledCase]:
    """Return what readers of the run cannot tell from its numbers."""
    guards = ours.find_guards() or ()
    is_doubted = (
        ours.speed.confirmation.void is not None
        or bool(ours.journal is not None and ours.journal.kept)
        or any(guard.state == "fail" for guard in guards)
    )
    limits = ours.read_limits()
    found = {
        row.verdict.case: settle_case(row.verdict, numbers, limits, is_doubted=is_doubted)
        for row in ours.rows
    }
    return {name: one for name, one in found.items() if one is not None}


def _judge_timing(
    node_id: str, judged: JudgedCase, ours: SdSession, *, is_timed: bool
) -> list[Finding]:
    """Return what is said of a case's speed, beside its images."""
    said = (judge_processes(judged.measurement), ours.order.judge(node_id))
    findings = [one for one in said if one is not None]
    has_history = any(saved is not None for saved in judged.history)
    if node_id in ours.speed.cases and has_history:
        findings.append(ours.speed.cases[node_id])
    elif not is_timed and has_history:
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
    limits = ours.read_limits()
    limit, gross = limits.max_slowdown, limits.gross_slowdown
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
