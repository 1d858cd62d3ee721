"""A worker's engine: another runtime than torch for the networks of the pipeline it loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sdperf.device import Device, DeviceKind
from sdperf.engines.attaching import attach_engine, check_precision, make_engine
from sdperf.engines.cache import EngineCache, locate_engine_cache
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.protocol import Engine, EngineRequest
from sdperf.errors import ConfigurationError, EngineError
from sdperf.pipeline.families import family_of, stages_for
from sdperf.pipeline.optimisations.catalogue import list_of_torch
from sdperf.pipeline.separable import SeparableStages
from sdperf.record.measurement import EngineUse
from sdperf.record.workload import Workload
from sdperf.run.messages import EngineShape, WorkerSpec
from sdperf.settings import ENGINE, MODEL, OPTIMISATIONS, SUBJECT


@dataclass(frozen=True)
class HostedEngine:
    """An engine that runs a worker's pipeline.

    Attributes:
        engine: The engine.
        use: What the record says of it.
        spent_s: Seconds of the load that went into converting, or waiting for others to.
    """

    engine: Engine
    use: EngineUse
    spent_s: float


def check_hostable(spec: WorkerSpec) -> None:
    """Check what a spec asks of another engine before anything is loaded.

    Raises:
        ConfigurationError: There is no such engine, or it does not go with what else is asked.
    """
    if spec.engine not in ENGINES:
        raise ConfigurationError(
            "there is no such engine", got=spec.engine, expected=", ".join(ENGINES)
        )
    if spec.subject is not None:
        raise ConfigurationError(
            f"the engine {spec.engine} takes the model's own pipeline and no code",
            got=f"{SUBJECT} {spec.subject}",
            hint=f"save that pipeline as a folder and give it to {MODEL}, or {ENGINE} torch",
        )
    if not spec.model.is_as_stored:
        raise ConfigurationError(
            f"the engine {spec.engine} converts models that are folders, as they are stored",
            got=f"{MODEL} {spec.model.name}",
            hint=f"save that pipeline as a folder and give it to {MODEL}, or {ENGINE} torch",
        )
    foreign = list_of_torch(spec.optimisations)
    if foreign:
        raise ConfigurationError(
            f"{foreign[0]} changes torch's networks, which the engine {spec.engine} replaces",
            got=f"{ENGINE} {spec.engine} {OPTIMISATIONS} {'+'.join(spec.optimisations)}",
            hint="leave one of the two out",
        )


def open_engine(spec: WorkerSpec, device: DeviceKind) -> Engine:
    """Import a spec's engine, and check all that it would refuse before anything is loaded.

    Args:
        spec: What the worker was asked for.
        device: Kind of the device that the pipeline will be on.

    Raises:
        ConfigurationError: There is no such engine, or it does not go with what else is asked.
        EngineError: It is missing, cannot run on the device, or lacks the precision there.
    """
    check_hostable(spec)
    choice = ENGINES[spec.engine]
    check_precision(choice, spec.precision)
    engine = make_engine(choice, device)
    engine.require(spec.precision)
    return engine


def host_engine(pipeline: Any, engine: Engine, spec: WorkerSpec, device: Device) -> HostedEngine:
    """Let an engine run a pipeline's networks, in place.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`, just loaded.
        engine: The engine of the spec, opened.
        spec: What the worker was asked for, checked.
        device: Where the pipeline is.

    Raises:
        EngineError: The engine cannot take the pipeline.
    """
    choice = ENGINES[spec.engine]
    shape = spec.shape or EngineShape(None, None, guided=True)
    asked = Workload(
        model=spec.model.name,
        prompts=("size",),
        num_inference_steps=1,
        guidance_scale=0.0,
        height=shape.height,
        width=shape.width,
    )
    stages = stages_for(pipeline, asked)
    if not isinstance(stages, SeparableStages):
        raise EngineError(
            f"other engines cannot run a {type(pipeline).__name__}",
            expected="a Stable Diffusion 1, 2 or XL pipeline with its own call",
            hint=f"{ENGINE} torch",
        )
    cache = EngineCache(locate_engine_cache())
    request = EngineRequest(
        choice=choice,
        model=spec.model,
        family=family_of(pipeline),
        precision=spec.precision,
        device=device.kind,
        height=stages.height,
        width=stages.width,
        threads=torch.get_num_threads(),
        cache=cache,
    )
    use = attach_engine(pipeline, engine, request, guided=shape.guided, say=cache.say)
    return HostedEngine(engine, use, cache.spent_s)
