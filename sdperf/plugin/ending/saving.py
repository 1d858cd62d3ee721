"""Writes a run to the disk: its images, its evidence, and the run itself as the last one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sdperf.plugin.ending.outcome import SessionOutcome, find_guards
from sdperf.store.controls import CONTROL_LOG, NullControl, append_control
from sdperf.store.images import ImageStore
from sdperf.store.last_run import LAST_RUN, describe_run, note_nothing_measured, store_as_last
from sdperf.store.quality import QualityCase, make_quality_case
from sdperf.store.runs import RunSummary

if TYPE_CHECKING:
    from sdperf.plugin.live.quality_results import QualityResult
    from sdperf.plugin.live.session import LiveSession
    from sdperf.run.suite import Suite

EVIDENCE_FOLDER: Final = ".sdperf"
_LONGEST_REASON: Final = 300


def store_last_run(config: pytest.Config, host: Any) -> str:
    """Keep the run as ``.sdperf/last-run.json``, an ordinary pytest-benchmark JSON.

    Returns:
        The written run.

    Raises:
        OSError: It cannot be written.
    """
    from pytest_benchmark import utils

    machine_info = host.get_machine_info()
    host.get_machine_info = lambda: machine_info  # asking the processor takes a second each time
    hook = config.hook
    commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
    hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
    document = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=host.benchmarks,
        include_data=True,
        machine_info=machine_info,
        commit_info=commit_info,
    )
    hook.pytest_benchmark_update_json(
        config=config, benchmarks=host.benchmarks, output_json=document
    )
    content: str = utils.safe_dumps(document, ensure_ascii=True, indent=1)  # type: ignore[no-untyped-call]
    store_as_last(config.rootpath, content.encode())
    return content


def leave_note(root: Path, reason: str) -> None:
    """Note that the last run is older than the session that ends, where anything can be written."""
    with contextlib.suppress(OSError):  # the summary says it too
        note_nothing_measured(root, datetime.now(UTC), reason[:_LONGEST_REASON])


def note_no_run(live: LiveSession, outcome: SessionOutcome) -> str | None:
    """Leave a note where a session that was to measure has no run, so that none is taken for it.

    A session whose cases were all skipped on purpose leaves the last run what it is.

    Returns:
        What to say of it in the summary; ``None`` where there is nothing to say.
    """
    if not (outcome.rows or outcome.nothing_ran or live.interrupted):
        return None
    reason = outcome.nothing_ran or "interrupted before a case had finished"
    if outcome.rows:
        row = outcome.rows[0]
        found = row.verdict.decisive
        reason = f"{row.case}: {found[0].reason if found else row.verdict.outcome.value}"
    leave_note(live.root, reason)
    if not outcome.rows:
        return None
    older = describe_run(live.root / LAST_RUN)
    kept = "there is no last run" if older is None else f"{LAST_RUN} is still the run {older}"
    return (
        f"not saved: no case was measured, so no run of it is kept, also not in the history; {kept}"
    )


def summarise_run(live: LiveSession, outcome: SessionOutcome) -> RunSummary:
    """Return the result of the run, for accepting it later.

    Every file of a run says the same: the history knows a run by its content.
    """
    if live.stored.durations is None:
        live.stored.durations = live.ledger.read()
    return RunSummary(
        outcomes={row.verdict.case: row.verdict.outcome.value for row in outcome.rows},
        suite=None if outcome.speed.suite is None else outcome.speed.suite.outcome.value,
        void=outcome.void,
        interrupted=live.interrupted,
        null_control=outcome.speed.confirmation.null_control,
        guards=find_guards(outcome.rows),
        durations=live.stored.durations,
        earlier=dict(live.kept),
        repeated=dict(live.log.repeated),
        settled=outcome.settled,
        skipped=dict(live.log.skipped),
    )


def list_quality_cases(results: Mapping[str, QualityResult]) -> tuple[QualityCase, ...]:
    """Return the quality suite's observations, for the saved run."""
    return tuple(
        make_quality_case(node_id, one.precision, one.observation, one.findings)
        for node_id, one in results.items()
    )


def find_json_folder(host: Any) -> Path | None:
    """Return the image folder beside the JSON of ``--benchmark-json``, if it is asked for."""
    return Path(host.json).resolve().parent / "images" if host.json else None


def find_storage_folder(host: Any) -> Path | None:
    """Return the image folder of pytest-benchmark's storage, if the run is going to be saved."""
    if (host.save or host.autosave) and hasattr(host.storage, "get"):
        return Path(host.storage.get("images"))
    return None


def guard_saving(unsaved: list[str], host: Any) -> None:
    """Make pytest-benchmark report in one line what it could not write, without ending pytest.

    Args:
        unsaved: Receives a line for each file that could not be written.
        host: pytest-benchmark's session, which is about to save.
    """

    def guarded(option: str, write: Callable[..., None]) -> Callable[..., None]:
        def attempt(*arguments: Any) -> None:
            try:
                write(*arguments)
            except OSError as error:
                where = "" if error.filename is None else f" ({error.filename})"
                unsaved.append(f"{option} could not be written: {error.strerror or error}{where}")

        return attempt

    host.save_json = guarded("--benchmark-json", host.save_json)
    if hasattr(host.storage, "save"):
        option = "--benchmark-save" if host.save else "--benchmark-autosave"
        host.storage.save = guarded(option, host.storage.save)


def write_images(folder: Path, pngs: Mapping[str, bytes]) -> None:
    """Store images by content.

    Raises:
        OSError: The folder cannot be written.
    """
    store = ImageStore(folder)
    for png in pngs.values():
        store.write(png)


def store_null_control(control: NullControl | None, suite: Suite, root: Path) -> None:
    """Keep the session's null control in the log, for any outcome of the session.

    Raises:
        OSError: The log cannot be written.
    """
    if control is not None and control.is_sound is not None:
        append_control(root / CONTROL_LOG, suite.environment().fingerprint(), control)
