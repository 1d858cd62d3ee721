"""What a session writes, which is tried before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdperf.outputs import Output, list_temporary_folders
from sdperf.settings import HISTORY, HTML, MARKDOWN, TRACE

if TYPE_CHECKING:
    from sdperf.plugin.options import Settings


def list_outputs(settings: Settings, host: Any, root: Path) -> Iterator[Output]:
    """List what a session writes.

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
