"""The quality suite's questions to a worker, and their answers: plain values, never tensors.

An fp32 worker makes a `Recording`. A worker of another precision, device or revision replays its
inputs, so that each component is judged on equal inputs and not on the output of the component
before. Importing this module does not load torch: `answer` loads it in the worker.
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
    """A question to the pipeline in a worker; it is sent to another process."""

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
        """Answer the question, on the thread that owns the device."""


@dataclass(frozen=True)
class _OfOneImage:
    """A question about one image.

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
    """Generate one image and keep the values between the components."""

    def answer(self, stages: Stages) -> Recording:
        """Generate it."""
        from sdperf.run.worker.recording import record

        return record(stages, self.image)


@dataclass(frozen=True)
class TakeImprint(_OfOneImage):
    """Draw one image by the plain call and imprint the values between the components."""

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

    An operator that reads memory before it was written gives another image after this. Without it,
    the allocator often hands out memory with the values of the round before, and the images agree.
    """

    workload: Workload
    images: tuple[ImageRequest, ...]
    threads: int

    def answer(self, stages: Stages) -> int:
        """Fill the memory with NaN; return how many bytes were filled."""
        from sdperf.run.worker.recording import soil_memory

        return soil_memory(stages.pipeline._execution_device)


@dataclass(frozen=True)
class UnderKernels(Generic[Answer]):
    """Another question, answered with other kernels: legal noise that must pass every gate."""

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
