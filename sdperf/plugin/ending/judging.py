"""Judges a session that has ended, against the runs that it is compared with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdperf.errors import SdperfError
from sdperf.judging.doubts.processes import judge_processes
from sdperf.judging.session.comparison import (
    NOT_HELD,
    Comparison,
    compare_with_accepted,
    compare_with_saved,
    describe_elsewhere,
    describe_nearest,
    describe_renamed,
    load_last_saved,
)
from sdperf.judging.session.confirmation import INTERRUPTED
from sdperf.judging.session.failing import explain_nothing_compared
from sdperf.judging.session.gate import Gate, JudgedCase
from sdperf.judging.session.judge import Again, JudgedSession, judge_session, settle_case
from sdperf.judging.session.parts import divide
from sdperf.judging.session.speed import void_finding
from sdperf.judging.settling import advise_accepting, name_baselines
from sdperf.plugin.ending.calibrated import find_noise
from sdperf.plugin.ending.confirming import confirm_suspects
from sdperf.plugin.ending.outcome import SessionOutcome, find_guards
from sdperf.plugin.ending.starts import explain_tails, make_repeat
from sdperf.record.json import format_measurement
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome, SettledCase, Verdict, shorten_cases
from sdperf.report.text.session.cases import Row
from sdperf.report.text.session.quality_seen import describe_seen
from sdperf.settings import CONFIRM
from sdperf.store.baselines import BaselineStore
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession
    from sdperf.run.case import CaseResult


def judge_live(live: LiveSession, host: Any) -> SessionOutcome:
    """Judge images and memory case by case and the numbers together, and record every verdict.

    Args:
        live: The session; suspects are measured again on separate workers.
        host: pytest-benchmark's session; ``None`` without one.
    """
    ids, log = live.log.judged_ids(), live.log
    complete = {
        node_id: log.results[node_id]
        for node_id in ids
        if node_id in log.results and node_id not in log.complaints
    }
    complaint = None
    try:
        comparison = _choose_comparison(live, host, complete)
    except SdperfError as error:
        comparison, complaint = Comparison(is_asked=True), str(error)
    gate = Gate(
        comparison=comparison,
        references=live.suites.own().shipped if complete else None,
        memory=None if live.settings.in_process else live.settings.memory,
    )
    judged, broken = {}, {}
    for node_id, result in complete.items():
        try:
            judged[node_id] = gate.judge(node_id, result)
        except SdperfError as error:
            broken[node_id] = Finding(Outcome.BROKEN, "image", str(error))
    has_times = host is not None and not host.disabled
    timed = judged if has_times else {}
    timed = {node_id: one for node_id, one in timed.items() if node_id not in live.order.void}
    numbers = judge_session(
        {name: one.held for name, one in timed.items()}, live.read_limits(), _again(live, timed)
    )
    void = numbers.speed.confirmation.void
    for name, held in numbers.cases.items():
        if held.measurement is not None:
            judged[name] = dataclasses.replace(judged[name], measurement=held.measurement)
    rows, short = [], shorten_cases(ids)
    for node_id in ids:
        one = judged.get(node_id)
        extra = [broken[node_id]] if node_id in broken else []
        if one is not None:
            is_timed = bool(timed) or node_id in live.order.void
            said = (judge_processes(one.measurement), live.order.judge(node_id))
            extra += [finding for finding in said if finding is not None]
            extra += _judge_speed_of(node_id, one, numbers, is_timed=is_timed)
            extra += numbers.recorded.get(node_id, [])
            extra += _judge_compare_fail(node_id, live, comparison, host, void)
        change = numbers.speed.changes.get(node_id)
        rows.append(_make_row(live, node_id, short[node_id], one, extra, change))
    for row in rows:
        if row.measurement is not None:
            one = judged.get(row.verdict.case)
            _write_record(host, row.measurement, row.verdict, None if one is None else one.base)
    measured = {name: result.measurement for name, result in complete.items()}
    renamed = describe_renamed(comparison.sessions, measured)
    no_overlap = _explain_no_overlap(comparison, rows, renamed)
    if renamed is not None and no_overlap is None:
        comparison = comparison.telling([renamed])
    return SessionOutcome(
        rows=tuple(rows),
        comparison=comparison,
        speed=numbers.speed,
        settled=_settle(live, numbers, tuple(rows)),
        no_overlap=no_overlap or complaint,
        not_compared=explain_nothing_compared(
            (row.verdict for row in rows if has_times and row.measurement is not None),
            [one.source for one in comparison.sessions],
        ),
        nothing_ran=_explain_nothing(live, host),
        tails_left_out=None if void is not None else explain_tails(timed),
    )


def _explain_nothing(live: LiveSession, host: Any) -> str | None:
    """Say that no case ran, unless the user typed ``--benchmark-skip``."""
    if live.interrupted or (host is not None and host.skip):
        return None
    return live.log.explain_nothing(is_strict=live.settings.strict)


def _again(live: LiveSession, timed: Mapping[str, JudgedCase]) -> Again:
    """Return how the session measures its suspects again, as far as it may."""
    settings = live.settings
    confirm, repeat = None, None
    if settings.confirm_s > 0 and not live.interrupted:
        processes = len(divide(timed, live.kept))
        share_s = settings.confirm_s / max(1, processes)
        confirm = functools.partial(confirm_suspects, live, timed, budget_s=share_s)
        repeat = None if settings.in_process else make_repeat(live, timed, settings.confirm_s)
    return Again(
        confirm=confirm,
        unconfirmed=INTERRUPTED if settings.confirm_s > 0 else f"{CONFIRM} 0",
        repeat=repeat,
        processes=live.kept,
        noises=find_noise(live, {name: one.measurement for name, one in timed.items()}),
        typed=live.typed,
        is_here=True,
    )


def _settle(
    live: LiveSession, numbers: JudgedSession, rows: tuple[Row, ...]
) -> dict[str, SettledCase]:
    """Return the findings that readers cannot derive from the run's numbers."""
    is_doubted = (
        numbers.speed.confirmation.void is not None
        or bool(live.kept)
        or any(guard.state == "fail" for guard in find_guards(rows) or ())
    )
    limits = live.read_limits()
    found = {
        row.verdict.case: settle_case(row.verdict, numbers, limits, is_doubted=is_doubted)
        for row in rows
    }
    return {name: one for name, one in found.items() if one is not None}


