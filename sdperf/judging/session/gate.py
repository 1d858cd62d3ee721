"""Judges a session: the verdict of every case, before pytest-benchmark saves anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sdperf.errors import ImageError
from sdperf.images import require_same_shape
from sdperf.images.png import decode_png
from sdperf.judging.doubts.plausibility import judge_plausibility
from sdperf.judging.exactness import is_plain_fp32, judge_exactness
from sdperf.judging.floors import (
    ACROSS_PRECISIONS_FLOORS,
    ENGINE_FLOORS,
    EXACT_MACHINE_FLOORS,
    SAME_PATH_FLOORS,
    choose_gain_floors,
    loosen_for,
)
from sdperf.judging.images import judge_images, judge_soundness
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.session.base import Held, find_held, judge_inside, judge_work
from sdperf.judging.session.comparison import (
    ComparedSession,
    Comparison,
    explain_absence,
)
from sdperf.judging.session.held import HeldCase, take_medians
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import (
    REFERENCE_PRECISIONS,
    TORCH,
    Precision,
    Variant,
    name_sync,
)
from sdperf.run.pictures.scoring import Other, PictureScores
from sdperf.store.images import ImageStore
from sdperf.store.runs import SavedCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdperf.models.references import ReferenceImages
    from sdperf.record.floors import Floors
    from sdperf.run.case import CaseResult


@dataclass(frozen=True)
class JudgedCase:
    """A case judged by everything but its speed, which is judged for the whole suite at once.

    Attributes:
        measurement: The measurement, with scores against the baseline's images added.
        findings: Findings on images and memory, and the reason where nothing can be compared.
        history: The measurement of the case in each compared session; ``None`` where a session has
            none that counts.
        saved: How many of the sessions that count are saved runs, which nobody accepted.
        base: The latest session that counts, whose pictures these were compared with.
    """

    measurement: Measurement
    findings: tuple[Finding, ...]
    history: tuple[Measurement | None, ...]
    saved: int = 0
    base: str | None = None

    @property
    def held(self) -> HeldCase:
        """The numbers of the case and its bases, for the judges of numbers."""
        return HeldCase(
            rounds_s=self.measurement.rounds_s,
            measurement=self.measurement,
            history=self.history,
            history_s=take_medians(self.history),
            saved=self.saved,
        )


@dataclass(frozen=True)
class Gate:
    """Judges the cases of a session by what they are compared with.

    Attributes:
        comparison: The sessions to compare with.
        references: Images and floors that ship with the model, if any.
        memory: Tolerated growth of peak memory; ``None`` does not judge memory.
        pictures: Scores of pictures that were compared before.
    """

    comparison: Comparison
    references: ReferenceImages | None
    memory: MemoryLimits | None
    pictures: PictureScores = field(default_factory=PictureScores)

    def judge(self, case: str, result: CaseResult) -> JudgedCase:
        """Judge a case's images and memory, and find the bases for its speed."""
        measurement = result.measurement
        findings = [*judge_plausibility(measurement), *self._judge_images(measurement)]
        held, complaint = _find_history(self.comparison, case, measurement)
        history = held.history
        if complaint is not None:
            findings.append(complaint)
        known = [saved for saved in history if saved is not None]
        base = None
        if known:
            session = max(index for index, saved in enumerate(history) if saved is not None)
            base = self.comparison.sessions[session].source
            store = self.comparison.sessions[session].images
            findings += judge_work(measurement, known[-1])
            measurement, missing = _score_against(known[-1], store, result, self.pictures)
            findings += [missing] if missing else _judge_against_saved(measurement, history)
            findings += judge_inside(measurement, history, self.memory)
        return JudgedCase(measurement, tuple(findings), history, held.saved, base)

    def _judge_images(self, measurement: Measurement) -> list[Finding]:
        """Judge without a saved run: hard faults, repeatability, references, plain sync."""
        images, variant = measurement.images, measurement.variant
        findings = judge_soundness(images, repeatable=measurement.repeatable)
        references = self.references
        model_floors = {} if references is None else references.listed.floors
        is_pictured = any(image.score("reference") for image in images)
        if references is not None and is_pictured and measurement.is_the_models:
            floors = loosen_for(variant, model_floors.get(variant.precision, SAME_PATH_FLOORS))
            entropies = references.entropies()
            findings.append(judge_images(images, "reference", floors, entropies))
        if variant.is_external:
            return findings  # a program has another model and noise: its earlier pictures judge it
        if measurement.gain is not None:
            floors = choose_gain_floors(variant, measurement.gain.against)
            findings.append(judge_images(images, "plain", floors, {}))
        else:
            widest = _find_reference_precision(measurement)
            if variant != Variant(widest):
                own = self._choose_plain_floors(measurement, widest)
                if own is not None:
                    against = name_sync(widest)
                    findings.append(judge_images(images, against, loosen_for(variant, own), {}))
        return findings

    def _choose_plain_floors(self, measurement: Measurement, widest: Precision) -> Floors | None:
        """Choose how far a case's images may differ from those of the plain reference.

        Args:
            measurement: The case.
            widest: The reference's precision. The model's floors hold for one reference precision
                only: that of the pictures that they came with.
        """
        variant = measurement.variant
        if variant.precision == widest:
            return SAME_PATH_FLOORS if variant.engine == TORCH else ENGINE_FLOORS
        floors = {} if self.references is None else self.references.listed.floors
        own = floors.get(variant.precision)
        listed = "fp32" if self.references is None else self.references.listed.reference_precision
        if widest != listed or (widest != "fp32" and own is None):
            return ACROSS_PRECISIONS_FLOORS
        return ACROSS_PRECISIONS_FLOORS if own and not self._holds_for(measurement) else own

    def _holds_for(self, measurement: Measurement) -> bool:
        """Tell whether the model's floors were measured with the settings and class of a case."""
        if self.references is None or not measurement.is_the_models:
            return False
        return self.references.holds_for(measurement.workload)


