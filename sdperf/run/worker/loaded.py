"""A pipeline on its device, with the one thread that may touch both; lives in the worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sdperf.device import Device, select_device
from sdperf.errors import ConfigurationError
from sdperf.measure.clock import Interval, monotonic_clock, timed, wait_until
from sdperf.measure.resident import read_peak_rss_bytes, read_resident_bytes
from sdperf.models.failing_line import failures_explained
from sdperf.record.execution import AskedExecution, Execution, explain_differences
from sdperf.record.measurement import MemoryUsage
from sdperf.record.stages import StageCost, StageTimes
from sdperf.record.workload import TORCH
from sdperf.run.messages import (
    DeliveredImage,
    DeviceSpeed,
    RoundRequest,
    RoundResult,
    WorkerReport,
    WorkerSpec,
)
from sdperf.run.quality.questions import Question

if TYPE_CHECKING:
    from sdperf.engines.protocol import Engine
    from sdperf.pipeline.stages import Stages
    from sdperf.pipeline.tokenize_ahead import TokenizeAhead
    from sdperf.run.worker.executed import ExecutionCount
    from sdperf.run.worker.hosting import HostedEngine
    from sdperf.run.worker.leftovers import WorkerState
    from sdperf.run.worker.separate import SeparateStages
    from sdperf.run.worker.synchronous import Generated

T = TypeVar("T")

_HOST_THREADS: Final = 2


@cache
def find_device_thread() -> ThreadPoolExecutor:
    """Return the thread that touches the device: one for the life of the process, as MPS demands.

    Another pipeline in the same process is loaded and run on the same thread.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="sdperf-device")


