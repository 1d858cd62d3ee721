"""An anonymous result: the part of a saved run that is handed on, and the check of a received one.

A contribution is built field by field from values that are known to be harmless; nothing is copied
whole. Prompts, paths, subjects, commits, host, user and process names, and images stay behind. The
finished text is searched once more for names, and refused if it has any.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sdperf.errors import ConfigurationError, RecordError
from sdperf.models.presets import PRESETS
from sdperf.record.environment import Environment
from sdperf.record.guard import GUARD_NAMES, Guard, GuardState
from sdperf.record.json import (
    check_format_version,
    decode_object,
    format_record,
    parse_record,
)
from sdperf.record.measurement import CaseKind, Measurement, MemoryUsage
from sdperf.record.stages import StageTimes
from sdperf.record.usage import COUNTERS, GAUGES, Curve, ResourceUsage
from sdperf.record.verdict import Outcome
from sdperf.record.workload import DEFAULT_PROMPTS
from sdperf.store.contribution.anonymity import (
    Identity,
    clean_environment,
    clean_hash,
    clean_word,
    find_identifying,
    is_clean_environment,
)
from sdperf.store.runs import SavedRun
from sdperf.units import format_quantity

CONTRIBUTION_VERSION: Final = 1
MOST_BYTES: Final = 1 << 20

Prompts = Literal["default", "own"]


@dataclass(frozen=True)
class ContributedCase:
    """One case, without anything that somebody typed.

    Attributes:
        kind: ``latency``, ``throughput`` or ``stage``.
        stage: The stage of a ``stage`` case.
        variant: Precision, mode, workers and optimisations, as test ids name them.
        model: A published model or ``embedded``; ``None`` for a private model.
        model_hash: Hash of the model's weights and configuration.
        has_subject: Whether the user's own code made the pipeline.
        prompts: Whose prompts they were; the prompts themselves stay behind.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance; ``None`` is the pipeline's own.
        scheduler: A diffusers scheduler; ``None`` for the model's own, or for a private one.
        width: Pixels.
        height: Pixels.
        images_per_round: Images of a round.
        rounds_s: Seconds of each round.
        load_s: Seconds to load the pipeline.
        first_call_s: Seconds of the first generation.
        warmup_s: Seconds of each warm-up.
        processes: How many fresh sets of workers measured it.
        repeatable: Whether all rounds delivered the same bytes.
        stages: Stage times of a profiled image.
        memory: Peaks of memory.
        resources: Means of gauges and growths of counters, by name.
        guards: State of each guard before the first round, by name.
        disturbed: Guards that changed for the worse in rounds that count.
        excluded_rounds: How many rounds did not count.
        lowest_ssim: Lowest SSIM against a reference image; ``None`` where there was none.
        lowest_tile_ssim: Lowest SSIM of a tile against a reference image.
        outcome: The run's outcome for the case.
    """

    kind: CaseKind
    variant: str
    model: str | None
    model_hash: str
    has_subject: bool
    prompts: Prompts
    num_inference_steps: int
    guidance_scale: float | None
    width: int
    height: int
    images_per_round: int
    rounds_s: tuple[float, ...]
    scheduler: str | None = None
    stage: str | None = None
    load_s: float | None = None
    first_call_s: float | None = None
    warmup_s: tuple[float, ...] = ()
    processes: int = 1
    repeatable: bool | None = None
    stages: StageTimes | None = None
    memory: MemoryUsage = field(default_factory=MemoryUsage)
    resources: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, GuardState] = field(default_factory=dict)
    disturbed: tuple[str, ...] = ()
    excluded_rounds: int = 0
    lowest_ssim: float | None = None
    lowest_tile_ssim: float | None = None
    outcome: str | None = None

    @property
    def seconds_per_image(self) -> float:
        """Median seconds of a round over its images."""
        ordered = sorted(self.rounds_s)
        middle = len(ordered) // 2
        pair = (ordered[middle], ordered[~middle])
        return sum(pair) / 2 / self.images_per_round


@dataclass(frozen=True)
class Contribution:
    """A run that can be handed on.

    Attributes:
        environment: Machine and software, without names.
        cases: The measured cases.
        contribution_version: Version of this layout.
    """

    environment: Environment
    cases: tuple[ContributedCase, ...]
    contribution_version: int = CONTRIBUTION_VERSION

    def count_guards(self) -> Counter[GuardState]:
        """Count the worst state of each guard over all cases."""
        order: tuple[GuardState, ...] = ("ok", "unknown", "warn", "fail")
        worst: dict[str, GuardState] = {}
        for case in self.cases:
            for name, state in case.guards.items():
                worst[name] = max(worst.get(name, "ok"), state, key=order.index)
        return Counter(worst.values())


def build_contribution(run: SavedRun) -> Contribution:
    """Take from a run the values that may be handed on. Pure.

    Raises:
        RecordError: No case of the run can be used, or the run is void.
    """
    if run.summary is not None and run.summary.void is not None:
        raise RecordError(f"{run.path} does not count", got=run.summary.void)
    usable = [
        (case.measurement, case.outcome)
        for case in run.cases.values()
        if case.measurement is not None and case.unusable is None
    ]
    if not usable:
        raise RecordError(
            f"{run.path} holds nothing that could be handed on",
            got=f"{format_quantity(len(run.cases), 'case')}, none of them usable",
            hint="pytest benchmarks --benchmark-json=run.json",
        )
    if len({measured.environment.fingerprint() for measured, _ in usable}) > 1:
        raise RecordError(f"{run.path} was measured on several machines", expected="one machine")
    environment = clean_environment(usable[0][0].environment)
    return Contribution(environment, tuple(_build_case(*each) for each in usable))


def format_contribution(contribution: Contribution, identity: Identity) -> bytes:
    """Turn a contribution into the bytes of its file, after a last search for names.

    Args:
        contribution: From `build_contribution`.
        identity: Names of the machine and the person that it comes from.

    Raises:
        ConfigurationError: It would name somebody, which is a fault of sdperf.
    """
    document = format_record(contribution)
    found = find_identifying(document, identity)
    if found:
        raise ConfigurationError(
            "the contribution would name a person, a machine or a place; nothing was written",
            got="; ".join(found),
            hint="please report this: it should not be possible",
        )
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def parse_contribution(content: bytes) -> Contribution:
    """Read a contribution that a stranger may have made, and check everything. Pure.

    Raises:
        RecordError: It is not a contribution, has another version, names somebody, or cannot be
            true.
    """
    if len(content) > MOST_BYTES:
        raise RecordError("the bundle is too large", got=len(content), expected=MOST_BYTES)
    document = decode_object(content, "the bundle")
    contribution = parse_record(Contribution, document)
    check_format_version("the bundle", contribution.contribution_version, CONTRIBUTION_VERSION)
    if not _holds_the_same(document, format_record(contribution)):
        raise RecordError(
            "the bundle holds more, or other things, than a contribution",
            hint="make it with sdperf contribute, and change nothing",
        )
    found = find_identifying(document, Identity())
    if found or not is_clean_environment(contribution.environment):
        raise RecordError("the bundle may name somebody", got="; ".join(found) or "its environment")
    for case in contribution.cases:
        _check_case(case)
    if not contribution.cases:
        raise RecordError("the bundle holds no case")
    if contribution.environment.device_kind == "mps" and any(
        case.guards.get("virtual machine") == "fail" for case in contribution.cases
    ):
        raise RecordError(
            "an Apple GPU in a virtual machine is no evidence", hint="measure on a real Mac"
        )
    return contribution


def _holds_the_same(given: Any, made: Any) -> bool:
    """Tell whether a bundle reads back as itself; fields newer than the bundle are empty."""
    if isinstance(given, dict) and isinstance(made, dict):
        is_known = all(
            name in made and _holds_the_same(value, made[name]) for name, value in given.items()
        )
        return is_known and all(made[name] in (None, [], {}) for name in made.keys() - given.keys())
    if isinstance(given, list) and isinstance(made, list):
        return len(given) == len(made) and all(map(_holds_the_same, given, made))
    return bool(given == made)


def name_file(contribution: Contribution, content: bytes) -> str:
    """Name a bundle's file by its machine and its content; equal bundles have equal names."""
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{contribution.environment.fingerprint()[:100].strip('-.')}--{digest}.json"


