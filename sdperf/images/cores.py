"""Runs work on pictures on all cores, with threads that end with the call that started them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import psutil

T = TypeVar("T")
R = TypeVar("R")

PEAK_BYTES_PER_PIXEL: Final = 160
"""Peak memory of `compare_images`, bytes per pixel of one picture.

Measured with `tracemalloc` on 512 x 512 px: 160.3.
"""

SHARE_OF_FREE_MEMORY: Final = 1 / 4
"""The share of the free memory that comparisons may use at the same time."""


def count_usable_cores() -> int:
    """Count the processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # neither macOS nor Windows has it
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))


def count_at_once(items: int, pixels: int, *, cores: int, free_bytes: int) -> int:
    """Count the pictures that are processed at the same time. Pure.

    Args:
        items: Number of pictures, or of pairs of pictures.
        pixels: Number of pixels of the largest of them.
        cores: Number of processors.
        free_bytes: Bytes of free memory.

    Returns:
        At least 1.
    """
    held_bytes = max(1, pixels) * PEAK_BYTES_PER_PIXEL
    fit = int(free_bytes * SHARE_OF_FREE_MEMORY / held_bytes)
    return max(1, min(items, cores, fit))


def map_on_all_cores(work: Callable[[T], R], items: Sequence[T], *, pixels: int = 0) -> list[R]:
    """Apply a function to each item, many at once, and return when all are done.

    Threads suffice: decoding and filtering run outside of Python's lock (on two cores, 24
    comparisons of 512 px took 1.1 s instead of 1.9 s). The threads have ended when this returns, so
    that they cannot disturb a timed round.

    Args:
        work: Called with each item, from any thread.
        items: The items to work on.
        pixels: Number of pixels of the largest picture, which limits the memory in use.

    Returns:
        The results, in the order of the items. The first error is raised once all have ended.
    """
    free_bytes = psutil.virtual_memory().available
    cores = count_usable_cores()
    count = count_at_once(len(items), pixels, cores=cores, free_bytes=free_bytes)
    if count == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(count, thread_name_prefix="sdperf-pictures") as threads:
        return list(threads.map(work, items))