def _judge_speed_of(
    node_id: str, judged: JudgedCase, numbers: JudgedSession, *, is_timed: bool
) -> list[Finding]:
    """Return the finding on a case's speed, where it has a baseline."""
    if not judged.held.has_history:
        return []
    if node_id in numbers.speed.cases:
        return [numbers.speed.cases[node_id]]
    if is_timed:
        return []
    return [
        Finding(
            Outcome.INCONCLUSIVE,
            "latency",
            "nothing is said of speed: --benchmark-disable runs one round, not warmed up",
            "leave --benchmark-disable out",
        )
    ]


def _judge_compare_fail(
    node_id: str, live: LiveSession, comparison: Comparison, host: Any, void: str | None
) -> list[Finding]:
    """Apply ``--benchmark-compare-fail``, before anything is saved and without a traceback."""
    findings = []
    for benchmark in host.benchmarks if live.asked.compare_fail else ():
        for session in comparison.sessions[-1:] if benchmark.fullname == node_id else ():
            saved = session.stats.get(node_id)
            for check in live.asked.compare_fail if isinstance(saved, dict) else ():
                flat = benchmark.as_dict(include_data=False, stats=False) | saved
                try:
                    failure = check.fails(benchmark, flat)
                except (KeyError, TypeError, ValueError, ArithmeticError) as error:
                    reason = f"--benchmark-compare-fail: {session.source} lacks {error}"
                    findings.append(Finding(Outcome.INCOMPARABLE, "latency", reason))
                    continue
                if failure and void is not None:
                    findings.append(void_finding(void))
                elif failure:
                    reason = f"--benchmark-compare-fail: {failure} against {session.source}"
                    findings.append(Finding(Outcome.SLOWER, "latency", reason))
    return findings


