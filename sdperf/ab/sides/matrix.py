"""``--cases``: which cases of the benchmark matrix a comparison measures. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Final

from sdperf.ab.sides.sides import MatrixCase
from sdperf.errors import ConfigurationError
from sdperf.record.measurement import CaseKind
from sdperf.record.stages import SEPARATE_STAGES
from sdperf.record.workload import MODES, PRECISIONS, Variant

WORKERS: Final = (1, 2, 4)
"""Worker counts that patterns include; other counts are typed in full."""

DEFAULT_BATCH: Final = 4
_KINDS: Final[tuple[CaseKind, ...]] = ("latency", "throughput")


def list_matrix(
    batch: int = DEFAULT_BATCH,
    workers: Iterable[int] = WORKERS,
    threads: Iterable[int | None] = (None,),
) -> tuple[MatrixCase, ...]:
    """List the cases of the matrix by their names in a pytest run."""
    counts, thread_counts = tuple(workers), tuple(threads)
    variants = [
        Variant(precision=precision, mode=mode, workers=workers, threads=threads)
        for precision in PRECISIONS
        for mode in MODES
        for workers in counts
        for threads in thread_counts
    ]
    whole = [
        MatrixCase(kind, variant, batch=batch if kind == "throughput" else 1)
        for kind in _KINDS
        for variant in variants
    ]
    stages = [
        MatrixCase("stage", Variant(precision=precision), stage=stage)
        for precision in PRECISIONS
        for stage in SEPARATE_STAGES
    ]
    return (*whole, *stages)


def parse_cases(text: str, batch: int = DEFAULT_BATCH) -> tuple[MatrixCase, ...]:
    """Read a comma list of cases.

    Args:
        text: Names as a pytest run prints them (``latency[fp32-sync-1w]``, ``stage[fp16-denoise]``,
            ``throughput[bf16-async-3w]``, ``latency[fp32-sync-1w-2t]``), patterns with ``*``
            (``latency[*-1w]``), or a kind: ``latency`` and ``throughput`` are fp32, sync, one
            worker, ``stage`` is all fp32 stages.
        batch: Number of images of a throughput round.

    Raises:
        ConfigurationError: A name is not a case, or a pattern matches no case.
    """
    found: dict[MatrixCase, None] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        matching = _expand(name, batch)
        if not matching:
            raise ConfigurationError(
                "there is no such case",
                got=name,
                expected="latency, throughput, stage, a name such as latency[fp16-sync-2w] or "
                "stage[fp32-denoise], or a pattern such as latency[*-1w]",
            )
        found.update(dict.fromkeys(matching))
    if not found:
        raise ConfigurationError("--cases names no case", got=text)
    return tuple(found)


def _expand(name: str, batch: int) -> list[MatrixCase]:
    if name in ("latency", "throughput"):
        name = f"{name}[{Variant().id}]"
    elif name == "stage":
        name = f"stage[{Variant().precision}-*]"
    named = [int(count) for count in re.findall(r"-([1-9][0-9]?)w", name)]
    pattern = name.replace("[", "[[]")
    threads = [int(count) for count in re.findall(r"-([1-9][0-9]{0,3})t\b", name)]
    matrix = list_matrix(batch, sorted({*WORKERS, *named}), (None, *threads))
    return [case for case in matrix if fnmatch.fnmatchcase(case.id, pattern)]
