"""Imports many saved runs into the history: several processes read, this one writes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError, RecordError
from sdperf.leftovers import leave_with_parent
from sdperf.store.history.database import Database
from sdperf.store.history.extraction import KeptRun, read_kept_run
from sdperf.store.history.writing import Kept, keep_runs

BATCH_FILES: Final = 256
BATCH_BYTES: Final = 32 * 2**20
"""A batch ends at this many files or bytes, so that memory does not grow with the import."""

FEWEST_FOR_PROCESSES: Final = 512
"""With this many files it is faster to start other processes."""

MOST_PROCESSES: Final = 4


@dataclass
class ImportReport:
    """The result of an import.

    Attributes:
        added: How many runs are new.
        known: How many runs were already there.
        refused: Files without a run, with the reason; the other files were imported.
    """

    added: int = 0
    known: int = 0
    refused: list[tuple[Path, str]] = field(default_factory=list)


def require_places(places: Iterable[Path]) -> None:
    """Make sure that files and folders exist before anything is made or read.

    Raises:
        ConfigurationError: A place does not exist.
    """
    for place in places:
        if not place.exists():
            raise ConfigurationError(f"{place} does not exist", expected="a folder, or saved runs")


def list_run_files(places: Iterable[Path]) -> Iterator[Path]:
    """Yield files, and every ``*.json`` below folders, in order of their names.

    Args:
        places: Files and folders that exist, see `require_places`.
    """
    for place in places:
        if place.is_dir():
            for folder, subfolders, names in os.walk(place):
                subfolders.sort()
                for name in sorted(names):
                    if name.endswith(".json") and not name.startswith("."):
                        yield Path(folder) / name
        else:
            yield place


def import_files(
    database: Database,
    paths: Iterable[Path],
    *,
    processes: int | None = None,
    show: Callable[[ImportReport], None] = lambda _: None,
) -> ImportReport:
    """Keep every run among the files; a file that is not a run is named and stops nothing.

    Importing a run again, or a run that pytest kept itself, changes nothing.

    Args:
        database: The history.
        paths: Files.
        processes: How many processes read; by default one per processor, at most four, for large
            imports.
        show: Called after each batch.

    Raises:
        RecordError: The database cannot be written; what was written before stays.
    """
    report = ImportReport()
    iterator = iter(paths)
    first = list(itertools.islice(iterator, FEWEST_FOR_PROCESSES))
    if processes is None:
        large = len(first) == FEWEST_FOR_PROCESSES
        processes = min(os.cpu_count() or 1, MOST_PROCESSES) if large else 1
    chunks = _divide(itertools.chain(first, iterator))
    for runs, refused in _read_chunks(chunks, processes):
        report.refused += refused
        kept = keep_runs(database, runs) if runs else Kept()
        report.added += kept.added
        report.known += kept.known
        show(report)
    return report


_Chunk = tuple[list[KeptRun], list[tuple[Path, str]]]


def _divide(paths: Iterable[Path]) -> Iterator[list[Path]]:
    chunk: list[Path] = []
    size_bytes = 0
    for path in paths:
        chunk.append(path)
        with contextlib.suppress(OSError):  # reading it says what is wrong
            size_bytes += path.stat().st_size
        if len(chunk) == BATCH_FILES or size_bytes > BATCH_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    if chunk:
        yield chunk


def _read_chunks(chunks: Iterator[list[Path]], processes: int) -> Iterator[_Chunk]:
    if processes == 1:
        yield from map(read_chunk, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=leave_with_parent
    ) as executor:
        yield from _read_ahead(executor, chunks, 2 * processes)


def _read_ahead(executor: Executor, chunks: Iterator[list[Path]], ahead: int) -> Iterator[_Chunk]:
    """Yield chunks in order, with a bounded number of them under way."""
    waiting: list[Future[_Chunk]] = []
    for chunk in chunks:
        waiting.append(executor.submit(read_chunk, chunk))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def read_chunk(paths: Sequence[Path]) -> _Chunk:
    """Read some files; files without a run are returned with the reason."""
    runs, refused = [], []
    was_enabled = gc.isenabled()
    gc.disable()  # JSON has no cycles; searching for them takes a fifth of the time
    try:
        for path in paths:
            try:
                runs.append(read_kept_run(path))
            except RecordError as error:
                refused.append((path, str(error)))
    finally:
        if was_enabled:
            gc.enable()
    return runs, refused
