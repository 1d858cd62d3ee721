"""Which cases of the matrix a session leaves out that nobody asked for by name, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sdperf.engines.catalogue import ENGINES, explain_skip
from sdperf.errors import ConfigurationError, EngineError
from sdperf.plugin.options import Settings
from sdperf.record.workload import TORCH, Variant
from sdperf.settings import PRECISION, SUBJECT, WORKERS

if TYPE_CHECKING:
    from sdperf.run.hosts.cluster import Cluster
    from sdperf.run.suite import Suite


def find_skip_reason(
    settings: Settings, suite: Suite, cluster: Cluster | None, variant: Variant
) -> str | None:
    """Say why an automatic case does not suit this machine, naming the flag to force it.

    Args:
        settings: What was asked for.
        suite: Knows the device and its threads.
        cluster: Whose workers are used; ``None`` where they are our own.
        variant: The case.
    """
    if cluster is not None:
        there = len(cluster.list_workers())
        if settings.workers_are_auto and variant.workers > there:
            return f"{variant.workers} workers in a cluster of {there}"
    elif settings.workers_are_auto and _count_busy(variant) > suite.cpu_threads:
        each = "" if variant.threads is None else f" of {variant.threads} threads"
        return (
            f"{variant.workers} workers{each} on {suite.cpu_threads} performance cores; "
            f"force with {WORKERS} {variant.workers}"
        )
    if settings.precision_is_auto and variant.precision != "fp32":
        device = suite.describe_device()
        if variant.precision not in device.native_precisions:
            return (
                f"{variant.precision} is emulated on this {device.kind} device and slow; "
                f"force with {PRECISION} {variant.precision}"
            )
    return _find_engine_reason(settings, suite, variant)


@contextlib.contextmanager
def skipping_chosen_engine(settings: Settings, name: str) -> Iterator[None]:
    """Skip a case whose engine the user did not name, where it cannot take the pipeline."""
    try:
        yield
    except (ConfigurationError, EngineError) as error:
        if not _is_chosen_engine(settings, name):
            raise
        pytest.skip(f"the engine {name} cannot take this pipeline: {error}")


def _find_engine_reason(settings: Settings, suite: Suite, variant: Variant) -> str | None:
    if variant.engine == TORCH:
        return None
    choice = ENGINES[variant.engine]
    is_auto = _is_chosen_engine(settings, variant.engine)
    if is_auto and settings.subject is not None:
        return f"the engine {choice.name} takes no {SUBJECT}, which is code for torch"
    if (is_auto or settings.precision_is_auto) and variant.precision not in choice.precisions:
        return f"the engine {choice.name} cannot run {variant.precision}"
    return explain_skip(choice, suite.describe_device().kind) if is_auto else None


def _is_chosen_engine(settings: Settings, name: str) -> bool:
    """Tell whether an engine was chosen for the user, who named others or ``auto``."""
    return name != TORCH and (settings.engine_is_auto or name not in settings.engines)


def _count_busy(variant: Variant) -> int:
    return variant.workers * (variant.threads or 1)
