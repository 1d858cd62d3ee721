"""The space of a search: the settings that this device and this pipeline can run. Pure.

Every point of a space can run: switches that exclude each other are values of one dimension, and
what does not go together across dimensions is left out of the setting.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import (
    OPTIMISATIONS,
    PLAIN,
    is_recorded,
    list_of_torch,
    sort_names,
)
from sdperf.pipeline.optimisations.entries import LOOP_SCHEDULERS, RECORDED_SCHEDULERS
from sdperf.record.workload import TORCH, Mode, Precision
from sdperf.settings import ENGINE, GUIDANCE, MODE, PRECISION, SCHEDULER, STEPS, WORKERS
from sdperf.settings.kinds import AUTO
from sdperf.tune.question.setting import BATCHES, TrialSetting, check_known, runs_on

Choice = str | int | float

_LOOPS: Final = {name for name, one in OPTIMISATIONS.items() if one.group == "loop"}
"""The denoising loops of sdperf's own, which know some schedulers only."""

OWN_SCHEDULER: Final = AUTO
"""The word for the model's own scheduler, as everywhere on the command line."""

BATCH: Final = "batch"
"""Key of the number of images that go through the pipeline together."""

PLAIN_KEYS: Final = (
    STEPS.name,
    GUIDANCE.name,
    BATCH,
    PRECISION.name,
    SCHEDULER.name,
    MODE.name,
    WORKERS.name,
    ENGINE.name,
)
"""The keys whose choices are values of a setting, as they are typed."""


@dataclass(frozen=True)
class NumberDimension:
    """A dimension whose neighbouring choices are similar: steps, guidance, batch, workers.

    Attributes:
        name: One of the plain keys.
        choices: In rising order.
    """

    name: str
    choices: tuple[float, ...]


@dataclass(frozen=True)
class NameDimension:
    """A dimension of names.

    Attributes:
        name: One of the plain keys, or the name of a switch or of a group of switches.
        choices: The choices; those of a switch are ``none`` and names joined by ``+``.
    """

    name: str
    choices: tuple[str, ...]


Dimension = NumberDimension | NameDimension


def choose_plain_keys(setting: TrialSetting) -> dict[str, Choice]:
    """Return a setting's choice of each of the plain keys."""
    return {
        STEPS.name: setting.num_inference_steps,
        GUIDANCE.name: setting.guidance_scale,
        BATCH: setting.batch,
        PRECISION.name: setting.precision,
        SCHEDULER.name: setting.scheduler or OWN_SCHEDULER,
        MODE.name: setting.mode,
        WORKERS.name: setting.workers,
        ENGINE.name: setting.engine,
    }


def _drop_excluded(names: list[str]) -> list[str]:
    """Leave out what others exclude, and what cannot be recorded where something is."""
    names = [name for name in names if not OPTIMISATIONS[name].excludes.keys() & set(names)]
    if not is_recorded(names):
        return names
    kept = []
    for name in names:
        one = OPTIMISATIONS[name]
        is_whole = not one.needs_recorded or bool(set(one.needs_recorded) & set(names))
        if one.recorded and is_whole:
            kept.append(name)
    return kept


def list_choices(dimension: Dimension) -> list[Choice]:
    """List a dimension's choices."""
    return [*dimension.choices]