def _build_case(measured: Measurement, outcome: str | None) -> ContributedCase:
    workload, log = measured.workload, measured.guards
    image = measured.images[0] if measured.images else None
    scores = [score for each in measured.images if (score := each.score("reference"))]
    return ContributedCase(
        kind=measured.kind,
        stage=measured.stage,
        variant=measured.variant.id,
        model=workload.model if workload.model in PRESETS else None,
        model_hash=clean_hash(measured.model_hash),
        has_subject=measured.subject is not None,
        prompts="default" if set(workload.prompts) <= set(DEFAULT_PROMPTS) else "own",
        num_inference_steps=workload.num_inference_steps,
        guidance_scale=workload.guidance_scale,
        scheduler=_keep_scheduler(workload.scheduler),
        width=image.width if image else 0,
        height=image.height if image else 0,
        images_per_round=measured.images_per_round,
        rounds_s=measured.rounds_s,
        load_s=measured.load_s,
        first_call_s=measured.first_call_s,
        warmup_s=measured.warmup_s,
        processes=measured.processes,
        repeatable=measured.repeatable,
        stages=measured.stages,
        memory=MemoryUsage(
            peak_rss_bytes=measured.memory.peak_rss_bytes,
            peak_device_bytes=measured.memory.peak_device_bytes,
            peak_device_sampled=measured.memory.peak_device_sampled,
            live_device_bytes=measured.memory.live_device_bytes,
            driver_device_bytes=measured.memory.driver_device_bytes,
        ),
        resources=_sum_up(measured.resources),
        guards={guard.name: guard.state for guard in _keep_guards(log.before if log else ())},
        disturbed=tuple(
            dict.fromkeys(guard.name for guard in _keep_guards(log.during if log else ()))
        ),
        excluded_rounds=len(log.excluded) if log else 0,
        lowest_ssim=min((score.ssim for score in scores), default=None),
        lowest_tile_ssim=min((score.worst_tile_ssim for score in scores), default=None),
        outcome=_keep_outcome(outcome),
    )