class LoadedPipeline:
    """A pipeline on a device, with the one thread that may touch both."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._device_thread = find_device_thread()
        self._host_threads = ThreadPoolExecutor(_HOST_THREADS, thread_name_prefix="sdperf-host")
        self._stages: Stages | None = None
        self._ahead: TokenizeAhead | None = None
        self._pipeline: Any = None
        self._own_scheduler: Any = None
        self._models_scheduler: str | None = None
        self._separate: SeparateStages | None = None
        self._precision = spec.precision
        self._optimisations = spec.optimisations
        self._engine, self._pictures = spec.engine, spec.pictures
        self._asked: AskedExecution | None = None
        self._execution: Execution | None = None
        self._state: WorkerState | None = None
        self._threads: int | None = None
        self._leftovers: tuple[str, ...] = ()
        self._without_effect: dict[tuple[object, ...], tuple[str, ...]] = {}
        self._opened_engine: Engine | None = None
        self._hosted: HostedEngine | None = None
        self.device: Device
        self.report: WorkerReport = self._on_device(lambda: self._load(spec))

    def run_round(self, request: RoundRequest) -> RoundResult:
        """Run one round between two timed borders."""
        stages, ahead = self._on_device(lambda: self._bind(request))
        leftovers, self._leftovers = self._leftovers, ()
        self._on_device(self.device.reset_peak)
        is_counted = request.stage is None and self._execution is None
        counting = self._on_device(self._start_counting) if is_counted else None
        wait_until(request.start_at_s)
        try:
            with failures_explained():
                if request.stage is not None:
                    interval = self._run_stage(stages, request)
                elif request.mode == "sync":
                    interval = self._run_sync(stages, request)
                else:
                    interval = self._run_async(stages, ahead, request)
        finally:
            if counting is not None:
                self._on_device(counting[0].close)
        if counting is not None:
            counted, png = counting[1], interval.result[0].png
            self._on_device(lambda: self._note_execution(counted, stages, png))
        return RoundResult(
            start_s=interval.start_s,
            end_s=interval.end_s,
            images=tuple(self._as_delivered(one) for one in interval.result),
            memory=MemoryUsage(
                peak_rss_bytes=read_peak_rss_bytes(),
                peak_device_bytes=self._on_device(self.device.peak_bytes),
                peak_device_sampled=self.device.peak_is_sampled,
                live_device_bytes=self._on_device(self.device.live_bytes),
                driver_device_bytes=self._on_device(self.device.driver_bytes),
            ),
            cpu_s=interval.cpu_s,
            execution=self._execution,
            leftovers=leftovers,
            without_effect=self._on_device(lambda: self._list_without_effect(request)),
            resident_bytes=read_resident_bytes(),
        )

    def _start_counting(self) -> tuple[contextlib.ExitStack, ExecutionCount]:
        """Count what the round executes: a worker's first of a workload, its first call."""
        from sdperf.run.worker.executed import count_execution

        stack = contextlib.ExitStack()
        return stack, stack.enter_context(count_execution(self._pipeline))

    def _note_execution(self, counted: ExecutionCount, stages: Stages, png: bytes) -> None:
        from sdperf.pipeline.optimisations.catalogue import is_recorded
        from sdperf.run.worker.executed import describe_execution

        self._execution = describe_execution(
            counted,
            self._pipeline,
            stages,
            self._optimisations,
            png,
            is_recorded=is_recorded(self._optimisations),
        )

    def _as_delivered(self, generated: Generated) -> DeliveredImage:
        """Look at what was delivered; outside the timed borders."""
        from sdperf.pipeline.pixels import count_nonfinite
        from sdperf.run.worker.executed import read_png_size

        faults: tuple[str, ...] = ()
        if self._execution is not None and self._asked is not None:
            width, height = read_png_size(generated.png)
            executed = replace(self._execution, width=width, height=height)
            faults = explain_differences(self._asked, executed)
        return DeliveredImage(
            png=generated.png,
            latency_s=generated.latency_s,
            nonfinite=count_nonfinite(generated.pixels) > 0,
            faults=faults,
        )

    def profile(self, request: RoundRequest) -> StageTimes:
        """Generate the first image stage by stage."""
        from sdperf.run.worker.profiler import profile_image

        return self._examine(
            request,
            lambda stages, ahead: profile_image(
                stages,
                ahead,
                request.images[0],
                synchronize=self.device.synchronize,
                clock=monotonic_clock,
            ),
        )

    def count(self, request: RoundRequest) -> tuple[StageCost, ...]:
        """Generate the first image and count operations and operators of each stage."""
        from sdperf.run.worker.counting import count_image

        def work(stages: Stages, ahead: TokenizeAhead) -> tuple[StageCost, ...]:
            if not self._optimisations:
                return tuple(count_image(stages, ahead, request.images[0]))
            from sdperf.pipeline.optimisations.cuda_graphs import recordings_bypassed

            with recordings_bypassed():
                return tuple(count_image(stages, ahead, request.images[0]))

        return self._examine(request, work)

    def trace(self, request: RoundRequest, path: str) -> None:
        """Generate the first image under torch's profiler."""
        from sdperf.run.worker.profiler import trace_image

        self._examine(
            request,
            lambda stages, ahead: trace_image(
                stages,
                ahead,
                request.images[0],
                synchronize=self.device.synchronize,
                device_kind=self.device.kind,
                path=Path(path),
            ),
        )

    def measure_speed(self, request: RoundRequest) -> DeviceSpeed:
        """Measure the device itself; the pipeline takes no part."""
        from sdperf.run.worker.counting import measure_operator_s, measure_peak

        self._on_device(lambda: self._bind(request))
        peak = self._on_device(lambda: measure_peak(self.device, self._precision))
        operator_s = None
        with contextlib.suppress(RuntimeError):
            operator_s = self._on_device(lambda: measure_operator_s(self.device, self._precision))
        return DeviceSpeed(peak, operator_s)

    def _list_without_effect(self, request: RoundRequest) -> tuple[str, ...]:
        """List it after the timed round, once for the same prompts: tokenising them takes time."""
        from sdperf.models.loader import list_left_out
        from sdperf.run.worker.without_effect import describe_left_out, list_without_effect

        prompts = tuple(dict.fromkeys(image.prompt for image in request.images))
        key = (request.workload, prompts)
        if key not in self._without_effect:
            self._without_effect[key] = (
                *list_without_effect(self._pipeline, request.workload, prompts),
                *describe_left_out(list_left_out(self._pipeline)),
            )
        return self._without_effect[key]

    def _examine(self, request: RoundRequest, examine: Callable[[Stages, TokenizeAhead], T]) -> T:
        """Do something with the bound pipeline on the thread that owns the device."""
        stages, ahead = self._on_device(lambda: self._bind(request))

        def work() -> T:
            with ahead:
                return examine(stages, ahead)

        with failures_explained():
            return self._on_device(work)

    def ask(self, question: Question[T]) -> T:
        """Answer a question, on the thread that owns the device; nothing of it is timed."""
        stages, _ = self._on_device(
            lambda: self._bind(
                RoundRequest(question.workload, question.images, "sync", question.threads)
            )
        )
        with failures_explained():
            return self._on_device(lambda: question.answer(stages))

    def free(self) -> None:
        """Drop the pipeline and hand the device's cached memory back."""

        def drop() -> None:
            self._stages = self._ahead = self._pipeline = self._own_scheduler = None
            self._separate = self._opened_engine = self._hosted = None
            self.device.empty_cache()

        self._on_device(drop)
        self._host_threads.shutdown()

    def _on_device(self, work: Callable[[], T]) -> T:
        return self._device_thread.submit(work).result()

    def _load(self, spec: WorkerSpec) -> WorkerReport:
        import torch

        from sdperf.models.loader import (
            find_scheduler_name,
            import_components,
            weights_read_on_this_thread,
        )
        from sdperf.models.subject import PipelineRequest, load_subject, plain_subject
        from sdperf.pipeline.families import is_separable
        from sdperf.pipeline.input_pictures import find_picture_call
        from sdperf.pipeline.weights import count_weight_bytes, is_offloaded

        self.device = select_device(spec.device, spec.slot)
        if spec.engine != TORCH:
            from sdperf.run.worker.hosting import open_engine

            self._opened_engine = open_engine(spec, self.device.kind)
        make = plain_subject if spec.subject is None else load_subject(spec.subject, spec.code)
        formats = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        torch_dtype = formats[spec.precision]
        asked = PipelineRequest(spec.model, torch_dtype, self.device.torch_device)
        # CUDA takes calls from any thread, and large models load faster with several.
        reading = (
            contextlib.nullcontext()
            if self.device.kind == "cuda"
            else weights_read_on_this_thread()
        )
        with failures_explained(), reading:
            import_components(spec.model)
            interval = timed(
                lambda: self._host(self._optimise(make(asked)), spec),
                synchronize=self.device.synchronize,
            )
        self._pipeline, hosted = interval.result, self._hosted
        self._own_scheduler = self._pipeline.scheduler
        is_the_models = spec.model.pipeline_class in {
            base.__name__ for base in type(self._pipeline).__mro__
        }
        if spec.subject is not None and is_the_models:
            self._models_scheduler = find_scheduler_name(spec.model)
        return WorkerReport(
            pid=os.getpid(),
            device=self.device.describe(),
            load_s=interval.duration_s - (0.0 if hosted is None else hosted.spent_s),
            pipeline=type(self._pipeline).__name__,
            is_separable=is_separable(self._pipeline),
            is_the_models=is_the_models,
            picture_call=find_picture_call(self._pipeline),
            is_offloaded=is_offloaded(self._pipeline),
            weight_bytes=count_weight_bytes(self._pipeline) if hosted is None else {},
            engine=None if hosted is None else hosted.use,
        )

    def _optimise(self, pipeline: Any) -> Any:
        """Switch on what changes the pipeline's networks; `_bind` does the rest."""
        if self._optimisations:
            from sdperf.pipeline.families import family_of
            from sdperf.pipeline.optimisations.catalogue import check_supported
            from sdperf.pipeline.optimisations.networks import optimise_networks

            device = self.device.describe()
            check_supported(
                self._optimisations,
                device.kind,
                family_of(pipeline),
                type(pipeline).__name__,
                device.compute_capability,
            )
            optimise_networks(pipeline, self._optimisations)
        return pipeline

    def _host(self, pipeline: Any, spec: WorkerSpec) -> Any:
        """Hand the pipeline's networks to another engine, where one was asked for."""
        if self._opened_engine is not None:
            from sdperf.run.worker.hosting import host_engine

            self._hosted = host_engine(pipeline, self._opened_engine, spec, self.device)
        return pipeline

    def _bind(self, request: RoundRequest) -> tuple[Stages, TokenizeAhead]:
        """Bind the pipeline to a request's workload, and learn how it tokenises; untimed."""
        import torch

        from sdperf.pipeline.families import stages_for
        from sdperf.pipeline.scheduling import apply_scheduler
        from sdperf.pipeline.separable import SeparableStages
        from sdperf.pipeline.tokenize_ahead import TokenizeAhead
        from sdperf.run.worker.executed import describe_asked
        from sdperf.run.worker.leftovers import put_back, read_state

        if self._state is not None:
            self._leftovers += put_back(self._pipeline, self._state)
        # Beside an engine torch has little to do, and its waiting threads would take the engine's
        # processors.
        threads = request.threads if self._hosted is None else 1
        # Also where torch counts as many already: until it is told a number, MKL divides a product
        # among fewer threads, and the first case of a worker would run otherwise than the next.
        if self._threads != threads or torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
            self._threads = threads
        if self._hosted is not None:
            self._hosted.engine.set_threads(request.threads)
        stages, ahead = self._stages, self._ahead
        if stages is None or ahead is None or stages.workload != request.workload:
            self._pipeline.scheduler = self._own_scheduler
            apply_scheduler(self._pipeline, request.workload.scheduler)
            stages = stages_for(self._pipeline, request.workload, self._pictures)
            if self._optimisations:
                from sdperf.pipeline.optimisations.optimised_stages import optimise_stages

                stages = optimise_stages(stages, self._optimisations)
            self._stages = stages
            ahead = self._ahead = TokenizeAhead(self._pipeline)
            self._execution = None
            self._asked = describe_asked(
                self._pipeline,
                stages,
                self._precision,
                self._engine,
                self._optimisations,
                self._models_scheduler,
            )
            if isinstance(stages, SeparableStages):
                prompts = [request.images[0].prompt]
                with failures_explained(), ahead, ahead.learning(prompts):
                    stages.encode_prompt(prompts)
            else:
                with failures_explained():
                    stages.learn([request.images[0].prompt])
        self._state = read_state(self._pipeline)
        return stages, ahead

    def _run_sync(self, stages: Stages, request: RoundRequest) -> Interval[list[Generated]]:
        from sdperf.run.worker.synchronous import generate_sync

        return self._on_device(
            lambda: timed(
                lambda: generate_sync(stages, request.images, monotonic_clock),
                synchronize=self.device.synchronize,
            )
        )

    def _run_stage(self, stages: Stages, request: RoundRequest) -> Interval[list[Generated]]:
        """Time one stage of one image; its fixed inputs are made at the first such request."""
        from sdperf.pipeline.separable import SeparableStages
        from sdperf.run.worker.separate import SeparateStages

        stage = request.stage
        if stage is None or not isinstance(stages, SeparableStages):
            raise ConfigurationError(
                f"{self.report.pipeline} cannot be divided into stages",
                expected="a Stable Diffusion, SDXL, SD3 or Flux pipeline with its own call",
                hint="deselect the stage cases: -k 'not stage'",
            )
        separable, image = stages, request.images[0]

        def run() -> Interval[list[Generated]]:
            separate = self._separate
            if separate is None or separate.stages is not separable or separate.request != image:
                separate = self._separate = SeparateStages(separable, image)
                self.device.reset_peak()
            return separate.run(stage, synchronize=self.device.synchronize, clock=monotonic_clock)

        return self._on_device(run)

    def _run_async(
        self, stages: Stages, ahead: TokenizeAhead, request: RoundRequest
    ) -> Interval[list[Generated]]:
        from sdperf.run.worker.asynchronous import generate_async

        def generate() -> list[Generated]:
            with ahead:
                return asyncio.run(
                    generate_async(
                        stages,
                        ahead,
                        request.images,
                        device_thread=self._device_thread,
                        host_threads=self._host_threads,
                        clock=monotonic_clock,
                    )
                )

        return timed(generate, synchronize=lambda: self._on_device(self.device.synchronize))
