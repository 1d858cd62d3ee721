"""Decides which automatic cases of the matrix a session leaves out, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from sdperf.engines.catalogue import ENGINES, explain_skip
from sdperf.errors import ConfigurationError, EngineError
from sdperf.pipeline.optimisations.catalogue import PLAIN
from sdperf.plugin.options import Settings
from sdperf.record.workload import TORCH, Variant, name_engine
from sdperf.run.memory import FITS_EVERYWHERE_BYTES, WEIGHT_BYTES
from sdperf.settings import ENGINE, OPTIMISATIONS, PRECISION, SUBJECT, WORKERS
from sdperf.units import format_bytes, format_quantity

if TYPE_CHECKING:
    from sdperf.run.hosts.cluster import Cluster
    from sdperf.run.suite import Suite


def find_skip_reason(
    settings: Settings,
    suite: Suite,
    cluster: Cluster | None,
    variant: Variant,
    beside: Sequence[Variant] = (),
) -> str | None:
    """Say why an automatic case does not suit this machine, naming the flag to force it.

    Args:
        settings: The options.
        suite: The suite, which knows the device, its threads and its memory.
        cluster: The cluster whose workers are used; ``None`` for local workers.
        variant: The case.
        beside: Variants that are loaded beside it, one worker each.
    """
    if cluster is not None:
        there = len(cluster.list_workers())
        if settings.workers_are_auto and variant.workers > there:
            return f"{variant.workers} workers in a cluster of {there}"
    elif settings.workers_are_auto and _count_busy(variant) > suite.cpu_threads:
        cores = format_quantity(suite.cpu_threads, "performance core")
        each = (
            "" if variant.threads is None else f" of {format_quantity(variant.threads, 'thread')}"
        )
        return (
            f"{format_quantity(variant.workers, 'worker')}{each} on {cores}; "
            f"force with {WORKERS} {variant.workers}"
        )
    if settings.precision_is_auto and variant.precision != "fp32" and not variant.is_external:
        device = suite.describe_device()
        if variant.precision not in device.native_precisions:
            return (
                f"{variant.precision} is emulated on this {device.kind} device and slow; "
                f"force with {PRECISION} {variant.precision}"
            )
    engine_reason = _find_engine_reason(settings, suite, variant)
    return engine_reason or find_memory_reason(settings, suite, variant, beside)


def find_batch_reason(suite: Suite, variant: Variant, images: int) -> str | None:
    """Say why several images do not fit into one call, judged by the memory of one image.

    Args:
        suite: The suite, which knows the memory and its use so far.
        variant: The pipeline.
        images: How many images at a time.
    """
    peak_bytes = suite.profiles.peaks.get(variant.pipeline)
    weights, room = suite.weights, suite.find_room()
    if peak_bytes is None or weights is None or room is None or variant.engine != TORCH:
        return None
    weight_bytes = weights * WEIGHT_BYTES[variant.precision]
    need_bytes = weight_bytes + images * max(0, peak_bytes - weight_bytes)
    if room.holds([need_bytes]):
        return None
    return f"{images} images at a time take about {format_bytes(need_bytes)}: {room.describe()}"


@contextlib.contextmanager
def skipping_chosen_engine(settings: Settings, name: str) -> Iterator[None]:
    """Skip a case whose engine the user did not name, where it cannot run the pipeline."""
    try:
        yield
    except (ConfigurationError, EngineError) as error:
        if not _is_chosen_engine(settings, name):
            raise
        pytest.skip(f"the engine {name} cannot take this pipeline: {error}")


def _find_engine_reason(settings: Settings, suite: Suite, variant: Variant) -> str | None:
    if variant.engine == TORCH:
        return None
    picture = suite.workload.picture
    if picture is not None and _is_chosen_engine(settings, variant.engine):
        name = name_engine(variant.engine)
        return f"the engine {name} draws from the prompt alone, this is {picture.describe()}"
    if variant.is_external:
        if settings.precision_is_auto and variant.precision != "fp32":
            return (
                f"{name_engine(variant.engine)} runs in a number format of its own, measured once; "
                f"force with {PRECISION} {variant.precision}"
            )
        return None
    choice = ENGINES[variant.engine]
    is_auto = _is_chosen_engine(settings, variant.engine)
    if is_auto and settings.subject is not None:
        return f"the engine {choice.name} takes no {SUBJECT}, which is code for torch"
    if (is_auto or settings.precision_is_auto) and variant.precision not in choice.precisions:
        return f"the engine {choice.name} cannot run {variant.precision}"
    return explain_skip(choice, suite.describe_device().kind) if is_auto else None


def find_memory_reason(
    settings: Settings, suite: Suite, variant: Variant, beside: Sequence[Variant] = ()
) -> str | None:
    """Say which automatic choice does not fit into the memory; a typed choice is always run.

    One worker of a pipeline that ran in this session is known to fit.

    Args:
        settings: The options.
        suite: The suite, which knows the memory and its use so far.
        variant: The case.
        beside: Variants that are loaded beside it, one worker each.
    """
    need_bytes = None if variant.is_external else suite.find_need_bytes(variant)
    if need_bytes is None or need_bytes * (variant.workers + len(beside)) <= FITS_EVERYWHERE_BYTES:
        return None
    room = suite.find_room()
    if room is None:
        return None
    each = format_bytes(need_bytes)
    has_run = variant.pipeline in suite.profiles.peaks
    if settings.precision_is_auto and not has_run and not room.holds([need_bytes]):
        return (
            f"{variant.precision} takes {each} or more in {room.describe()}; "
            f"force with {PRECISION} {variant.precision}"
        )
    workers = [need_bytes] * variant.workers
    if settings.workers_are_auto and variant.workers > 1 and not room.holds(workers):
        return (
            f"{variant.workers} workers of {each} in {room.describe()}; "
            f"force with {WORKERS} {variant.workers}"
        )
    others = [suite.find_need_bytes(one) or 0 for one in beside]
    is_unasked = settings.optimisations is None or _is_chosen_engine(settings, variant.engine)
    if others and is_unasked and not room.holds([*workers, *others]):
        flag = OPTIMISATIONS if variant.engine == TORCH else ENGINE
        name = variant.engine if variant.engine != TORCH else "+".join(variant.optimisations)
        return (
            f"{each} and the plain pipeline's {format_bytes(sum(others))} beside it in "
            f"{room.describe()}; force with {flag} {name or PLAIN}"
        )
    return None


def _is_chosen_engine(settings: Settings, name: str) -> bool:
    """Tell whether an engine was chosen for the user, who named others or ``auto``."""
    return name != TORCH and (settings.engine_is_auto or name not in settings.engines)


def _count_busy(variant: Variant) -> int:
    return variant.workers * (variant.threads or 1)