def _find_reference_precision(measurement: Measurement) -> Precision:
    """Find from a case's scores the precision of the plain reference of its run."""
    named = {score.against for image in measurement.images for score in image.scores}
    found = (one for one in REFERENCE_PRECISIONS if name_sync(one) in named)
    return next(found, "fp32")


def _judge_against_saved(
    measurement: Measurement, history: Sequence[Measurement | None]
) -> list[Finding]:
    """Judge the images against those of the latest session, as exactly as this machine allows."""
    saved = next(one for one in reversed(history) if one is not None)
    changed, is_exact = judge_exactness(measurement, history)
    is_tight = is_exact and is_plain_fp32(measurement.variant)
    floors = EXACT_MACHINE_FLOORS if is_tight else SAME_PATH_FLOORS
    entropies = {image.sha256: image.entropy_bits for image in saved.images}
    judged = judge_images(measurement.images, "baseline", floors, entropies)
    return [judged] if changed is None else [judged, changed]


def _find_history(
    comparison: Comparison, case: str, measurement: Measurement
) -> tuple[Held, Finding | None]:
    """Return the record that counts from each session; where none does, a finding says why."""
    now = SavedCase(case, measurement, rounds_s=measurement.rounds_s)
    head = ComparedSession("this session", {case: now}, ImageStore(Path()))
    held = find_held(comparison.sessions, head, case, needs_records=True)
    if not comparison.is_asked or any(saved is not None for saved in held.cases):
        return held, None
    if held.difference is not None:
        suggested = held.difference.suggest("save or accept a run to compare with")
        return held, Finding(Outcome.INCOMPARABLE, "latency", held.difference.reason, suggested)
    reason, step = explain_absence(comparison.sessions, case, measurement)
    return held, Finding(
        Outcome.NO_BASELINE,
        "latency",
        reason,
        f"{step}, or sdperf baseline accept --reason TEXT",
    )


def _score_against(
    saved: Measurement, store: ImageStore, result: CaseResult, pictures: PictureScores
) -> tuple[Measurement, Finding | None]:
    """Add scores against a saved run's images; a missing image becomes a finding."""
    earlier = {(image.prompt, image.seed): image for image in saved.images}
    records, pairs, complaints = [], [], []
    for image in result.measurement.images:
        before = earlier.get((image.prompt, image.seed))
        if before is None:
            continue
        try:
            pixels = store.read(before.sha256)
            require_same_shape(pixels, decode_png(result.pngs[image.sha256]))
        except ImageError as error:
            complaints.append(str(error))
            continue
        records.append(image)
        other = Other("baseline", before.sha256, _returning(pixels))
        pairs.append((result.pngs[image.sha256], [other]))
    scored = {
        image: dataclasses.replace(image, scores=(*image.scores, *seen.scores))
        for image, seen in zip(records, pictures.examine(pairs), strict=True)
    }
    images = tuple(scored.get(image, image) for image in result.measurement.images)
    missing = Finding(Outcome.INCOMPARABLE, "image", complaints[0]) if complaints else None
    return dataclasses.replace(result.measurement, images=images), missing


def _returning(pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.uint8]]:
    return lambda: pixels
