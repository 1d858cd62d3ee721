"""An external program in a worker: it answers like `LoadedPipeline`. Torch is not loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final, TypeVar, cast

from sdperf.device import DeviceInfo, DeviceKind
from sdperf.engines.external.program import DrawnPicture, LoadRequest
from sdperf.engines.external.protocol import GivenPicture
from sdperf.engines.external.starting import read_engine, start_program
from sdperf.errors import ConfigurationError, EngineError, GenerationError, UnsupportedError
from sdperf.measure.clock import Interval, timed, wait_until
from sdperf.record.execution import (
    AskedExecution,
    Execution,
    draws_own_model,
    explain_differences,
)
from sdperf.record.measurement import EngineUse, MemoryUsage
from sdperf.record.stages import StageCost, StageTimes
from sdperf.record.workload import ImageRequest, Mode, ProgramFacts, Workload
from sdperf.run.messages import (
    DeliveredImage,
    DeviceSpeed,
    RoundRequest,
    RoundResult,
    WorkerReport,
    WorkerSpec,
)
from sdperf.run.program.given import check_given, make_given
from sdperf.run.quality.questions import GenerateBatch, Question
from sdperf.settings import ENGINE, OPTIMISATIONS, PRECISION, SUBJECT
from sdperf.units import format_quantity

T = TypeVar("T")

MOST_AT_ONCE: Final = 3
"""Requests at the same time in async: one is read, one is drawn, one is delivered."""

_LIMIT_S: Final = 600.0
_SHARE_OF_LIMIT: Final = 0.95
"""Share of the pool's time limit that the program has, so that its better message comes first."""


