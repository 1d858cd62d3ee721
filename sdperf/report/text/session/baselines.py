"""Accepted sessions as text: the list, one session in full, what an acceptance did. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sdperf.judging.session.words import count_held, format_sessions_missing
from sdperf.record.guard import explain_disturbance
from sdperf.report.text.session.controls import format_control
from sdperf.report.text.session.quality_seen import describe_seen
from sdperf.report.text.wrapping import wrap_text
from sdperf.shell import join_command
from sdperf.store.baselines import AcceptedSession
from sdperf.units import format_bytes, format_quantity, format_seconds


def format_list(sessions: Sequence[AcceptedSession]) -> list[str]:
    """List sessions by kind of machine."""
    lines: list[str] = []
    for fingerprint in dict.fromkeys(session.fingerprint for session in sessions):
        ours = [session for session in sessions if session.fingerprint == fingerprint]
        lines += wrap_text(fingerprint)
        lines += wrap_text(_describe_missing(ours), initial_indent="  ", subsequent_indent="    ")
        for session in ours:
            acceptance, cases = session.acceptance, format_quantity(len(session.run.cases), "case")
            lines += wrap_text(
                f"{session.number:04} {acceptance.accepted_at[:10]} "
                f"{(acceptance.commit or 'commit unknown')[:14]} {cases}: {acceptance.reason}",
                initial_indent="  ",
                subsequent_indent="       ",
            )
    return lines


def _describe_missing(sessions: Sequence[AcceptedSession]) -> str:
    """Say how far the sessions of a machine are from binding, each case with those that count."""
    held = count_held([(one.run.cases, one.acceptance.level_changed) for one in sessions])
    return format_sessions_missing(len(sessions), held)


def format_session(session: AcceptedSession) -> list[str]:
    """Show one session in full."""
    acceptance, summary = session.acceptance, session.run.summary
    lines = [
        str(session.run.path),
        *wrap_text(f"reason: {acceptance.reason}", subsequent_indent="  "),
        f"accepted: {acceptance.accepted_at}, of commit {acceptance.commit or 'unknown'}",
        f"measured: {session.run.document.get('datetime', 'unknown')}",
        *_format_guards(session),
        *_format_null_control(session),
    ]
    for case in session.run.cases.values():
        measured = case.measurement
        if measured is None:
            continue
        outcome = summary.outcomes.get(case.name, "-") if summary is not None else "-"
        images = ", ".join(image.sha256[:8] for image in measured.images)
        new = " (new history)" if case.name in acceptance.level_changed else ""
        lines += wrap_text(
            f"{case.name}: {format_seconds(measured.seconds_per_image)} per image, "
            f"{format_quantity(len(measured.rounds_s), 'round')}, RSS "
            f"{format_bytes(measured.memory.peak_rss_bytes)}, "
            f"device {format_bytes(measured.memory.peak_device_bytes)}, images {images}: "
            f"{outcome}{new}",
            subsequent_indent="    ",
        )
    for seen in session.run.quality:
        lines += wrap_text(
            f"{seen.case}: {describe_seen(seen.seen)}: {seen.outcome}", subsequent_indent="    "
        )
    return lines


def format_accepted(session: AcceptedSession, sessions: Sequence[AcceptedSession]) -> list[str]:
    """Say what an acceptance changed and what to do next.

    Args:
        session: The new one.
        sessions: The accepted sessions of its machine, oldest first, the new one included.
    """
    changed = session.acceptance.level_changed
    lines = [
        f"accepted {format_quantity(len(session.run.cases), 'case')} as {session.run.path}",
        *wrap_text(f"for {session.fingerprint}: {_describe_missing(sessions)}"),
        *_format_guards(session),
        *_format_disturbed(session),
    ]
    if changed:
        lines.append(
            f"level changed, a new history begins: {format_quantity(len(changed), 'case')}"
        )
    if (session.acceptance.commit or "").endswith("-dirty"):
        lines.append("measured with uncommitted changes: its code cannot be run again to compare")
    lines.append(f"next: {join_command(['git', 'add', str(session.run.path.parent)])}")
    return lines


def _format_guards(session: AcceptedSession) -> list[str]:
    summary = session.run.summary
    if summary is None or summary.guards is None:
        return ["guards: unknown, the run did not ask whether the machine was fit"]
    counts = Counter(guard.state for guard in summary.guards)
    lines = [f"guards: {', '.join(f'{number} {state}' for state, number in counts.items())}"]
    for guard in summary.guards:
        if guard.state in ("fail", "warn"):
            lines += wrap_text(
                f"{guard.state}: {guard.name} {guard.value or ''}: {guard.sentence}",
                initial_indent="  ",
                subsequent_indent="    ",
            )
    return lines


def _format_disturbed(session: AcceptedSession) -> list[str]:
    """Say which cases were measured while the machine was not fit, which a trend leaves out."""
    measured = [one.measurement for one in session.run.cases.values() if one.measurement]
    reasons = [
        reason
        for one in measured
        if (log := one.guards) is not None
        and (reason := explain_disturbance(log.before, log.during, log.after)) is not None
    ]
    if not reasons:
        return []
    (reason, _), *_ = Counter(reasons).most_common(1)
    reject = join_command(["sdperf", "baseline", "reject", str(session.number)])
    return [
        f"not fit: sdperf trend leaves {len(reasons)} of "
        f"{format_quantity(len(measured), 'case')} out",
        *wrap_text(reason, initial_indent="  ", subsequent_indent="    "),
        f"  later runs are compared with {'it' if len(reasons) == 1 else 'them'} all the same; to "
        "take the session out again:",
        f"    {reject}",
    ]


def _format_null_control(session: AcceptedSession) -> list[str]:
    control = None if session.run.summary is None else session.run.summary.null_control
    if control is None:
        return ["null control: none, the run was compared with nothing"]
    return wrap_text(format_control(control), subsequent_indent="    ")
