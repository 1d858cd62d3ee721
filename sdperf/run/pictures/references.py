"""Draws everything that a session needs from reference pipelines, with one load of each.

A pipeline under test is compared with pictures of the plain pipeline in fp32, or in the widest
precision that the memory holds, and with a recording of its components. One pipeline is loaded at a
time, so that every return to a reference costs two loads. So a session that knows the needs of its
tests draws everything while a reference is loaded, before it loads the pipeline under test.
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
from sdperf.units import format_quantity, shorten

if TYPE_CHECKING:
    from sdperf.run.suite import Suite

_log = logging.getLogger(__name__)

RECORDED_IMAGES: Final = 8
"""How many images of the suite have their components and latents compared, where time allows."""

RECORDING_BUDGET_S: Final = 60.0
"""Seconds per pipeline for recording further images than the first."""

ROLE: Final = "reference"
"""Name in the ledger of a pipeline that serves only as a reference."""


_LONGEST_REASON: Final = 40
"""Characters of a logged reason; with pytest's words before it a line has about 100."""


@dataclass(frozen=True)
class PlannedReferences:
    """The references that the tests of a session will need.

    Attributes:
        pictures: How many of the workload's pictures are needed from plain fp32, from the first on.
        inspected: Precision and engine of each pipeline whose components or latents are compared
            with a recording.
    """

    pictures: int = 0
    inspected: tuple[tuple[Precision, str], ...] = ()


def find_reference(suite: Suite, precision: Precision, engine: str) -> Source | None:
    """Find the pipeline whose recording a pipeline's components are compared with.

    The reference of a 16-bit precision, of a subject and of another engine is the plain pipeline
    in fp32 on the same device. The reference of plain fp32 on an accelerator is plain fp32 on the
    CPU. Plain fp32 on the CPU is compared with itself with another number of threads, which gives
    the noise floor. A subject of another class than the model's is its own model, since the model's
    pipeline tells nothing about it. Where the memory does not hold fp32, the widest precision that
    fits takes its place; the plain pipeline in that precision has no reference: ``None``.
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
    words = f"itself with {other} instead of {format_quantity(threads, 'thread')} (A/A)"
    return Source(plain, other, words)


def choose_reference(suite: Suite, precision: Precision, engine: str) -> Source:
    """Return the reference from `find_reference`, or raise.

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
        SdperfError: It could not be made; a repeated call raises the same error.
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
    """Return the recordings of the quality suite's images, as many as time allows.

    The first recording is always made, and further ones while all recordings of the source took
    less than `RECORDING_BUDGET_S`. A recording that cannot be made ends the list.

    Raises:
        SdperfError: The first recording could not be made.
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
    """Draw the references for the tests of a pipeline, before that pipeline is loaded.

    A failure is logged, or reported when the reference is needed; the pipeline under test still
    runs.

    Args:
        suite: The suite of the session.
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
    _record_all(suite, of_others)  # except those that were made before


def draw_plain(suite: Suite, images: Iterable[ImageRequest]) -> None:
    """Draw the missing pictures of the plain reference, untimed and one by one.

    ``None`` is stored for a picture that it cannot draw here, and for all missing pictures where it
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
            _log.warning("no %s sync image: %s", precision, shorten(error.what, _LONGEST_REASON))
            _log.debug("the whole reason: %s", error)
            failed = missing[:1] if isinstance(error, GenerationError) else list(missing)
            suite.images.plain.update(dict.fromkeys(failed))
            del missing[: len(failed)]


def fetch_plain(suite: Suite, image: ImageRequest) -> bytes | None:
    """Return the plain reference's image of this run; it is drawn untimed where no case drew it.

    ``None`` when it cannot run here; the reason is logged once.
    """
    if suite.compares_with_fp32 and image not in suite.images.plain:
        draw_plain(suite, [image])
    return suite.images.plain.get(image)


def _draw_planned(suite: Suite) -> None:
    draw_plain(suite, map(suite.workload.image, range(suite.planned.pictures)))


def list_reference_specs(suite: Suite) -> set[WorkerSpec]:
    """List the pipelines that the plan needs as references, also those that are tested."""
    found = [find_reference(suite, *one) for one in suite.planned.inspected]
    specs = {one.spec for one in found if one is not None}
    plain = suite.make_spec(suite.reference_precision)
    return specs | ({plain} if suite.planned.pictures else set())


def _list_due(suite: Suite, spec: WorkerSpec) -> list[Source]:
    """List the missing recordings that the tests of a pipeline will need."""
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
    """Name a pipeline that is loaded only as a reference; a pipeline under test keeps its name."""
    spec, subject = source.spec, suite.subject
    is_tested = subject is None and spec.device == suite.device
    return "" if is_tested else ROLE
