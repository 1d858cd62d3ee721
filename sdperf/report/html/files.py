"""Writes a report to the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sdperf.errors import ConfigurationError
from sdperf.judging.machine import JudgedMachine
from sdperf.judging.trend.changes import Trend
from sdperf.report.pictures.pictures import PictureSource
from sdperf.store.files import encode_text, write_atomically
from sdperf.sweep.summary import SweepSummary
from sdperf.tune.summary import StudySummary


def write_report(
    path: Path,
    machines: Sequence[JudgedMachine],
    source: PictureSource,
    trends: Mapping[str, Sequence[Trend]] | None = None,
    tunings: Sequence[StudySummary] = (),
    sweeps: Sequence[SweepSummary] = (),
) -> int:
    """Render a report and write the whole file or nothing.

    Returns:
        Its size in bytes.

    Raises:
        ConfigurationError: The packages that draw are missing, or the file cannot be written.
    """
    require_drawing()
    from sdperf.report.html.page import render_page

    content = encode_text(render_page(machines, source, trends, tunings, sweeps))
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written", got=error.strerror) from error
    return len(content)


def require_drawing() -> None:
    """Say what to install where the drawing packages are missing.

    Raises:
        ConfigurationError: The packages are missing.
    """
    try:
        import jinja2
        import matplotlib

        del jinja2, matplotlib
    except ImportError as error:
        raise ConfigurationError(
            "the packages that draw are not installed",
            got=str(error),
            hint="pip install 'sdperf[report]'",
        ) from error