def _choose_comparison(
    live: LiveSession, host: Any, complete: Mapping[str, CaseResult]
) -> Comparison:
    """Find the runs to compare with; a bare ``--benchmark-compare`` prefers accepted sessions."""
    limits = live.read_limits()
    limit, gross = limits.max_slowdown, limits.gross_slowdown
    if host is None or not (live.asked.compares_with_accepted or host.compare) or not complete:
        return Comparison()
    storage = Path(getattr(host.storage, "path", "."))
    if not live.asked.compares_with_accepted:
        return compare_with_saved(host.compared_mapping or {}, storage, limit, gross, complete)
    measured = {name: result.measurement for name, result in complete.items()}
    fingerprint = next(iter(measured.values())).environment.fingerprint()
    store = BaselineStore(live.settings.baselines)
    accepted = store.load(fingerprint)
    if accepted:
        chosen = compare_with_accepted(accepted, limit, gross, measured)
        known = {name for session in chosen.sessions for name in session.cases}
        if known.issuperset(measured):
            return chosen
        saved = compare_with_saved(load_last_saved(host.storage), storage, limit, gross, measured)
        return chosen.telling(describe_elsewhere(chosen.sessions, saved.sessions, measured))
    saved = compare_with_saved(load_last_saved(host.storage), storage, limit, gross, measured)
    return dataclasses.replace(
        saved,
        lines=(
            f"no baseline of this machine: {fingerprint}",
            *describe_nearest(store, fingerprint, measured),
            *saved.lines,
        ),
    )


def _explain_no_overlap(comparison: Comparison, rows: list[Row], renamed: str | None) -> str | None:
    """Say that nothing was compared although there were runs to compare with."""
    sessions, measured = comparison.sessions, [row for row in rows if row.measurement]
    names = {name for one in sessions for name in one.cases}
    if not sessions or not measured or names & {row.verdict.case for row in measured}:
        return None
    asked = "were they renamed, or is pytest run from another folder?"
    said = [one for row in measured for one in row.verdict.told]
    if any(one.outcome is Outcome.NO_BASELINE and one.reason != NOT_HELD for one in said):
        asked = "the lines below say why"
    return (
        f"no overlap: {sessions[-1].source} holds no case of this run "
        f"({format_quantity(len(measured), 'case')}); {renamed or asked}"
    )


def _make_row(
    live: LiveSession,
    node_id: str,
    case: str,
    judged: JudgedCase | None,
    extra: list[Finding],
    change: float | None,
) -> Row:
    seen = live.quality.results.get(node_id)
    if seen is not None and node_id not in live.log.complaints:
        return Row(
            case, Verdict(node_id, seen.findings), None, None, describe_seen(seen.observation)
        )
    result = live.log.results.get(node_id)
    measurement = None if result is None else result.measurement
    if judged is None and not extra:
        complaint = live.log.complaints.get(node_id, "the case left no measurement")
        extra = [Finding(Outcome.BROKEN, "worker", complaint)]
        if node_id in live.log.unfit:
            extra = [Finding(Outcome.INCONCLUSIVE, "machine", complaint, "sdperf doctor")]
    findings = tuple(extra)
    if judged is not None:
        measurement, findings = judged.measurement, (*judged.findings, *extra)
    findings = tuple(
        dataclasses.replace(one, next_step=name_baselines(one.next_step, live.typed))
        for one in advise_accepting(findings)
    )
    return Row(case, Verdict(node_id, findings), measurement, change)


def _write_record(host: Any, measurement: Measurement, verdict: Verdict, base: str | None) -> None:
    for benchmark in host.benchmarks if host is not None else ():
        if benchmark.fullname == verdict.case:
            record = format_measurement(measurement)
            record["verdict"] = {
                "outcome": verdict.outcome.value,
                "findings": [
                    {"outcome": one.outcome.value, "gate": one.gate, "reason": one.reason}
                    for one in verdict.findings
                ],
                "base": base,
            }
            benchmark.extra_info["sdperf"] = record
