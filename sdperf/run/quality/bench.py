"""The cases of the quality suite: the questions of each to the workers, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from sdperf.errors import UnsupportedError
from sdperf.images import (
    ComponentDistance,
    TrajectoryDistance,
    compute_component_distance,
    compute_trajectory_distance,
)
from sdperf.record.measurement import ImageRecord
from sdperf.record.observation import (
    ACCEPTED,
    ComponentParity,
    ImageParity,
    PictureComponents,
    PictureTrajectory,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.record.workload import TORCH, ImageRequest, Precision, Variant, is_external
from sdperf.run.messages import DeliveredImage
from sdperf.run.pictures.comparing import add_other_scores, add_scores, record_images
from sdperf.run.pictures.references import (
    choose_reference,
    fetch_plain,
    make_recording,
    make_recordings,
)
from sdperf.run.pictures.scoring import Other
from sdperf.run.pictures.sources import Source
from sdperf.run.program.asked import explain_alone, find_model_hash
from sdperf.run.quality.questions import GenerateBatch, ReplayRecording, SoilMemory
from sdperf.run.quality.recorded import Floats, Recording, Replay
from sdperf.run.suite import Suite
from sdperf.settings import IN_PROCESS
from sdperf.units import format_quantity, format_shape

FEWEST_IMAGES: Final = 8
"""The fewest pairs with which the exact paired test can fail."""

ENCODER: Final = "picture encoder"
"""Name of the component that turns the input picture into latents."""

FindAccepted = Callable[[], Mapping[str, Other]]
"""Finds accepted images by their keys."""

BATCH: Final = 3
"""How many images the batch has that is compared with single ones: odd, and more than two."""


@dataclass
class QualityBench:
    """Asks one session's workers the questions of the quality suite.

    `sdperf.run.pictures.references.choose_reference` says which reference a pipeline has.

    Attributes:
        suite: The suite of the session.
        count: How many images the suite has.
        engine: The engine of the pipeline under test; its reference runs on torch.
        pngs: PNG bytes of every image made here, by content hash.
    """

    suite: Suite
    count: int = FEWEST_IMAGES
    engine: str = TORCH
    pngs: dict[str, bytes] = field(default_factory=dict)
    _records: dict[tuple[Precision, ImageRequest], ImageRecord] = field(default_factory=dict)

    def observe_soundness(self, precision: Precision) -> Soundness:
        """L0: make the images, and watch the latents of the first one."""
        images = self._make_images(precision)
        first = self.suite.workload.image(0)
        if is_external(self.engine):
            return Soundness(images, first, 0, None)
        recording = self._record(self._current(precision), first)
        return Soundness(images, first, len(recording.latents), recording.nonfinite_step)

    def observe_repeats(self, precision: Precision) -> Repeats:
        """L1: make the first image again in memory full of NaN, then in a fresh process."""
        request = self.suite.workload.image(0)
        before = self._make_images(precision)[0]
        self.suite.acquire(precision, 1, engine=self.engine)
        threads = self.suite.threads_per_worker(1)
        if not is_external(self.engine):  # a program's memory is in another process
            self.suite.pool.ask(SoilMemory(self.suite.workload, (request,), threads))
        again = self._generate((request,))[0]
        if self.suite.pool.is_in_process:
            refused = f"not tried with {IN_PROCESS}"
            return Repeats(self._compared([again], [before], "same-process")[0], refused)
        fresh = self._make_afresh(precision, request)
        (scored,) = self._compared([fresh], [again], "fresh-process")
        repeated = self._compared([again], [before], "same-process")[0].scores[-1]
        return Repeats(replace(scored, scores=(*scored.scores, repeated)))

    def _make_afresh(self, precision: Precision, request: ImageRequest) -> ImageRecord:
        """Make an image in a process that made none yet, unless a case's second worker did so."""
        first = self.suite.images.find_first(precision, self.engine, request)
        if first is not None:
            return self._keep([(request, first)])[0]
        self.suite.pool.start_afresh()
        self.suite.acquire(precision, 1, engine=self.engine)
        return self._generate((request,))[0]

    def observe_components(self, precision: Precision) -> ComponentParity:
        """L2: run each component on its recorded inputs in the reference."""
        self._refuse_external("components, which are compared on equal inputs")
        reference, current = self._reference(precision), self._current(precision)
        recordings = make_recordings(self.suite, reference)
        self._acquire(current)
        first, *others = [
            _compare_components(image, recording, self._replay(current, image, recording))
            for image, recording in recordings
        ]
        return ComponentParity(
            reference.words, first.image, first.distances, first.mismatch, tuple(others)
        )

    def _replay(self, current: Source, image: ImageRequest, recording: Recording) -> Replay:
        question = ReplayRecording(self.suite.workload, image, current.threads, recording)
        return self.suite.pool.ask(question)

    def observe_trajectory(self, precision: Precision) -> TrajectoryParity:
        """L3: compare the latents after each step with the reference's."""
        self._refuse_external("latents after each step")
        reference, current = self._reference(precision), self._current(precision)
        before = make_recordings(self.suite, reference)
        after = dict(make_recordings(self.suite, current))
        first, *others = [
            _compare_latents(image, recording, after[image])
            for image, recording in before
            if image in after
        ]
        return TrajectoryParity(
            reference.words, first.image, first.distance, first.mismatch, tuple(others)
        )

    def observe_images(self, precision: Precision) -> ImageParity:
        """L4: compare every image with the reference image of its prompt and seed."""
        images = self._make_images(precision)
        return ImageParity("reference", images, tuple(map(self._key, self._requests())))

    def observe_own_images(self, precision: Precision, find: FindAccepted) -> ImageParity:
        """L4 of a program of the user's: compare every image with its own accepted one.

        Args:
            precision: What it is told.
            find: Finds the accepted images by their keys, once the program has loaded.

        Raises:
            ImageError: An accepted image has another size, is missing or was changed.
        """
        images = self._make_images(precision)
        use = self.suite.acquire(precision, 1, engine=self.engine)[0].report.engine
        model = find_model_hash("", use)[:16]
        keys = tuple(f"{self._key(request)}-{model}" for request in self._requests())
        accepted = find()
        known = [index for index, key in enumerate(keys) if key in accepted]
        scored = add_other_scores(
            self.suite,
            [images[index] for index in known],
            [self.pngs[images[index].sha256] for index in known],
            [accepted[keys[index]] for index in known],
        )
        records = dict(enumerate(images)) | dict(zip(known, scored, strict=True))
        return ImageParity(ACCEPTED, tuple(records[index] for index in range(len(images))), keys)

    def observe_batch(self, precision: Precision) -> ImageParity:
        """Make several images in one call, and compare each with the same image made alone."""
        requests = self._requests()[:BATCH]
        alone = self._make_images(precision)[:BATCH]
        self.suite.acquire(precision, 1, engine=self.engine)
        threads = self.suite.threads_per_worker(1)
        made = self.suite.pool.ask(GenerateBatch(self.suite.workload, requests, threads))
        records = self._compared(
            self._keep(tuple(zip(requests, made, strict=True))), alone, "single-image"
        )
        return ImageParity("single-image", tuple(records), tuple(map(self._key, requests)))

    def _refuse_external(self, what: str) -> None:
        if is_external(self.engine):
            raise UnsupportedError(explain_alone(what))

    def _requests(self) -> tuple[ImageRequest, ...]:
        return tuple(self.suite.workload.image(index) for index in range(self.count))

    def _key(self, request: ImageRequest) -> str:
        return self.suite.workload.image_key(request)

    def _make_images(self, precision: Precision) -> tuple[ImageRecord, ...]:
        """Make the suite's images of a precision once, except those that measured cases made."""
        if not is_external(self.engine):
            self.suite.make_references(Variant(precision, engine=self.engine))
            for request in self._list_missing(precision):
                fetch_plain(self.suite, request)
        found = [
            (request, made)
            for request in self._list_missing(precision)
            if (made := self.suite.images.find_made(precision, self.engine, request)) is not None
        ]
        for (request, _), kept in zip(found, self._keep(found), strict=True):
            self._records[precision, request] = kept
        missing = self._list_missing(precision)
        if missing:
            self.suite.acquire(precision, 1, engine=self.engine)
            for request, record in zip(missing, self._generate(tuple(missing)), strict=True):
                self._records[precision, request] = record
        return tuple(self._records[precision, request] for request in self._requests())

    def _list_missing(self, precision: Precision) -> list[ImageRequest]:
        return [one for one in self._requests() if (precision, one) not in self._records]

    def _generate(self, requests: tuple[ImageRequest, ...]) -> list[ImageRecord]:
        """Generate images one by one on the loaded worker."""
        threads = self.suite.threads_per_worker(1)
        done = self.suite.pool.run_round([self.suite.request(requests, "sync", threads)])
        return self._keep(tuple(zip(requests, done.results[0].images, strict=True)))

    def _keep(self, made: Sequence[tuple[ImageRequest, DeliveredImage]]) -> list[ImageRecord]:
        records = record_images(self.suite, made, is_external=is_external(self.engine))
        for one, (_, delivered) in zip(records, made, strict=True):
            self.pngs[one.sha256] = delivered.png
        return records

    def _compared(
        self, images: Sequence[ImageRecord], others: Sequence[ImageRecord], against: str
    ) -> list[ImageRecord]:
        """Add the scores of images against other images of this session."""
        return add_scores(
            self.suite,
            images,
            [self.pngs[one.sha256] for one in others],
            [self.pngs[one.sha256] for one in images],
            against=against,
        )

    def _current(self, precision: Precision) -> Source:
        suite = self.suite
        spec = suite.make_spec(precision, engine=self.engine)
        return Source(spec, suite.threads_per_worker(1))

    def _reference(self, precision: Precision) -> Source:
        self.suite.learn_class(self._current(precision).spec)
        return choose_reference(self.suite, precision, self.engine)

    def _acquire(self, source: Source) -> None:
        self.suite.pool.acquire(source.spec, 1)

    def _record(self, source: Source, image: ImageRequest) -> Recording:
        return make_recording(self.suite, source, image)