@dataclass(frozen=True)
class Space:
    """All settings that a study may try.

    Attributes:
        numbers: Dimensions whose choices are numbers.
        names: Dimensions whose choices are names.
        images: How many images a round has; a batch is never larger than a worker's share of them.
    """

    numbers: tuple[NumberDimension, ...]
    names: tuple[NameDimension, ...]
    images: int

    def __post_init__(self) -> None:
        names = [one.name for one in self.dimensions]
        for one in self.dimensions:
            if not one.choices or names.count(one.name) > 1:
                raise ConfigurationError(
                    "a search has a dimension without a choice, or one twice",
                    got=one.name[:80],
                    expected="each dimension once, with a choice or several",
                )
        for engine in self.engines:
            check_known(engine)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All dimensions, in a fixed order."""
        return (*self.numbers, *self.names)

    @property
    def size(self) -> int:
        """The number of points; some points are the same setting."""
        return math.prod(len(one.choices) for one in self.dimensions)

    def make_setting(self, point: Mapping[str, Choice]) -> TrialSetting:
        """Return the setting at a point.

        Impossible parts of a point are left out: batches are cut to a worker's share, a loop on the
        device is dropped where the scheduler does not allow it, an engine where it lacks the
        precision (the first one of the search that has it runs), beside another engine than torch
        the optimisations that change torch's networks, those that exclude another one, and
        where calls are recorded those that no recording can repeat.

        Raises:
            ConfigurationError: A dimension is missing, or a choice does not belong to it.
        """
        for one in self.dimensions:
            if point.get(one.name) not in one.choices:
                raise ConfigurationError(
                    f"{one.name} is outside of the search",
                    got=point.get(one.name),
                    expected=", ".join(map(str, one.choices)),
                )
        scheduler, precision = str(point[SCHEDULER.name]), cast("Precision", point[PRECISION.name])
        engine = self._choose_engine(str(point.get(ENGINE.name, TORCH)), precision)
        names: list[str] = []
        for dimension in self.names:
            choice = str(point[dimension.name])
            if dimension.name in PLAIN_KEYS or choice == PLAIN:
                continue
            names += [name for name in choice.split("+") if name in OPTIMISATIONS]
        known = RECORDED_SCHEDULERS if "loop_graph" in names else LOOP_SCHEDULERS
        if scheduler not in (OWN_SCHEDULER, *known):
            names = [name for name in names if not {name, *OPTIMISATIONS[name].needs} & _LOOPS]
        if engine != TORCH:
            names = [name for name in names if name not in list_of_torch(names)]
        names = _drop_excluded(names)
        workers = int(point[WORKERS.name])
        share = math.ceil(self.images / workers)
        return TrialSetting(
            num_inference_steps=int(point[STEPS.name]),
            guidance_scale=float(point[GUIDANCE.name]),
            batch=max(batch for batch in BATCHES if batch <= min(int(point[BATCH]), share)),
            precision=precision,
            scheduler=None if scheduler == OWN_SCHEDULER else scheduler,
            mode=cast("Mode", point[MODE.name]),
            workers=workers,
            optimisations=sort_names(names),
            engine=engine,
        )

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines of the search; a space of one has no dimension for it."""
        found = (one.choices for one in self.names if one.name == ENGINE.name)
        return next(found, (TORCH,))

    def _choose_engine(self, asked: str, precision: Precision) -> str:
        able = [one for one in (asked, *self.engines) if runs_on(one, precision)]
        return able[0] if able else asked

    def find_point(self, setting: TrialSetting) -> dict[str, Choice]:
        """Return the point of a setting.

        Raises:
            ConfigurationError: The setting is outside the space.
        """
        named = {one.name for one in self.dimensions}
        point = {key: value for key, value in choose_plain_keys(setting).items() if key in named}
        if setting.engine not in self.engines:
            raise ConfigurationError(
                f"{ENGINE.name} is outside of the search",
                got=setting.engine,
                expected=", ".join(self.engines),
            )
        left = set(setting.optimisations)
        for dimension in self.names:
            if dimension.name in PLAIN_KEYS:
                continue
            fitting = [
                choice
                for choice in dimension.choices
                if choice != PLAIN and set(str(choice).split("+")) <= left
            ]
            chosen = max(fitting, key=lambda choice: len(str(choice).split("+")), default=PLAIN)
            point[dimension.name] = chosen
            left -= set() if chosen == PLAIN else set(str(chosen).split("+"))
        if left:
            raise ConfigurationError("an optimisation is outside of the search", got=min(left))
        self.make_setting(point)
        return point

    def draw(self, chance: random.Random) -> dict[str, Choice]:
        """Draw a random point, each with the same chance."""
        return {one.name: chance.choice(list_choices(one)) for one in self.dimensions}

    def list_settings(self) -> list[TrialSetting]:
        """List every different setting; only for small spaces."""
        names = [one.name for one in self.dimensions]
        points = itertools.product(*map(list_choices, self.dimensions))
        made = (self.make_setting(dict(zip(names, point, strict=True))) for point in points)
        return list(dict.fromkeys(made))
