"""Judging a session: every case's verdict, before pytest-benchmark saves anything."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdperf.errors import ImageError, RecordError
from sdperf.measurement import ImageRecord, Measurement, parse_measurement
from sdperf.models.references import Floors
from sdperf.png import decode_png
from sdperf.run.suite import compute_scores
from sdperf.store.images import ImageStore
from sdperf.verdict import Finding, Outcome, Verdict, judge_images, judge_latency, judge_soundness
from sdperf.workload import Variant

if TYPE_CHECKING:
    from sdperf.models.references import ReferenceImages
    from sdperf.run.case import CaseResult

SAME_PRECISION_FLOORS: Final = Floors(
    ssim=0.98,
    worst_tile_ssim=0.95,
    entropy_drop_bits=0.2,
    evidence="equal code, seed and precision is near bit-exact: see docs/embedded-model.md",
)


@dataclass(frozen=True)
class BaselineCase:
    """A case of a saved run, as far as it could be read.

    Attributes:
        source: The run's file, as shown to people.
        measurement: Its record; ``None`` where it could not be read.
        unusable: Why it cannot be compared with; ``None`` where it can.
        images: Where its images lie.
    """

    source: str
    measurement: Measurement | None
    unusable: str | None
    images: ImageStore


def read_baselines(
    compared: Mapping[Any, Mapping[str, Any]], storage: Path
) -> dict[str, list[BaselineCase]]:
    """Sort what pytest-benchmark loaded for ``--benchmark-compare`` by test id; never raises."""
    by_case: dict[str, list[BaselineCase]] = {}
    for relative, benchmarks in compared.items():
        path = storage / Path(str(relative))
        images = ImageStore(path.parent / "images")
        for name, saved in benchmarks.items():
            by_case.setdefault(name, []).append(_read_baseline(path.name, saved, images))
    return by_case


def _read_baseline(source: str, saved: Mapping[str, Any], images: ImageStore) -> BaselineCase:
    extra = saved.get("extra_info")
    record = extra.get("sdperf") if isinstance(extra, dict) else None
    if not isinstance(record, dict):
        return BaselineCase(source, None, "it holds no sdperf record", images)
    try:
        measurement = parse_measurement(record)
    except RecordError as error:
        return BaselineCase(source, None, str(error), images)
    verdict = record.get("verdict")
    outcome = verdict.get("outcome") if isinstance(verdict, dict) else None
    failed = outcome in {one.value for one in Outcome if one.is_failure}
    unusable = f"the case was {outcome} in that run" if failed else None
    return BaselineCase(source, measurement, unusable, images)


@dataclass(frozen=True)
class Gate:
    """What a session's cases are held against.

    Attributes:
        comparing: Whether ``--benchmark-compare`` was given.
        baselines: Saved cases by test id.
        references: Images and floors that ship with the model, if any.
        max_slowdown: Tolerated slowdown of the median as a fraction.
    """

    comparing: bool
    baselines: Mapping[str, Sequence[BaselineCase]]
    references: ReferenceImages | None
    max_slowdown: float

    def judge(self, case: str, result: CaseResult) -> tuple[Measurement, Verdict]:
        """Judge a case.

        Returns:
            The measurement, with scores against the baseline's images added, and the verdict.
        """
        measurement = result.measurement
        findings = self._judge_images(measurement)
        if self.comparing:
            usable, complaint = _find_usable(self.baselines.get(case, ()), measurement)
            if complaint is not None:
                findings.append(complaint)
            if usable:
                measurement = _score_against(usable[-1], result)
                findings += self._judge_against_saved(measurement, usable)
        return measurement, Verdict(case, tuple(findings))

    def _judge_images(self, measurement: Measurement) -> list[Finding]:
        """Judge what needs no saved run: hard faults, repeatability, references, fp32 sync."""
        images, variant = measurement.images, measurement.variant
        findings = judge_soundness(images, repeatable=measurement.repeatable)
        model_floors = self.references.listed.floors if self.references is not None else {}
        if self.references is not None and any(image.score("reference") for image in images):
            floors = model_floors.get(variant.precision, SAME_PRECISION_FLOORS)
            entropies = self.references.entropies()
            findings.append(judge_images(images, "reference", floors, entropies))
        if variant != Variant():
            own = (
                SAME_PRECISION_FLOORS
                if variant.precision == "fp32"
                else model_floors.get(variant.precision)
            )
            if own is not None:
                findings.append(judge_images(images, "fp32-sync", own, {}))
        return findings

    def _judge_against_saved(
        self, measurement: Measurement, usable: Sequence[tuple[BaselineCase, Measurement]]
    ) -> list[Finding]:
        source = ", ".join(baseline.source for baseline, _ in usable)
        if len(usable) == 1:
            baseline_s = usable[0][1].rounds_s
        else:
            baseline_s = tuple(statistics.median(saved.rounds_s) for _, saved in usable)
        findings = [judge_latency(measurement.rounds_s, baseline_s, self.max_slowdown, source)]
        entropies = {image.sha256: image.entropy_bits for image in usable[-1][1].images}
        findings.append(
            judge_images(measurement.images, "baseline", SAME_PRECISION_FLOORS, entropies)
        )
        return findings


def _find_usable(
    baselines: Sequence[BaselineCase], measurement: Measurement
) -> tuple[list[tuple[BaselineCase, Measurement]], Finding | None]:
    """Return the comparable ones; where there is none, the finding that says why."""
    usable, reasons = [], []
    for baseline in baselines:
        saved = baseline.measurement
        reason = baseline.unusable or (saved and _explain_difference(saved, measurement))
        if reason is not None:
            reasons.append(f"{baseline.source}: {reason}")
        elif saved is not None:
            usable.append((baseline, saved))
    if usable:
        return usable, None
    if reasons:
        return [], Finding(
            Outcome.INCOMPARABLE, "latency", reasons[-1], "save a run to compare with here"
        )
    return [], Finding(
        Outcome.NO_BASELINE,
        "latency",
        "no saved run holds this case",
        "pytest benchmarks --benchmark-autosave",
    )


def _explain_difference(saved: Measurement, current: Measurement) -> str | None:
    """Say why two measurements of one test id are not comparable; ``None`` when they are."""
    if saved.kind != current.kind or saved.images_per_round != current.images_per_round:
        return f"{saved.images_per_round} images a round against {current.images_per_round} now"
    if saved.variant != current.variant:
        return f"variant {saved.variant.id} against {current.variant.id} now"
    for field in dataclasses.fields(saved.workload):
        before, now = (getattr(one.workload, field.name) for one in (saved, current))
        if field.name != "model" and before != now:
            return f"another workload: {field.name} was {before!r} and is {now!r}"
    before, now = saved.environment.fingerprint(), current.environment.fingerprint()
    if before != now:
        return f"measured on {before}, this is {now}"
    return None


def _score_against(usable: tuple[BaselineCase, Measurement], result: CaseResult) -> Measurement:
    """Add scores against the baseline's stored images, where they still lie beside it."""
    baseline, saved = usable
    earlier = {(image.prompt, image.seed): image for image in saved.images}
    return dataclasses.replace(
        result.measurement,
        images=tuple(
            _score_image(image, earlier.get((image.prompt, image.seed)), baseline, result.pngs)
            for image in result.measurement.images
        ),
    )


def _score_image(
    image: ImageRecord,
    earlier: ImageRecord | None,
    baseline: BaselineCase,
    pngs: Mapping[str, bytes],
) -> ImageRecord:
    if earlier is None:
        return image
    try:
        before = baseline.images.read(earlier.sha256)
        scores = compute_scores("baseline", earlier.sha256, before, decode_png(pngs[image.sha256]))
    except ImageError:
        return image
    return dataclasses.replace(image, scores=(*image.scores, scores))
