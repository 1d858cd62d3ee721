"""Checks what a session writes and needs before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from sdperf.engines.requirements import require_installed
from sdperf.errors import ConfigurationError
from sdperf.folders import list_folder
from sdperf.git.links import refuse_tracked_links
from sdperf.outputs import Output, check_outputs, list_temporary_folders
from sdperf.pipeline.optimisations.catalogue import refuse_unsuited, refuse_unusable
from sdperf.record.workload import is_external
from sdperf.settings import HISTORY, HTML, MARKDOWN, TRACE

if TYPE_CHECKING:
    from sdperf.device import DeviceKind
    from sdperf.plugin.live.session import LiveSession
    from sdperf.plugin.live.suites import SessionSuites
    from sdperf.plugin.options import Settings


def list_outputs(settings: Settings, host: Any, root: Path) -> Iterator[Output]:
    """List the files and folders that a session writes.

    Args:
        settings: The options.
        host: pytest-benchmark's session; ``None`` without one.
        root: pytest's root folder.
    """
    yield Output("the session's own folder", root / ".sdperf", is_folder=True)
    for setting in (HTML, MARKDOWN, TRACE):
        path = getattr(settings, setting.name)
        if path is not None:
            yield Output(str(setting), path)
    history = settings.history
    if history and "://" not in history:
        yield Output(str(HISTORY), Path(history).expanduser().absolute())
    if host is not None and host.json:
        yield Output("--benchmark-json", Path(host.json).absolute())
    if host is not None and (host.save or host.autosave) and hasattr(host.storage, "path"):
        option = "--benchmark-save" if host.save else "--benchmark-autosave"
        yield Output(option, Path(host.storage.path).absolute(), is_folder=True)
    yield from list_temporary_folders()


def refuse_chosen_places(root: Path) -> None:
    """Refuse places of the session that a repository chose by a link: files are removed there.

    Args:
        root: pytest's root folder.

    Raises:
        ConfigurationError: git tracks a link on the way to the session's files.
    """
    from sdperf.plugin.journalling import IMAGES
    from sdperf.record.verdict import EVIDENCE_PATH
    from sdperf.store.controls import CONTROL_LOG
    from sdperf.store.journal import JOURNAL_FOLDER
    from sdperf.store.session_lock import LOCK_FILE

    journals = root / JOURNAL_FOLDER
    files = (f".sdperf/{LOCK_FILE}", CONTROL_LOG, EVIDENCE_PATH, IMAGES)
    refuse_tracked_links("session", *(root / name for name in files), journals)
    refuse_tracked_links("session", *list_folder(journals))


def check_packages(settings: Settings, root: Path) -> None:
    """Refuse packages that are missing and a history that is none, before anything is loaded.

    Args:
        settings: The options.
        root: pytest's root folder.

    Raises:
        ConfigurationError: A package is missing; the message says how to install it.
        RecordError: The history that was named is a file of another kind.
    """
    if settings.cluster is None:  # on a cluster they are needed where its workers run
        kind = "cpu" if settings.device == "auto" else settings.device
        require_installed(
            () if settings.engine_is_auto else settings.engines,
            [name for names in settings.optimisations or () for name in names],
            cast("DeviceKind", kind),
        )
    if settings.history is not None:
        from sdperf.store.history.database import check_history, locate_history, require_driver

        place = locate_history(settings.history or None, root)
        if settings.history:
            check_history(place)
        else:  # a damaged usual file loses no run: it is said at the end
            require_driver(place)
    if settings.html is not None:
        from sdperf.report.html.files import require_drawing

        require_drawing()


def check_model_and_device(suites: SessionSuites) -> None:
    """Find subject, model and device, and refuse what cannot run here, before anything loads.

    A set of optimisations counts where the user named it and a selected test uses it. The device is
    not looked up where the answer does not depend on it: for ``auto``, the CPU and programs of the
    user's.

    Args:
        suites: The session's suites, with planned tests.

    Raises:
        ConfigurationError: torch sees no such device, an optimisation cannot be used on it or with
            the model, or there is no module of the subject's name.
        ModelError: There is no such model, or it cannot be used.
        WorkerError: The process that looks at the device died or hung.
    """
    if suites.settings.subject is not None and suites.settings.cluster is None:
        from sdperf.models.subject import require_module

        require_module(suites.settings.subject)
    model = suites.resolve_model()
    if suites.settings.cluster is not None:
        suites.own()
    tested = {one.variant.optimisations for one in suites.plan.tests if not one.is_skipped}
    named = [names for names in suites.settings.optimisations or () if names in tested]
    if suites.settings.subject is None:
        from sdperf.models.loader import find_denoiser_name

        refuse_unsuited(named, find_denoiser_name(model))
    is_here = suites.settings.cluster is None
    if is_here and suites.settings.device not in ("auto", "cpu"):
        engines = (one.variant.engine for one in suites.plan.tests if not one.is_skipped)
        if not all(map(is_external, engines)):
            suites.look_at_device()
    refuse_unusable(named, lambda: suites.own().describe_device(), is_here=is_here)


def open_session(config: pytest.Config, live: LiveSession, host: Any) -> None:
    """Lock and check the folder, and begin the journal or continue the interrupted one.

    Raises:
        ConfigurationError: Another session measures here, something cannot be written or lies
            where a repository's link leads, or there is nothing to resume.
        RecordError: The journal is damaged.
    """
    from sdperf.plugin.ending.saving import EVIDENCE_FOLDER
    from sdperf.plugin.journalling import open_journal
    from sdperf.store.files import keep_out_of_git
    from sdperf.store.session_lock import FolderLock

    refuse_chosen_places(config.rootpath)
    check_outputs(list_outputs(live.settings, host, config.rootpath))
    parameters = config.invocation_params
    try:
        live.lock = FolderLock.take(config.rootpath / EVIDENCE_FOLDER)
        keep_out_of_git(config.rootpath / EVIDENCE_FOLDER)
        open_journal(
            live,
            [str(argument) for argument in parameters.args],
            Path(parameters.dir),
            is_disabled=host is not None and bool(host.disabled),
        )
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or config.rootpath} cannot be written",
            got=error.strerror,
            hint="run pytest from a folder that can be written; nothing was measured",
        ) from error
    for line in live.journal.lines if live.journal is not None else ():
        live.live_line.tell(line)