def _keep_scheduler(name: str | None) -> str | None:
    """Keep a name that can be a class of diffusers."""
    return name if name and re.fullmatch(r"[A-Z][A-Za-z]{1,60}Scheduler", name) else None


def _keep_guards(guards: tuple[Guard, ...]) -> list[Guard]:
    return [guard for guard in guards if guard.name in GUARD_NAMES]


def _keep_outcome(outcome: str | None) -> str | None:
    return outcome if outcome in {each.value for each in Outcome} else None


def _sum_up(usage: ResourceUsage | None) -> dict[str, float]:
    """Keep means and growths; curves over time, processes and faults stay behind."""
    if usage is None:
        return {}
    numbers: dict[str, float] = {"window_s": usage.window_s}
    if usage.images is not None:
        numbers["images"] = usage.images
    for gauge in GAUGES:
        curve: Curve | None = getattr(usage, gauge)
        if curve is not None:
            numbers[gauge] = curve.mean
    for counter in COUNTERS:
        growth: float | None = getattr(usage, counter)
        if growth is not None:
            numbers[counter] = growth
    return numbers


def _check_case(case: ContributedCase) -> None:
    known = {*GAUGES, *COUNTERS, "window_s", "images"}
    doubts: Iterable[tuple[bool, str]] = (
        (not case.rounds_s or not all(0 < each < math.inf for each in case.rounds_s), "rounds_s"),
        (case.images_per_round < 1, "images_per_round"),
        (case.num_inference_steps < 1, "num_inference_steps"),
        (not 0 <= case.width <= 1 << 16 or not 0 <= case.height <= 1 << 16, "width or height"),
        (case.model is not None and case.model not in PRESETS, "model"),
        (clean_hash(case.model_hash) != case.model_hash, "model_hash"),
        (clean_word(case.variant) != case.variant, "variant"),
        (_keep_scheduler(case.scheduler) != case.scheduler, "scheduler"),
        (case.stage is not None and clean_word(case.stage) != case.stage, "stage"),
        (not set(case.resources) <= known, "resources"),
        (not set(case.guards) <= set(GUARD_NAMES), "guards"),
        (not set(case.disturbed) <= set(GUARD_NAMES), "disturbed"),
        (bool(case.memory.weight_bytes), "memory"),
        (_keep_outcome(case.outcome) != case.outcome, "outcome"),
    )
    for is_wrong, name in doubts:
        if is_wrong:
            raise RecordError(f"the bundle's {name} cannot be true", got=getattr(case, name, None))
