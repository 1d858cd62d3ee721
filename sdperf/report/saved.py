"""Saved runs as a report needs them, read from files that anybody may have written."""

from __future__ import annotations

from pathlib import Path

from sdperf.judging.machine import ReportedRun, parse_reported_run
from sdperf.store.runs import read_document


def read_reported_run(path: Path) -> ReportedRun:
    """Read a saved run.

    Raises:
        RecordError: The file is missing, too large or damaged, or it is not a pytest-benchmark run.
    """
    return parse_reported_run(path.name, read_document(path))
