"""One point of the search: how a workload is drawn. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdperf.ab.sides.settings import SideSettings
from sdperf.engines.catalogue import ENGINES
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import OPTIMISATIONS, list_of_torch, sort_names
from sdperf.record.workload import (
    TORCH,
    Mode,
    Precision,
    Variant,
    Workload,
    is_external,
    name_engine,
)
from sdperf.settings import (
    DEVICE,
    ENGINE,
    GUIDANCE,
    MODE,
    MODEL,
    PRECISION,
    SCHEDULER,
    STEPS,
    SUBJECT,
    WORKERS,
)
from sdperf.settings import OPTIMISATIONS as SWITCHES
from sdperf.store.profile import Profile, Scalar

_BATCHES: Final = {
    one.images_per_call: one.name for one in OPTIMISATIONS.values() if one.images_per_call > 1
}
"""Beginning of the name of the optimisation that draws several images in one call."""

BATCHES: Final = (1, *sorted(_BATCHES))


@dataclass(frozen=True)
class TrialSetting:
    """A setting: how images are drawn.

    Attributes:
        num_inference_steps: Denoising steps per image.
        guidance_scale: Classifier-free guidance.
        batch: How many images go through the pipeline together.
        precision: Number format of the weights and activations.
        scheduler: Class name of the scheduler; ``None`` for the model's own.
        mode: ``sync`` or ``async``.
        workers: How many processes with a pipeline each.
        optimisations: Names of switched-on optimisations, without the batch.
        engine: The engine that runs the networks, a name of `sdperf.engines.catalogue.ENGINES`.
    """

    num_inference_steps: int
    guidance_scale: float
    batch: int = 1
    precision: Precision = "fp32"
    scheduler: str | None = None
    mode: Mode = "sync"
    workers: int = 1
    optimisations: tuple[str, ...] = ()
    engine: str = TORCH

    def __post_init__(self) -> None:
        check_known(self.engine)
        _check_precision(self.engine, self.precision)

    def apply_to(self, workload: Workload) -> Workload:
        """Return the workload with this setting's steps, guidance and scheduler."""
        return dataclasses.replace(
            workload,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
        )

    @property
    def variant(self) -> Variant:
        """The variant of this setting; the batch is one of its optimisations."""
        batch = (_BATCHES[self.batch],) if self.batch > 1 else ()
        return Variant(
            self.precision,
            self.mode,
            self.workers,
            sort_names((*self.optimisations, *batch)),
            self.engine,
        )

    def make_profile(self, workload: Workload, evidence: Mapping[str, Scalar]) -> Profile:
        """Return the setting as a profile for a workload's model and size."""
        variant = self.variant
        sized = workload.width is not None and workload.height is not None
        return Profile(
            model=workload.model,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            width=workload.width if sized else None,
            height=workload.height if sized else None,
            precision=self.precision,
            mode=self.mode,
            workers=self.workers,
            optimisations=variant.optimisations,
            engine=self.engine,
            evidence=evidence,
        )

    def describe(self, base: TrialSetting | None = None) -> str:
        """Spell the setting as ``sdperf ab`` reads it; beside a base, only the differences.

        >>> TrialSetting(9, 3.0, batch=2).describe(TrialSetting(20, 3.0))
        'steps=9,optimisations=batch2'
        """
        words, others = self._words(), [] if base is None else base._words()
        return ",".join(word for word in words if word not in others) or "the default"

    def _words(self) -> list[str]:
        variant = self.variant
        return [
            PRECISION.assign(variant.precision),
            MODE.assign(variant.mode),
            WORKERS.assign(variant.workers),
            ENGINE.assign(variant.engine),
            STEPS.assign(self.num_inference_steps),
            GUIDANCE.assign(self.guidance_scale),
            SCHEDULER.assign(self.scheduler),
            SWITCHES.assign(variant.optimisations),
        ]


def take_guidance(workload: Workload) -> float:
    """Return the guidance scale that a search begins at.

    Raises:
        ConfigurationError: The scale is left to the pipeline.
    """
    if workload.guidance_scale is None:
        raise ConfigurationError(
            f"{workload.model} leaves guidance to its pipeline, so that it cannot be searched",
            hint=f"say what to start from: sdperf tune {GUIDANCE.flag} X",
        )
    return workload.guidance_scale


def make_setting(settings: SideSettings) -> TrialSetting:
    """Make a setting from ``KEY=VALUE,...`` as typed, and from the model's preset.

    Raises:
        ConfigurationError: There are two batches, a key does not belong to a setting, or the engine
            cannot run it.
    """
    workload = settings.make_workload()
    variant = Variant(**settings.variant)
    batches = [OPTIMISATIONS[name].images_per_call for name in variant.optimisations]
    startable = (PRECISION, MODE, WORKERS, SWITCHES, ENGINE, STEPS, GUIDANCE, SCHEDULER)
    known = {MODEL.name, *(field for one in startable for field in one.fields)}
    apart = {SUBJECT.name: settings.subject, DEVICE.name: settings.device}
    typed = {*settings.workload, *settings.variant, *settings.picture}
    typed |= {name for name, value in apart.items() if value is not None}
    others = sorted(typed - known)
    if others:
        raise ConfigurationError(
            "a setting to start from cannot say this",
            got=others[0],
            expected=", ".join(one.name for one in startable),
        )
    _check_engine(variant)
    return TrialSetting(
        workload.num_inference_steps,
        take_guidance(workload),
        max([1, *batches]),
        variant.precision,
        workload.scheduler,
        variant.mode,
        variant.workers,
        tuple(name for name in variant.optimisations if OPTIMISATIONS[name].images_per_call == 1),
        variant.engine,
    )


def check_known(engine: str) -> None:
    """Refuse an engine that is unknown, such as that of a study of a later sdperf.

    Raises:
        ConfigurationError: It is unknown, or a program.
    """
    if engine not in ENGINES:
        raise ConfigurationError(
            "a setting names an engine that this sdperf cannot search",
            got=name_engine(engine)[:80],
            expected=", ".join(ENGINES),
        )


def runs_on(engine: str, precision: Precision) -> bool:
    """Tell whether an engine runs in a number format, on whatever device."""
    return precision in ENGINES[engine].precisions


def _check_engine(variant: Variant) -> None:
    """Refuse an engine together with what it cannot run.

    Raises:
        ConfigurationError: It is a program, or lacks the precision, or replaces the networks that
            an optimisation changes.
    """
    engine = variant.engine
    if is_external(engine):
        raise ConfigurationError(
            "a search cannot start from a program, which draws by settings that are its own",
            got=ENGINE.assign(engine),
            expected=", ".join(ENGINES),
            hint="compare it with a setting: sdperf ab",
        )
    _check_precision(engine, variant.precision)
    foreign = list_of_torch(variant.optimisations)
    if engine != TORCH and foreign:
        raise ConfigurationError(
            f"{foreign[0]} changes torch's networks, which the engine {engine} replaces",
            got=f"{ENGINE.assign(engine)},{SWITCHES.assign(variant.optimisations)}",
            hint="leave one of the two out",
        )


def _check_precision(engine: str, precision: Precision) -> None:
    """Refuse a number format that an engine lacks.

    Raises:
        ConfigurationError: It lacks it.
    """
    if not runs_on(engine, precision):
        raise ConfigurationError(
            f"the engine {engine} cannot run {precision}",
            expected=", ".join(ENGINES[engine].precisions),
        )
