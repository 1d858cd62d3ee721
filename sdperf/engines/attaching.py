"""Handing a loaded pipeline's networks to an engine, once, in the worker."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from sdperf.device import DeviceKind
from sdperf.engines.catalogue import EngineChoice, explain_absence, list_versions
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import Engine, EngineRequest
from sdperf.engines.standins import replace_networks
from sdperf.errors import EngineError
from sdperf.record.measurement import EngineUse
from sdperf.record.workload import Precision
from sdperf.settings import ENGINE, PRECISION


def make_engine(choice: EngineChoice, device: DeviceKind) -> Engine:
    """Import an engine's module and make the engine.

    Raises:
        EngineError: It cannot run on the device, or its packages are missing or damaged.
    """
    if device in choice.refusals:
        raise EngineError(
            f"the engine {choice.name} cannot run on {device}",
            got=choice.refusals[device],
            hint=f"{ENGINE} torch",
        )
    absence = explain_absence(choice, device)
    if absence is not None:
        what, _, install = absence.partition(": ")
        raise EngineError(what, hint=install)
    try:
        engine: Engine = importlib.import_module(choice.module).make_engine(choice)
    except ImportError as error:
        raise EngineError(
            f"the engine {choice.name} cannot be imported",
            got=str(error),
            hint=f"pip install --force-reinstall 'sdperf[{choice.extra}]'",
        ) from error
    return engine


def check_precision(choice: EngineChoice, precision: Precision) -> None:
    """Refuse a precision that an engine lacks.

    Raises:
        EngineError: It lacks it.
    """
    if precision not in choice.precisions:
        raise EngineError(
            f"the engine {choice.name} cannot run {precision}",
            expected=", ".join(choice.precisions),
            hint=f"{PRECISION} {choice.precisions[0]}",
        )


def attach_engine(
    pipeline: Any,
    engine: Engine,
    request: EngineRequest,
    *,
    guided: bool,
    say: Callable[[str], None] = lambda _: None,
) -> EngineUse:
    """Let an engine run a pipeline's networks from now on; the pipeline is changed in place.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`; left as it was where an error is raised.
        engine: The engine.
        request: Model, precision, size and the like.
        guided: Whether images are generated with classifier-free guidance.
        say: Shows a message about the current step.

    Returns:
        The engine's part of the record.

    Raises:
        EngineError: The engine cannot take the pipeline.
    """
    choice = request.choice
    check_precision(choice, request.precision)
    parts = split_pipeline(
        pipeline, family=request.family, height=request.height, width=request.width, guided=guided
    )
    prepared = engine.prepare(parts, request, say)
    replace_networks(pipeline, parts, {name: one.run for name, one in prepared.items()})
    sizes = [one.model_bytes for one in prepared.values()]
    seconds = [one.conversion_s for one in prepared.values() if one.conversion_s is not None]
    return EngineUse(
        name=choice.name,
        version=next(iter(list_versions(choice).values()), "unknown"),
        provider=engine.provider,
        model_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
        conversion_s=sum(seconds) if seconds else None,
        was_cached=bool(prepared) and all(one.was_cached for one in prepared.values()),
    )