def _compare_components(
    image: ImageRequest, recording: Recording, replayed: Replay
) -> PictureComponents:
    pairs = [
        ("text encoder", embeds, replayed.embeds[name])
        for name, embeds in recording.embeds.items()
        if name in replayed.embeds
    ]
    pairs += [
        ("denoiser", call.output, output)
        for call, output in zip(recording.calls, replayed.outputs, strict=True)
    ]
    pairs += [
        (ENCODER, before.latents, after)
        for before, after in zip(recording.encoded, replayed.encoded, strict=False)
    ]
    if replayed.pixels is not None:
        pairs.append(("vae", recording.pixels, replayed.pixels))
    for component, before, after in pairs:
        if before.shape != after.shape:
            shapes = format_shape(after.shape), format_shape(before.shape)
            words = f"the {component} gives {shapes[0]} where it gave {shapes[1]}"
            return PictureComponents(image, (), words)
    return PictureComponents(image, measure_components(recording, replayed))


def _compare_latents(image: ImageRequest, before: Recording, after: Recording) -> PictureTrajectory:
    """Compare the latents of two pictures with each other, where that is possible.

    Raises:
        UnsupportedError: A pipeline does not show its latents.
    """
    if not before.latents or not after.latents:
        raise UnsupportedError("the pipeline does not show its latents after each step")
    steps = len(before.latents), len(after.latents)
    if steps[0] != steps[1]:
        words = f"drawn in {format_quantity(steps[1], 'step')}, the reference in {steps[0]}"
        return PictureTrajectory(image, TrajectoryDistance((), (), None), words)
    for one, other in zip(before.latents, after.latents, strict=True):
        if one.shape != other.shape:
            shapes = format_shape(other.shape), format_shape(one.shape)
            words = f"latents of {shapes[0]}, the reference's are of {shapes[1]}"
            return PictureTrajectory(image, TrajectoryDistance((), (), None), words)
    return PictureTrajectory(image, compute_trajectory_distance(before.latents, after.latents))