class AskedProgram:
    """A program that was started and has loaded.

    Args:
        spec: The specification of the worker.

    Attributes:
        report: The worker's report of it.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        _check_askable(spec)
        self._pictures = spec.pictures
        self._given: tuple[Workload, GivenPicture | None] | None = None
        limit_s = (spec.limit_s or _LIMIT_S) * _SHARE_OF_LIMIT
        self._program = start_program(read_engine(spec.engine), limit_s)
        try:
            self.report = self._load(spec, limit_s)
        except BaseException:
            self._program.kill()
            raise
        self._execution: Execution | None = None
        self._case: int | None = None  # questions belong to the case that ran last

    def run_round(self, request: RoundRequest) -> RoundResult:
        """Run one round between two timed borders; decoding the pictures is timed too."""
        if request.stage is not None:
            raise ConfigurationError(
                "a program of yours draws whole pictures: its stages cannot be measured alone",
                hint="deselect the stage cases: -k 'not stage'",
            )
        at_once = 1 if request.mode == "sync" else self._count_at_once()
        self._make_given(request.workload)
        self._case = request.case
        before_s = self._program.read_cpu_s()
        wait_until(request.start_at_s)
        interval = self._generate(request, at_once)
        after_s = self._program.read_cpu_s()
        drawn = interval.result
        headers = [one.header for one in drawn]
        if self._execution is None:
            height, width = drawn[0].pixels.shape[:2]
            self._execution = Execution(steps=headers[0].steps, width=width, height=height)
        told = [one.seconds for one in headers if one.seconds is not None]
        peaks = [one.peak_bytes for one in headers if one.peak_bytes is not None]
        known_cpu = before_s is not None and after_s is not None
        return RoundResult(
            start_s=interval.start_s,
            end_s=interval.end_s,
            images=tuple(_as_delivered(one, request.workload) for one in drawn),
            memory=MemoryUsage(
                peak_rss_bytes=self._program.read_peak_bytes(),
                peak_device_bytes=max(peaks, default=None),
            ),
            cpu_s=after_s - before_s if known_cpu else None,  # type: ignore[operator]
            execution=self._execution,
            without_effect=list_without_effect(self._facts, request.workload, self._precision),
            resident_bytes=self._program.read_resident_bytes(),
            # Pictures that overlap share their seconds.
            own_s=sum(told) if at_once == 1 and len(told) == len(drawn) else None,
        )

    def profile(self, request: RoundRequest) -> StageTimes:
        """Draw the first image and return the stage times that the program reports."""
        (drawn,) = self._draw(request.workload, request.images[:1], request.threads, 1)
        stages = dict(drawn.header.stages) or {"whole": drawn.latency_s}
        return StageTimes(
            total_s=drawn.latency_s,
            steps_s=drawn.header.steps_s,
            **{f"{name}_s": seconds for name, seconds in stages.items()},
        )

    def count(self, request: RoundRequest) -> tuple[StageCost, ...]:  # noqa: ARG002
        """Refuse: operations of another process cannot be counted."""
        raise GenerationError("the operations of a program of yours cannot be counted")

    def trace(self, request: RoundRequest, path: str) -> None:  # noqa: ARG002
        """Refuse: torch's profiler sees its own process only."""
        raise GenerationError("a program of yours cannot be traced: torch's profiler cannot see it")

    def measure_speed(self, request: RoundRequest) -> DeviceSpeed:  # noqa: ARG002
        """Return ``None``: the limits of the device are unknown for an external program."""
        return DeviceSpeed(None, None)

    def ask(self, question: Question[T]) -> T:
        """Answer the questions that suit a program: several images at a time.

        Raises:
            UnsupportedError: The question is about components, latents or the device's memory.
        """
        if not isinstance(question, GenerateBatch):
            raise UnsupportedError("a program of yours shows neither components nor latents")
        images = question.images
        if self._facts.queue > 1:
            at_once = min(self._facts.queue, len(images))
            drawn = self._draw(question.workload, images, question.threads, at_once)
        else:  # in another order: effects of one picture on the next one would show
            drawn = self._draw(question.workload, images[::-1], question.threads, 1)
            drawn.reverse()
        made = tuple(_as_delivered(one, question.workload) for one in drawn)
        return cast("T", made)

    def free(self) -> None:
        """Ask the program to end, and end it where it does not end itself."""
        self._program.stop()

    @property
    def _facts(self) -> ProgramFacts:
        return self._program.facts

    def _load(self, spec: WorkerSpec, limit_s: float) -> WorkerReport:
        facts = self._facts
        if facts.precisions and spec.precision not in facts.precisions:
            raise EngineError(
                f"the program {facts.name} cannot run {spec.precision}",
                expected=", ".join(facts.precisions),
                hint=f"{PRECISION} {facts.precisions[0]}",
            )
        self._precision = spec.precision
        model = spec.model
        asked = LoadRequest(model.name, str(model.folder), spec.precision, spec.device)
        interval = timed(lambda: self._program.load(asked, 10 * limit_s), synchronize=lambda: None)
        loaded = interval.result
        device = DeviceInfo(
            kind=cast("DeviceKind", facts.device),
            name=facts.device_name,
            native_precisions=facts.precisions or (spec.precision,),
            gpu_cores=None,
            memory_bytes=None,
        )
        use = EngineUse(
            name=spec.engine,
            version=facts.version,
            provider=" ".join(filter(None, (facts.device, facts.device_name))),
            model_bytes=loaded.model_bytes,
            program=facts,
            own_load_s=loaded.seconds,
        )
        return WorkerReport(
            pid=os.getpid(),
            device=device,
            load_s=interval.duration_s,
            pipeline=facts.name,
            is_the_models=False,
            engine=use,
        )

    def _count_at_once(self) -> int:
        if self._facts.queue < 2:
            raise GenerationError(
                explain_no_overlap(self._facts), hint="leave the async cases out: -k 'not async'"
            )
        return min(self._facts.queue, MOST_AT_ONCE)

    def _generate(self, request: RoundRequest, at_once: int) -> Interval[list[DrawnPicture]]:
        return timed(
            lambda: self._draw(request.workload, request.images, request.threads, at_once),
            synchronize=lambda: None,
        )

    def _draw(
        self, workload: Workload, images: Sequence[ImageRequest], threads: int, at_once: int
    ) -> list[DrawnPicture]:
        given = self._make_given(workload)
        return self._program.generate(workload, images, threads, at_once, given, self._case)

    def _make_given(self, workload: Workload) -> GivenPicture | None:
        """Make ready what is drawn from, once: it is the same for all rounds of a workload."""
        if self._given is None or self._given[0] != workload:
            check_given(self._facts, workload.picture)
            self._given = workload, make_given(workload, self._pictures)
        return self._given[1]


