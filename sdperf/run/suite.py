"""What all cases of one session share: the pool, the device's facts, the reference images."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sdperf.device import DeviceInfo
from sdperf.errors import EngineError, GenerationError, SubjectError
from sdperf.images.input_files import InputFile
from sdperf.measure.environment import count_performance_cores
from sdperf.models.loader import ResolvedModel
from sdperf.models.references import ReferenceImages
from sdperf.models.tasks.calls import settle_picture
from sdperf.pipeline.optimisations.catalogue import QUANTISATIONS
from sdperf.record.environment import Environment
from sdperf.record.execution import find_program
from sdperf.record.imprint import PictureImprint
from sdperf.record.measurement import GuardPolicy, MemoryUsage
from sdperf.record.stages import SeparateStage
from sdperf.record.workload import (
    TORCH,
    ImageRequest,
    Mode,
    Precision,
    ProgramFacts,
    Variant,
    Workload,
    is_external,
)
from sdperf.run.machine import LiveMachine, Machine
from sdperf.run.memory import (
    FITS_EVERYWHERE_BYTES,
    WEIGHT_BYTES,
    Room,
    choose_widest,
    find_peak,
    find_room,
)
from sdperf.run.messages import (
    EngineShape,
    RoundRequest,
    WorkerSpec,
)
from sdperf.run.pictures.images import SessionImages
from sdperf.run.pictures.references import PlannedReferences, make_due
from sdperf.run.pool import Worker, WorkerPool
from sdperf.run.profiles import SessionProfiles
from sdperf.run.program.given import check_given
from sdperf.run.program.sampling import check_sampling, leave_to_program
from sdperf.run.quality.questions import TakeImprint

_log = logging.getLogger(__name__)

_DECIDES_RESULTS: Final = ("workload", "model", "device", "subject", "code", "cpu_threads")
"""Fields of a suite that decide what is drawn and how fast."""

IMPRINT_BUDGET_S: Final = 10.0
"""Seconds per pipeline for drawing images once more for imprints, beyond the first image."""


@dataclass
class Suite:
    """One session's workload on one device.

    Attributes:
        workload: What is generated.
        model: The resolved model.
        pool: The workers.
        device: A choice of the setting ``device``.
        subject: ``module:function`` under test, or ``None``.
        sampling_source: Where the model's steps and guidance come from, where the user left one of
            them open; ``None`` where the user gave both.
        left_open: Fields of the workload that are the model's since the user left them open.
        code: Folders to search first for the subject's module.
        compares_with_fp32: Whether images are compared with this run's plain ones, in fp32 where
            the memory holds it.
        asked_precisions: Precisions that the user named; fp32 among them is loaded whatever the
            memory holds, and is the reference then.
        cpu_threads: Threads divided among the workers of a case.
        pictures: Pixels that the workload names, beside those that ship.
        shipped: Reference images that ship with the model, if any.
        guards: The policy for a machine that is not fit, or does not stay fit.
        allowed_unknown: Guards that a strict policy allows to be unknown, as they are typed.
        machine: The machine, watched and guarded.
        planned: The references that the session's tests will need.
        images: The images that were made so far.
        profiles: The measurements that are made once per pipeline.
    """

    workload: Workload
    model: ResolvedModel
    pool: WorkerPool
    device: str
    subject: str | None
    cpu_threads: int
    shipped: ReferenceImages | None = None
    guards: GuardPolicy = "warn"
    allowed_unknown: frozenset[str] = frozenset()
    machine: Machine = field(default_factory=LiveMachine)
    code: tuple[str, ...] = ()
    sampling_source: str | None = None
    left_open: frozenset[str] = frozenset()
    pictures: tuple[InputFile, ...] = ()
    compares_with_fp32: bool = True
    asked_precisions: tuple[Precision, ...] = ()
    planned: PlannedReferences = field(default_factory=PlannedReferences)
    images: SessionImages = field(default_factory=SessionImages)
    profiles: SessionProfiles = field(default_factory=SessionProfiles)
    _program: ProgramFacts | None = None
    _device_info: DeviceInfo | None = None
    _environment: Environment | None = None
    _freshened: set[tuple[Mode, Precision, tuple[str, ...], str]] = field(default_factory=set)
    _imprints: dict[
        tuple[Precision, int, str], dict[ImageRequest, tuple[PictureImprint, float]]
    ] = field(default_factory=dict)
    _refused: dict[WorkerSpec, EngineError] = field(default_factory=dict)
    _lost_subjects: dict[tuple[Any, ...], SubjectError] = field(default_factory=dict)
    _own_weights: int | None = None
    _is_of_another_class: bool | None = None

    def with_changes(self, **changes: Any) -> Suite:
        """Return this suite with some fields changed.

        Images, profiles and refusals are shared with this suite where they hold for both. With
        other code, another model, workload or device the new suite has its own.

        Args:
            changes: New values by field of the suite.
        """
        changed = dataclasses.replace(self, **changes)
        if any(getattr(changed, name) != getattr(self, name) for name in _DECIDES_RESULTS):
            changed.images = SessionImages(scores=self.images.scores)
            changed.profiles = SessionProfiles()
            changed._imprints, changed._refused = {}, {}
            changed._device_info = changed._environment = changed._own_weights = None
            changed._is_of_another_class = None
        return changed

    def acquire(
        self,
        precision: Precision,
        count: int,
        optimisations: tuple[str, ...] = (),
        engine: str = TORCH,
    ) -> list[Worker]:
        """Return loaded workers of a precision; see `WorkerPool.acquire`.

        The references that the session planned for them are made before.

        Raises:
            EngineError: The engine cannot run the pipeline. A repeated call raises at once, since
                converting up to the failure can take minutes.
            ConfigurationError: What draws is sampled in another way than the model, or the subject
                cannot be imported; a repeated call raises the latter at once.
        """
        spec = self.make_spec(precision, optimisations, engine)
        refused = self._refused.get(spec)
        if refused is not None:
            raise refused
        try:
            with self._remembering_subject(spec):
                if not is_external(engine):
                    make_due(self, spec)
                workers = list(self.pool.acquire(spec, count))
            if any(map(has_converted, workers)):
                # Exporters do not free all memory; fresh processes find the conversion done.
                self.pool.start_afresh()
                workers = list(self.pool.acquire(spec, count))
            _check_hosted(spec, workers[0])
            self._note_class(spec, workers[0])
            check_sampling(workers[0].report, self.workload, self.model, self.left_open)
            self._program = find_program(workers[0].report.engine)
            self._note_weights(spec, workers[0])
        except EngineError as error:
            self._refused[spec] = error
            raise
        if self._device_info is None or not is_external(engine):  # torch's facts win
            self._device_info = workers[0].report.device
        return workers

    def settle_picture(self, worker: Worker) -> None:
        """Add to the workload what the pipeline draws from; a subject's input is known only now.

        Images of another workload are dropped.

        Raises:
            ConfigurationError: The pipeline cannot take what was asked for.
            EngineError: A program of the user's cannot.
        """
        report = worker.report
        if report.program is not None:
            check_given(report.program, self.workload.picture)
            return
        picture = settle_picture(self.workload.picture, report.picture_call)
        if picture != self.workload.picture:
            self.workload = dataclasses.replace(self.workload, picture=picture)
            self.images = SessionImages(scores=self.images.scores)

    def workload_for(self, program: ProgramFacts | None) -> Workload:
        """Return the workload as it is asked of a program, or of a pipeline of diffusers."""
        return leave_to_program(self.workload, program, self.left_open)

    def _note_class(self, spec: WorkerSpec, worker: Worker) -> None:
        """Remember that the subject makes a pipeline of another class than the model."""
        if self.subject is not None and spec.engine == TORCH:
            self._is_of_another_class = not worker.report.is_the_models
        self.settle_picture(worker)

    @property
    def is_own_reference(self) -> bool:
        """Whether the subject is compared with itself in the widest precision, not with the model.

        A pipeline of another class tells nothing about the subject. The answer is known once the
        subject was loaded.
        """
        return bool(self._is_of_another_class)

    def learn_class(self, spec: WorkerSpec) -> None:
        """Load a subject that was not loaded yet, because its class decides its reference.

        Args:
            spec: The pipeline under test.
        """
        if spec.subject is not None and self._is_of_another_class is None:
            with self._remembering_subject(spec):
                self._note_class(spec, self.pool.acquire(spec, 1)[0])

    @contextlib.contextmanager
    def _remembering_subject(self, spec: WorkerSpec) -> Iterator[None]:
        """Raise at once what importing the subject raised before: no worker is started for it."""
        key = spec.subject, spec.code
        if key in self._lost_subjects:
            raise self._lost_subjects[key]
        try:
            yield
        except SubjectError as error:
            self._lost_subjects[key] = error
            raise

    @property
    def pictures_of_the_model(self) -> ReferenceImages | None:
        """The shipped pictures, where the pipeline under test has the class that drew them."""
        return None if self.is_own_reference else self.shipped

    def make_references(self, variant: Variant) -> None:
        """Make the references of a variant's tests that the session planned."""
        make_due(self, self.make_spec(variant.precision, variant.optimisations, variant.engine))

    def make_spec(
        self,
        precision: Precision,
        optimisations: tuple[str, ...] = (),
        engine: str = TORCH,
    ) -> WorkerSpec:
        """Return the specification that a worker of this session loads."""
        return WorkerSpec(
            self.model,
            precision,
            self.device,
            self.subject,
            self.code,
            optimisations,
            engine=engine,
            shape=None if engine == TORCH or is_external(engine) else EngineShape.of(self.workload),
            pictures=self.pictures,
        )

    def find_room(self) -> Room | None:
        """Return the memory that workers share; ``None`` where it is not this machine's."""
        if self.pool.is_elsewhere:
            return None
        return find_room(self.describe_device(), self.environment().ram_bytes)

    @property
    def reference_precision(self) -> Precision:
        """The precision that others are compared with: the widest that the memory holds.

        It is chosen at the first use and kept, so that a session has one reference.
        """
        if self.images.plain_precision is None:
            self.images.plain_precision = self._choose_reference_precision()
        return self.images.plain_precision

    def is_reference(self, variant: Variant) -> bool:
        """Tell whether a variant has no reference in this run: the reference itself, a program."""
        return variant.is_external or variant == Variant(self.reference_precision)

    def _choose_reference_precision(self) -> Precision:
        weights = self.weights
        need_bytes = None if weights is None else weights * WEIGHT_BYTES["fp32"]
        is_small = need_bytes is None or need_bytes <= FITS_EVERYWHERE_BYTES
        if "fp32" in self.asked_precisions or weights is None or is_small:
            return "fp32"
        return choose_widest(weights, self.find_room(), self.describe_device().native_precisions)

    def find_need_bytes(self, variant: Variant) -> int | None:
        """Return the least bytes that one worker of a variant is known to take.

        It is the most that one worker took in this session, else the size of the plain pipeline's
        weights, which another engine than torch also loads before it converts them.
        """
        peak_bytes = self.profiles.peaks.get(variant.pipeline)
        if peak_bytes is not None or self.weights is None:
            return peak_bytes
        has_fewer_bits = bool(set(variant.optimisations) & set(QUANTISATIONS))
        return None if has_fewer_bits else self.weights * WEIGHT_BYTES[variant.precision]

    def note_memory(self, variant: Variant, memory: MemoryUsage) -> None:
        """Remember the memory of a variant's workers, which tells how many fit."""
        peak_bytes = find_peak(memory, variant.workers, self.describe_device())
        if peak_bytes is not None and not variant.is_external:
            seen = self.profiles.peaks
            seen[variant.pipeline] = max(peak_bytes, seen.get(variant.pipeline, 0))

    @property
    def weights(self) -> int | None:
        """How many weights the pipeline has; unknown for a subject before it is loaded."""
        return self.model.weights if self.subject is None else self._own_weights

    def _note_weights(self, spec: WorkerSpec, worker: Worker) -> None:
        """Count a subject's weights, unless they are offloaded, which always fit."""
        if self.subject is None or spec.optimisations or spec.engine != TORCH:
            return
        if worker.report.is_offloaded:
            return
        if stored := sum(worker.report.weight_bytes.values()):
            self._own_weights = stored // WEIGHT_BYTES[spec.precision]

    def describe_device(self) -> DeviceInfo:
        """Return the device's facts, from a running worker or from one started for this."""
        if self._device_info is None:
            self._device_info = self.pool.describe_device(self.device)
        return self._device_info

    def environment(self) -> Environment:
        """Return the machine and software of this session, collected once."""
        if self._environment is None:
            self._environment = self.pool.collect_environment(self.describe_device())
        return self._environment

    def threads_per_worker(self, workers: int) -> int:
        """Divide the processor's threads among the workers; each gets at least one.

        Workers on other machines have the threads that they were started with.
        """
        if self.pool.is_elsewhere:
            return self.cpu_threads
        return max(1, self.cpu_threads // workers)

    def threads_for(self, variant: Variant) -> int:
        """Return the threads of each worker of a variant, which may name their number."""
        return variant.threads or self.threads_per_worker(variant.workers)

    def request(
        self,
        images: tuple[ImageRequest, ...],
        mode: Mode,
        threads: int,
        stage: SeparateStage | None = None,
    ) -> RoundRequest:
        """Make the request for one worker's round."""
        case = self.pool.cases
        workload = self.workload_for(self._program)
        return RoundRequest(workload, images, mode, threads, stage=stage, case=case)

    def claims_fresh(self, variant: Variant) -> bool:
        """Tell whether a variant's pipeline and mode still lack a round of fresh requests."""
        key = (variant.mode, variant.precision, variant.optimisations, variant.engine)
        is_first = key not in self._freshened
        self._freshened.add(key)
        return is_first

    def take_imprints(
        self, variant: Variant, images: Sequence[ImageRequest]
    ) -> tuple[PictureImprint, ...]:
        """Return imprints of a plain variant's images; each is drawn once more in a session.

        The first image is always drawn, and further ones while all images of the pipeline took less
        than `IMPRINT_BUDGET_S`. A worker of the variant has to be running.
        """
        if variant.is_external:
            return ()
        threads = self.threads_for(variant)
        taken = self._imprints.setdefault((variant.precision, threads, variant.engine), {})
        try:
            for image in images:
                spent_s = sum(each_s for _, each_s in taken.values())
                if image in taken or (taken and spent_s >= IMPRINT_BUDGET_S):
                    continue
                started_s = time.monotonic()
                imprint = self.pool.ask(TakeImprint(self.workload, image, threads))
                taken[image] = imprint, time.monotonic() - started_s
        except GenerationError as error:
            _log.warning("no imprint of what components gave: %s", error)
        return tuple(taken[image][0] for image in images if image in taken)

    def trace(self, variant: Variant, path: Path) -> None:
        """Write a Chrome trace of one image, and end the workers, whose memory it has increased.

        Raises:
            GenerationError: The generation failed, or the trace cannot be written.
        """
        threads = self.threads_for(variant)
        try:
            self.pool.trace(self.request((self.workload.image(0),), "sync", threads), path)
        finally:
            self.pool.start_afresh()

    def close(self) -> None:
        """End the workers and close the machine's probes."""
        self.pool.close()
        self.machine.close()


def has_converted(worker: Worker) -> bool:
    """Tell whether a worker's load converted the model; a fresh process is smaller then."""
    use = worker.report.engine
    return use is not None and use.conversion_s is not None and not use.was_cached


def _check_hosted(spec: WorkerSpec, worker: Worker) -> None:
    """Check that a worker runs on the requested engine: an older sdperf has no engines."""
    use = worker.report.engine
    if spec.engine != (TORCH if use is None else use.name):
        raise EngineError(
            f"the worker does not run on {spec.engine}",
            got=TORCH if use is None else use.name,
            hint="the sdperf of that revision or environment knows no engines: compare later ones",
        )


def count_cpu_threads() -> int:
    """Return the threads that a case divides among its workers: one per performance core."""
    return count_performance_cores() or os.cpu_count() or 1