def measure_components(recording: Recording, replayed: Replay) -> tuple[ComponentDistance, ...]:
    """Compute how far each component's output is from the recorded one, on equal inputs.

    Raises:
        ImageError: The shapes differ, or the recording itself is not finite.
    """
    distances = [
        compute_component_distance("text encoder", name, embeds, replayed.embeds[name])
        for name, embeds in recording.embeds.items()
        if name in replayed.embeds
    ]
    nudged = replayed.nudged or (None,) * len(replayed.outputs)
    distances += [
        replace(
            compute_component_distance(
                "denoiser", f"step {call.step + 1} of {call.steps}", call.output, output
            ),
            rounding_db=_compute_rounding(output, other),
        )
        for call, output, other in zip(recording.calls, replayed.outputs, nudged, strict=True)
    ]
    distances += [
        compute_component_distance(ENCODER, f"picture {index + 1}", before.latents, after)
        for index, (before, after) in enumerate(
            zip(recording.encoded, replayed.encoded, strict=False)
        )
    ]
    if replayed.pixels is not None:
        distances.append(
            compute_component_distance("vae", "pixels", recording.pixels, replayed.pixels, peak=1.0)
        )
    return tuple(distances)


def _compute_rounding(output: Floats, nudged: Floats | None) -> float | None:
    """Compute how far one rounding of the time step moves an output, as a PSNR in dB."""
    if nudged is None or not (np.isfinite(output).all() and np.isfinite(nudged).all()):
        return None
    return compute_component_distance("denoiser", "time step", output, nudged).psnr_db