def explain_no_overlap(facts: ProgramFacts) -> str:
    """Say why a program cannot be measured in async. Pure."""
    return f"{facts.name} takes one request at a time: nothing can overlap"


def find_no_overlap(facts: ProgramFacts | None, mode: Mode) -> str | None:
    """Say why a program cannot be measured in a mode; ``None`` where it can. Pure."""
    if facts is None or mode == "sync" or facts.queue > 1:
        return None
    return explain_no_overlap(facts)


def list_without_effect(facts: ProgramFacts, workload: Workload, precision: str) -> tuple[str, ...]:
    """List the settings that a program cannot take, its model among them, in words. Pure."""
    found = list_untold(facts, workload, precision)
    if draws_own_model(facts):
        found.append(f"the model: {facts.name} draws with its own, {facts.model}")
    return tuple(found)


def list_untold(facts: ProgramFacts, workload: Workload, precision: str | None = None) -> list[str]:
    """List the requested settings that a program cannot be told, in words. Pure.

    Args:
        facts: What the program says of itself.
        workload: What was asked for.
        precision: The number format that was asked for; ``None`` for none.
    """
    asked = {
        "steps": format_quantity(workload.num_inference_steps, "step"),
        "guidance": None
        if workload.guidance_scale is None
        else f"guidance {workload.guidance_scale:g}",
        "negative_prompt": "the negative prompt" if workload.negative_prompt else None,
        "size": None
        if workload.width is None
        else f"the size of {workload.width} x {workload.height} px",
        "scheduler": None if workload.scheduler is None else f"the scheduler {workload.scheduler}",
        "strength": None if workload.strength is None else f"strength {workload.strength:g}",
    }
    found = [
        f"{words}: {facts.name} cannot be told"
        for name, words in asked.items()
        if words is not None and name not in facts.accepts
    ]
    if precision is not None and not facts.precisions:
        found.append(f"{precision}: {facts.name} runs in its own number format, {facts.precision}")
    return found


def find_model_hash(model_hash: str, use: EngineUse | None) -> str:
    """Return the hash of the model's files, or of a program's words for its model. Pure.

    It does not include versions, since another version is a change to be judged.
    """
    if use is None or use.program is None:
        return model_hash
    facts = asdict(use.program)
    words = {key: facts[key] for key in ("name", "model", "precision")}
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def explain_alone(what: str) -> str:
    """Say why a question of the quality suite is not asked of a program. Pure."""
    return f"a program of yours shows no {what}: it is another process with another model's code"


def _as_delivered(drawn: DrawnPicture, workload: Workload) -> DeliveredImage:
    height, width = drawn.pixels.shape[:2]
    executed = drawn.header.steps
    faults = explain_differences(
        plan_execution(workload, executed), Execution(steps=executed, width=width, height=height)
    )
    return DeliveredImage(drawn.png, drawn.latency_s, not drawn.header.is_finite, faults)


def plan_execution(workload: Workload, executed: int | None) -> AskedExecution:
    """Return what a program was asked to execute. Pure.

    Some programs leave out the steps that a strength leaves out, others take all steps over what is
    left of the noise; both are what was asked for.

    Args:
        workload: What was asked for.
        executed: Steps by its own word; ``None`` unknown.
    """
    steps, fewest = workload.num_inference_steps, workload.fewest_drawn_steps
    is_between = executed is not None and fewest <= executed <= steps
    planned = executed if is_between else fewest
    return AskedExecution(
        planned, fewest, workload.width, workload.height, strength=workload.strength
    )


def _check_askable(spec: WorkerSpec) -> None:
    """Refuse settings that only a pipeline of diffusers can take.

    Raises:
        ConfigurationError: A subject or an optimisation was asked for.
    """
    if spec.subject is not None:
        raise ConfigurationError(
            "a program of yours draws its own pictures and takes no code",
            got=f"{SUBJECT} {spec.subject}",
            hint=f"leave one of the two out: {ENGINE} torch",
        )
    if spec.optimisations:
        raise ConfigurationError(
            "optimisations change a pipeline of diffusers, and a program of yours has none",
            got=f"{OPTIMISATIONS} {'+'.join(spec.optimisations)}",
            hint=f"{OPTIMISATIONS} none",
        )
