"""What the quality suite asks of a worker, and the plain values that come back: never tensors.

An fp32 worker makes a `Recording`; a worker of another precision, device or revision replays its
inputs, so that each component is judged on equal inputs and not on what came out of the one
before. Importing this module loads no torch: that happens in the worker, in `answer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from sdperf.record.imprint import PictureImprint
from sdperf.record.workload import ImageRequest, Workload
from sdperf.run.messages import DeliveredImage
from sdperf.run.quality.recorded import Kernels, Recording, Replay

if TYPE_CHECKING:
    from sdperf.pipeline.stages import Stages

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)


class Question(Protocol[Answer_co]):
    """Something asked of the pipeline that a worker holds; it crosses the process border."""

    @property
    def workload(self) -> Workload:
        """Settings that the pipeline is bound to."""

    @property
    def images(self) -> tuple[ImageRequest, ...]:
        """The images it is about."""

    @property
    def threads(self) -> int:
        """CPU threads for the worker's operators."""

    def answer(self, stages: Stages) -> Answer_co:
        """Find the answer, on the thread that owns the device."""


@dataclass(frozen=True)
class _OfOneImage:
    """What is asked about one image.

    Attributes:
        workload: Settings that the pipeline is bound to.
        image: The image.
        threads: CPU threads for the worker's operators.
    """

    workload: Workload
    image: ImageRequest
    threads: int

    @property
    def images(self) -> tuple[ImageRequest, ...]:
        """The one image."""
        return (self.image,)


@dataclass(frozen=True)
class RecordImage(_OfOneImage):
    """Generate one image and keep what passes between the components."""

    def answer(self, stages: Stages) -> Recording:
        """Generate it."""
        from sdperf.run.worker.recording import record

        return record(stages, self.image)


@dataclass(frozen=True)
class TakeImprint(_OfOneImage):
    """Draw one image by the plain call and imprint what passes between the components."""

    def answer(self, stages: Stages) -> PictureImprint:
        """Draw it."""
        from sdperf.run.worker.imprinting import take_imprint

        return take_imprint(stages, self.image)


@dataclass(frozen=True)
class ReplayRecording(_OfOneImage):
    """Run each component on the inputs of a recording."""

    recording: Recording

    def answer(self, stages: Stages) -> Replay:
        """Run them.

        Raises:
            UnsupportedError: The pipeline cannot be run by components.
        """
        from sdperf.run.worker.recording import replay

        return replay(stages, self.image, self.recording)


@dataclass(frozen=True)
class GenerateBatch:
    """Generate several images in one call of the pipeline, each from its own noise."""

    workload: Workload
    images: tuple[ImageRequest, ...]
    threads: int

    def answer(self, stages: Stages) -> tuple[DeliveredImage, ...]:
        """Generate them; the latency of each is unknown and given as 0."""
        from sdperf.run.worker.recording import generate_batch

        return generate_batch(stages, self.images)


@dataclass(frozen=True)
class SoilMemory:
    """Leave NaN in the memory that the device's allocator hands out next.

    An operator that reads memory before it was written gives another image after this; without
    it, the allocator tends to hand out what the round before wrote there, and the images agree.
    """

    workload: Workload
    images: tuple[ImageRequest, ...]
    threads: int

    def answer(self, stages: Stages) -> int:
        """Soil it; return how many bytes were."""
        from sdperf.run.worker.recording import soil_memory

        return soil_memory(stages.pipeline._execution_device)


@dataclass(frozen=True)
class UnderKernels(Generic[Answer]):
    """Another question, answered with other kernels: legal noise that every gate must bear."""

    question: Question[Answer]
    kernels: Kernels

    @property
    def workload(self) -> Workload:
        """That of the question."""
        return self.question.workload

    @property
    def images(self) -> tuple[ImageRequest, ...]:
        """Those of the question."""
        return self.question.images

    @property
    def threads(self) -> int:
        """That of the question."""
        return self.question.threads

    def answer(self, stages: Stages) -> Answer:
        """Answer the question."""
        from sdperf.run.worker.recording import use_kernels

        with use_kernels(self.kernels):
            return self.question.answer(stages)
