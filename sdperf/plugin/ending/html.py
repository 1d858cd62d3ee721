"""The setting ``html``: writes the session as a report, with the session's own verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sdperf.errors import RecordError, SdperfError
from sdperf.store.last_run import LAST_RUN
from sdperf.units import format_bytes

if TYPE_CHECKING:
    from sdperf.judging.machine import JudgedMachine, ReportedRun
    from sdperf.judging.session.limits import Limits
    from sdperf.judging.trend.changes import Trend
    from sdperf.plugin.ending.outcome import SessionOutcome
    from sdperf.plugin.live.session import LiveSession


class ReportError(Exception):
    """The report could not be made, although the run itself is judged and stored."""

    @property
    def is_unwritten(self) -> bool:
        """Whether writing failed, for example on a full disk, and not the drawing."""
        causes = (self.__cause__, getattr(self.__cause__, "__cause__", None))
        return any(isinstance(cause, OSError) for cause in causes)


def write_html(live: LiveSession, outcome: SessionOutcome, root: Path, path: Path) -> str:
    """Write the report of a session that was judged and stored.

    Args:
        live: The session.
        outcome: The outcome of the session.
        root: pytest's root folder.
        path: The file to write.

    Returns:
        A line about the report, for the summary.

    Raises:
        ReportError: The report could not be made, for any reason.
    """
    from sdperf.report.html.files import write_report
    from sdperf.report.pictures.pictures import locate_pictures

    last_run = root / LAST_RUN
    paths = [one.path for one in outcome.comparison.sessions if one.path is not None]
    try:
        judged = judge_stored(live.read_limits(), outcome, last_run, paths)
        source = locate_pictures([*paths, last_run])
        trends = find_trends(judged, live.settings.history, root)
        size_bytes = write_report(path, [judged], source, trends)
    except SdperfError as error:
        raise ReportError(f"no report: {error}") from error
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise ReportError(f"no report: {type(error).__name__}: {words}") from error
    return f"report: {_shown(path)} ({format_bytes(size_bytes)})"


def find_trends(judged: JudgedMachine, given: str | None, root: Path) -> dict[str, list[Trend]]:
    """Find the trends of the machine, from its history where one is kept.

    Args:
        judged: The session.
        given: The history: a URL or file; the default is looked at where it is off. Where it is
            missing or cannot be read, the session's own runs give the trend; an error was reported
            before, when the run was kept.
        root: pytest's root folder.
    """
    from sdperf.report.trends import find_machine_trends
    from sdperf.store.history.database import locate_history, open_database

    try:
        database = open_database(locate_history(given or None, root), create=False)
    except SdperfError:
        return find_machine_trends([judged], None)
    try:
        return find_machine_trends([judged], database)
    except RecordError:
        return find_machine_trends([judged], None)
    finally:
        database.close()


def judge_stored(
    limits: Limits, outcome: SessionOutcome, last_run: Path, paths: list[Path]
) -> JudgedMachine:
    """Judge the stored run as a replay will; the record has what only the session could settle.

    Raises:
        RecordError: A file cannot be read.
    """
    from sdperf.judging.machine import judge_machine, require_runs
    from sdperf.report.saved import read_reported_run

    head = read_reported_run(last_run)
    require_runs([head])
    bases = [read_reported_run(path) for path in paths]
    runs = [*(base for base in bases if _is_alike(base, head)), head]
    notes = outcome.speed.confirmation.notes
    return judge_machine(runs, limits, notes=notes, no_overlap=outcome.no_overlap)


def _is_alike(base: ReportedRun, head: ReportedRun) -> bool:
    return bool(set(base.run.cases) & set(head.run.cases))


def _shown(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
