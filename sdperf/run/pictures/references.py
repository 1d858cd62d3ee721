"""What a session will want of reference pipelines, made in one visit to each.

A pipeline under test is compared with pictures of the plain pipeline in fp32, or in the widest
precision that the memory holds, and against a recording of its components. One pipeline is loaded
at a time, so that every change of mind costs two loads: a session that knows what its tests will
ask has all of it made while a reference is loaded, before the pipeline under test is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sdperf.errors import GenerationError, SdperfError, UnsupportedError
from sdperf.record.workload import TORCH, ImageRequest, Precision
from sdperf.run.messages import WorkerSpec
from sdperf.run.pictures.sources import Source
from sdperf.run.quality.questions import RecordImage
from sdperf.run.quality.recorded import Recording

if TYPE_CHECKING:
    from sdperf.run.suite import Suite

_log = logging.getLogger(__name__)

RECORDED_IMAGES: Final = 8
"""Images whose components and latents are looked at, where there is time: those of the suite."""

RECORDING_BUDGET_S: Final = 60.0
"""Seconds a pipeline in which further images than the first are opened up."""

ROLE: Final = "reference"
"""What a pipeline that only serves as a reference is called in the ledger."""


@dataclass(frozen=True)
class PlannedReferences:
    """What the tests of a session will ask for.

    Attributes:
        pictures: How many of the workload's pictures are wanted of plain fp32, from the first one.
        inspected: Precision and engine of each pipeline whose components or latents are compared
            with a recording.
    """

    pictures: int = 0
    inspected: tuple[tuple[Precision, str], ...] = ()


def find_reference(suite: Suite, precision: Precision, engine: str) -> Source | None:
    """Find whose recording a pipeline's components are compared with.

    The reference of a 16-bit precision, of a subject and of another engine is the plain pipeline
    in fp32 on the same device; that of plain fp32 on an accelerator is plain fp32 on the CPU. Plain
    fp32 on the CPU is compared with itself with another number of threads: what is left is the
    noise floor. A subject of another class than the model's takes the model's place: the model's
    pipeline says nothing of it. Where the memory does not hold fp32, the widest precision that it
    holds takes its place, and the plain pipeline in that precision has no reference: ``None``.
    """
    threads = suite.threads_per_worker(1)
    kind = suite.describe_device().kind
    widest = suite.reference_precision
    subject = suite.subject if suite.is_own_reference else None
    plain = WorkerSpec(
        suite.model,
        widest,
        suite.device,
        subject,
        suite.code if subject else (),
        pictures=suite.pictures,
    )
    if precision != widest or suite.subject != subject or engine != TORCH:
        drawer = "plain" if subject is None else "the subject in"
        return Source(plain, threads, f"{drawer} {widest} on the same {kind}")
    if widest != "fp32":
        return None
    if kind != "cpu":
        return Source(replace(plain, device="cpu"), threads, "fp32 on the CPU")
    other = 1 if threads > 1 else 2
    words = f"itself with {other} instead of {threads} threads (A/A)"
    return Source(plain, other, words)


def choose_reference(suite: Suite, precision: Precision, engine: str) -> Source:
    """Return what `find_reference` finds.

    Raises:
        UnsupportedError: Nothing wider fits into memory.
    """
    found = find_reference(suite, precision, engine)
    if found is None:
        room = suite.find_room()
        held = "" if room is None else f": {room.describe()}"
        raise UnsupportedError(
            f"there is no wider reference than {precision}, since fp32 does not fit{held}; its "
            "images are compared with those of the accepted runs"
        )
    return found


def make_recording(suite: Suite, source: Source, image: ImageRequest) -> Recording:
    """Return the recording of a generation, made once for each source.

    Raises:
        SdperfError: It could not be made; said again when asked again.
    """
    if (source, image) not in suite.images.recordings:
        try:
            role = "" if source.spec == suite.pool.loaded else _name_role(suite, source)
            suite.pool.acquire(source.spec, 1, role)
            question = RecordImage(suite.workload, image, source.threads)
            asked_s = time.monotonic()
            suite.images.recordings[source, image] = suite.pool.ask(question)
            spent_s = suite.images.recording_s.get(source, 0.0) + time.monotonic() - asked_s
            suite.images.recording_s[source] = spent_s
        except SdperfError as error:
            suite.images.recordings[source, image] = error
    made = suite.images.recordings[source, image]
    if isinstance(made, SdperfError):
        raise made
    return made


def make_recordings(suite: Suite, source: Source) -> list[tuple[ImageRequest, Recording]]:
    """Return the recordings of the quality suite's images, as many as there is time for.

    The first one is made whatever it takes, more of them while all that were made of the source
    took less than `RECORDING_BUDGET_S`; one that cannot be made ends the list.

    Raises:
        SdperfError: The first one could not be made.
    """
    made = []
    for number in range(RECORDED_IMAGES):
        image = suite.workload.image(number)
        spent_s = suite.images.recording_s.get(source, 0.0)
        if (
            number
            and (source, image) not in suite.images.recordings
            and spent_s >= RECORDING_BUDGET_S
        ):
            break
        try:
            made.append((image, make_recording(suite, source, image)))
        except SdperfError:
            if not number:
                raise
            break
    return made


def make_due(suite: Suite, spec: WorkerSpec) -> None:
    """Make what the tests of a pipeline will be compared with, before that pipeline is loaded.

    What fails is logged or said when it is asked for; the pipeline under test is none the worse.

    Args:
        suite: What the session shares.
        spec: The pipeline that is about to be loaded.
    """
    if not suite.compares_with_fp32 or suite.planned == PlannedReferences():
        return
    plain = suite.make_spec(suite.reference_precision)
    sources = [source for source in _list_due(suite, spec) if source.spec != spec]
    of_plain = [source for source in sources if source.spec == plain]
    of_others = [source for source in sources if source.spec != plain]
    if suite.pool.loaded != plain:
        _record_all(suite, of_others)
    _record_all(suite, of_plain)
    if spec != plain:
        _draw_planned(suite)
    _record_all(suite, of_others)  # but those that were made before


def draw_plain(suite: Suite, images: Iterable[ImageRequest]) -> None:
    """Draw those of the plain reference's pictures that nobody has drawn; untimed, one by one.

    ``None`` is kept for a picture that it cannot draw here, and for all that are left where it
    cannot be loaded or its worker died; the reason is logged once.
    """
    precision = suite.reference_precision
    missing = [image for image in dict.fromkeys(images) if image not in suite.images.plain]
    while missing:
        try:
            suite.pool.acquire(suite.make_spec(precision), 1)
            with suite.pool.ledger.spend("references"):
                while missing:
                    request = suite.request((missing[0],), "sync", suite.threads_per_worker(1))
                    made = suite.pool.run_round([request]).results[0].images[0]
                    suite.images.keep_made(precision, TORCH, missing.pop(0), made)
        except SdperfError as error:
            _log.warning("no %s sync image to compare with: %s", precision, error)
            failed = missing[:1] if isinstance(error, GenerationError) else list(missing)
            suite.images.plain.update(dict.fromkeys(failed))
            del missing[: len(failed)]


def fetch_plain(suite: Suite, image: ImageRequest) -> bytes | None:
    """Return the plain reference's image of this run, generating it untimed where no case did.

    ``None`` when it cannot run here; the reason is logged once.
    """
    if suite.compares_with_fp32 and image not in suite.images.plain:
        draw_plain(suite, [image])
    return suite.images.plain.get(image)


def _draw_planned(suite: Suite) -> None:
    draw_plain(suite, map(suite.workload.image, range(suite.planned.pictures)))


def list_reference_specs(suite: Suite) -> set[WorkerSpec]:
    """List the pipelines that the plan wants as references, whether or not they are tested too."""
    found = [find_reference(suite, *one) for one in suite.planned.inspected]
    specs = {one.spec for one in found if one is not None}
    plain = suite.make_spec(suite.reference_precision)
    return specs | ({plain} if suite.planned.pictures else set())


def _list_due(suite: Suite, spec: WorkerSpec) -> list[Source]:
    """List the recordings that the tests of a pipeline will ask for, and that are not made."""
    image = suite.workload.image(0)
    asking = [
        one for one in suite.planned.inspected if suite.make_spec(one[0], engine=one[1]) == spec
    ]
    sources = dict.fromkeys(find_reference(suite, *one) for one in asking)
    known = suite.images.recordings
    return [one for one in sources if one is not None and (one, image) not in known]


def _record_all(suite: Suite, sources: list[Source]) -> None:
    for source in sources:
        if (source, suite.workload.image(0)) in suite.images.recordings:
            continue
        try:
            with suite.pool.ledger.spend("references"):
                make_recordings(suite, source)
        except SdperfError as error:
            _log.debug("no recording of %s: %s", source.words, error)


def _name_role(suite: Suite, source: Source) -> str:
    """Name a pipeline that is loaded as a reference only; one under test keeps its name."""
    spec, subject = source.spec, suite.subject
    is_tested = subject is None and spec.device == suite.device
    return "" if is_tested else ROLE
