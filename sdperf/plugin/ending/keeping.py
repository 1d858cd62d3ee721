"""Keeps a finished run in the history, and writes the Markdown summary.

Neither may lose or fail a run: an error is shown in the terminal, with what to do about it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.report.markdown.run import RunReport, format_run_markdown
from sdperf.settings import MARKDOWN
from sdperf.store.files import encode_text, write_atomically

if TYPE_CHECKING:
    from sdperf.plugin.ending.outcome import SessionOutcome
    from sdperf.plugin.live.session import LiveSession

STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""GitHub's variable with the file of a job's summary, which may hold text of other steps."""


def keep_in_history(given: str, run: str, root: Path) -> list[str]:
    """Keep the run in the history, with any outcome.

    Args:
        given: The history: a URL or file, ``""`` for the default.
        run: The stored run.
        root: pytest's root folder.

    Returns:
        What went wrong, if anything did.
    """
    try:
        from sdperf.store.history.database import locate_history, open_database
        from sdperf.store.history.extraction import extract_run
        from sdperf.store.history.writing import keep_runs

        database = open_database(locate_history(given or None, root), create=True)
        try:
            keep_runs(database, [extract_run(json.loads(run), f"pytest in {root.name}")])
        finally:
            database.close()
    except Exception as error:  # noqa: BLE001 (whatever it is, the run is worth more)
        return [
            f"history: this run was not kept: {error}; it is in .sdperf/last-run.json, "
            "sdperf history import takes it in later"
        ]
    return []


def write_markdown(
    live: LiveSession, outcome: SessionOutcome, path: Path, *, has_failed: bool
) -> list[str]:
    """Write the summary; GitHub's own file is added to, any other replaced.

    Args:
        live: The session.
        outcome: The outcome of the session.
        path: The file to write.
        has_failed: Whether the run fails.

    Returns:
        What went wrong, if anything did.
    """
    from sdperf.plugin.ending.summary import describe_run, list_closing_lines, list_without_effect

    notes = [
        *list_without_effect(outcome.rows),
        *outcome.speed.confirmation.notes,
        *list_closing_lines(live, outcome),
    ]
    if outcome.nothing_compared is not None:
        notes.insert(0, outcome.nothing_compared)
    text = format_run_markdown(
        RunReport(
            rows=outcome.rows,
            skipped=len(live.log.skipped),
            description=describe_run(outcome.rows, live.settings.pictures),
            comparison=outcome.comparison.lines,
            suite=outcome.speed.suite,
            notes=notes,
            has_failed=has_failed,
            was_interrupted=live.interrupted,
        )
    )
    given = os.environ.get(STEP_SUMMARY)
    try:
        if given and path == Path(given).absolute():
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        else:
            write_atomically(path, encode_text(text))
    except OSError as error:
        return [f"{MARKDOWN}: {path} cannot be written: {error}"]
    return []
