"""The end of a session: judged, stored, and its exit status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sdperf.judging.session.failing import is_failed
from sdperf.plugin.ending.evidence import PixelFinder, write_evidence
from sdperf.plugin.ending.html import ReportError, write_html
from sdperf.plugin.ending.judging import judge_live
from sdperf.plugin.ending.keeping import keep_in_history, write_markdown
from sdperf.plugin.ending.outcome import SessionOutcome
from sdperf.plugin.ending.saving import (
    EVIDENCE_FOLDER,
    find_json_folder,
    find_storage_folder,
    guard_saving,
    leave_note,
    note_no_run,
    store_last_run,
    store_null_control,
    write_images,
)
from sdperf.plugin.exit_status import EXIT_VOID
from sdperf.record.verdict import EVIDENCE_PATH
from sdperf.settings import HTML

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession
    from sdperf.plugin.options import Settings


REFUSALS: Final = {
    "failure": "not saved: a run with a failure is never a baseline",
    "void": "not saved: a void run is never a baseline",
    "interrupted": "not saved: an interrupted run is never a baseline",
    "resumed": "not saved: a resumed run is never a baseline, its cases share no process",
}

EXIT_UNSAVED: Final = 3
"""Exit status of a session that could not write a requested file; its results are kept."""


def finish_session(session: pytest.Session, live: LiveSession) -> SessionOutcome:
    """Judge all cases, before pytest-benchmark saves.

    Verdicts and scores go into ``extra_info``. Images are stored by content hash beside each saved
    file, and the whole run is stored as the last one, for ``sdperf baseline accept``. A run with a
    failure exits 1, a void one 6, and neither is saved as a run to compare with. A run of which no
    case could be compared exits 1 too, and is saved.
    """
    host = getattr(session.config, "_benchmarksession", None)
    live.interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
    with live.ledger.spend("comparing"):
        outcome = live.outcome = judge_live(live, host)
    failing = is_failing(outcome, live.settings)
    void = outcome.void is not None and not failing
    live.interrupted |= outcome.speed.confirmation.was_interrupted
    folders, storage = [session.config.rootpath / EVIDENCE_FOLDER / "images"], None
    if host is not None:
        refusal = "failure" if failing or session.testsfailed else None
        refusal = refusal or ("void" if void else "interrupted" if live.interrupted else None)
        if refusal is None and live.kept:
            refusal = "resumed"
        if refusal is not None:
            live.stored.refused_save = REFUSALS[refusal] if host.save or host.autosave else None
            host.save = host.autosave = None
        host.save_data = True
        host.quiet = host.quiet or (
            len(host.benchmarks) == len(live.log.results)
            and not session.config.getoption("benchmark_columns")
        )
        if (beside := find_json_folder(host)) is not None:
            folders.append(beside)
        storage = find_storage_folder(host)
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        if live.interrupted:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        elif failing or (outcome.not_compared is not None and not void):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif void:
            session.exitstatus = EXIT_VOID
    has_result = bool(live.log.results or live.quality.results)
    run = _store(session, live, outcome, folders, storage) if has_result else None
    if not has_result:
        live.stored.no_run = note_no_run(live, outcome)
    stored, root = live.stored, session.config.rootpath
    if (
        run is not None
        and host is not None
        and not host.disabled
        and live.settings.history is not None
    ):
        stored.unkept += keep_in_history(live.settings.history, run, root)
    if run is not None and live.settings.html is not None:
        try:
            stored.report = write_html(live, outcome, root, live.settings.html)
        except ReportError as error:
            kind = stored.unsaved if error.is_unwritten else stored.undrawn
            kind.append(f"{HTML}: {error}")
    if live.settings.markdown is not None and not hasattr(session.config, "workerinput"):
        has_failed = session.exitstatus != 0
        stored.unkept += write_markdown(
            live, outcome, live.settings.markdown, has_failed=has_failed
        )
    if host is not None:
        guard_saving(stored.unsaved, host)
    return outcome


def _store(
    session: pytest.Session,
    live: LiveSession,
    outcome: SessionOutcome,
    folders: list[Path],
    storage: Path | None,
) -> str | None:
    """Store the run, its evidence first; return the stored run, ``None`` where it was not stored.

    A run without a result is not stored, since it would overwrite a run that has results.
    """
    root, host = session.config.rootpath, getattr(session.config, "_benchmarksession", None)
    delivered = {
        name: png for result in live.log.results.values() for name, png in result.pngs.items()
    }
    pixels = PixelFinder(
        pngs=delivered | live.quality.pngs,
        suite=live.suites.own(),
        sessions=outcome.comparison.sessions,
    )
    try:
        for folder in folders:
            write_images(folder, pixels.pngs)
        live.stored.images = folders[0]
        if storage is not None:
            write_images(storage, delivered)
        verdicts = [(row.case, row.verdict) for row in outcome.rows]
        live.stored.exhibits = write_evidence(root / EVIDENCE_PATH, verdicts, pixels.find)
        store_null_control(outcome.speed.confirmation.null_control, pixels.suite, root)
        return None if host is None else store_last_run(session.config, host)
    except OSError as error:
        where = "" if error.filename is None else f" ({error.filename})"
        live.stored.unsaved.append(f"the run cannot be stored: {error.strerror or error}{where}")
        leave_note(root, live.stored.unsaved[-1])
    return None


def close_session(session: pytest.Session, live: LiveSession) -> None:
    """Report what could not be written, and remove the journal of a session that was fully saved.

    It runs after pytest-benchmark has saved.
    """
    journal = live.journal
    is_whole = not (live.stored.unsaved or live.interrupted or live.list_left_out()) and (
        journal is None or journal.complaint is None
    )
    if (live.stored.unsaved or live.stored.undrawn) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = EXIT_UNSAVED
    if journal is not None:
        journal.close(is_saved=is_whole)


def is_failing(outcome: SessionOutcome, settings: Settings) -> bool:
    """Tell whether the run fails: a case, the suite as a whole, no case in common, nothing run.

    A run of which no case could be compared exits 1 too, but nothing failed in it: it is saved,
    so that the next one can be compared.
    """
    if outcome.no_overlap is not None or outcome.nothing_ran is not None:
        return True
    return is_failed(
        [row.verdict for row in outcome.rows],
        outcome.speed.suite,
        strict=settings.strict,
        exact=settings.exact,
        is_void=outcome.void is not None,
    )
