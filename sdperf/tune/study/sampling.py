"""Chooses the next setting by TPE or by chance, never one that was tried before."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.question.space import Choice, Dimension, NumberDimension, Space, list_choices
from sdperf.tune.study.weighing import WeighingSampler
from sdperf.tune.study.wrapping import WrappingSampler

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

SamplerName = Literal["tpe", "random"]
SAMPLERS: Final[tuple[SamplerName, ...]] = get_args(SamplerName)

FEWEST_AT_RANDOM: Final = 10
"""Name of the default sampler."""

_ATTEMPTS: Final = 20
"""How many times a sampler may propose a known setting before chance finds a new one."""


def make_distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension in Optuna's form: numbers as a range, so that near ones count as similar.

    Numbers that are not evenly spaced are a range of their positions.
    """
    if not isinstance(dimension, NumberDimension):
        return CategoricalDistribution(dimension.choices)
    choices = [find_choice(dimension, choice) for choice in dimension.choices]
    if len(choices) < 3:
        return CategoricalDistribution(choices)
    if is_uneven(dimension):
        return IntDistribution(0, len(choices) - 1)
    step = round(choices[1] - choices[0], 9)
    if all(isinstance(choice, int) for choice in choices):
        return IntDistribution(int(choices[0]), int(choices[-1]), step=int(step))
    return FloatDistribution(choices[0], choices[-1], step=step)


def is_uneven(dimension: Dimension) -> bool:
    """Tell whether Optuna has positions in place of the dimension's numbers."""
    if not isinstance(dimension, NumberDimension) or len(dimension.choices) < 3:
        return False
    pairs = itertools.pairwise(dimension.choices)
    return len({round(second - first, 9) for first, second in pairs}) > 1


def find_choice(dimension: NumberDimension, number: float) -> int | float:
    """Return the choice for a number of a range, as an int where it is whole."""
    nearest = min(dimension.choices, key=lambda choice: abs(choice - number))
    return int(nearest) if float(nearest).is_integer() else nearest


def suggest(trial: Trial, space: Space) -> dict[str, Choice]:
    """Let a trial choose a point."""
    raw: dict[str, Any] = {}
    for name, found in ((one.name, make_distribution(one)) for one in space.dimensions):
        if isinstance(found, IntDistribution):
            raw[name] = trial.suggest_int(name, found.low, found.high, step=found.step)
        elif isinstance(found, FloatDistribution):
            raw[name] = trial.suggest_float(name, found.low, found.high, step=found.step)
        elif isinstance(found, CategoricalDistribution):
            raw[name] = trial.suggest_categorical(name, found.choices)
    return find_point(space, raw)


def find_point(space: Space, raw: Mapping[str, Any]) -> dict[str, Choice]:
    """Return the point of Optuna's parameters."""
    point: dict[str, Choice] = {}
    for one in space.dimensions:
        found = raw[one.name]
        if isinstance(one, NumberDimension):
            point[one.name] = find_choice(one, one.choices[found] if is_uneven(one) else found)
        else:
            point[one.name] = found
    return point


def find_parameters(space: Space, point: Mapping[str, Choice]) -> dict[str, Any]:
    """Return Optuna's parameters of a point."""
    return {
        one.name: list_choices(one).index(point[one.name]) if is_uneven(one) else point[one.name]
        for one in space.dimensions
    }


def draw_start(space: Space, count: int, seed: int | None) -> list[dict[str, Choice]]:
    """Draw points that together see every choice of a dimension about equally often.

    Args:
        space: The space.
        count: How many points to draw.
        seed: Without one the points are always the same, so that who joins a study continues them.

    Source: Latin hypercube sampling, McKay, Beckman and Conover (1979).
    """
    chance = random.Random(seed or 0)
    columns = {}
    for one in space.dimensions:
        choices = list_choices(one)
        shares = [(row + chance.random()) / count for row in range(count)]
        if len(choices) >= count:  # one from each stratum
            picked = [choices[int(share * len(choices))] for share in shares]
        else:  # each in turn
            shuffled = chance.sample(choices, len(choices))
            picked = [shuffled[row % len(shuffled)] for row in range(count)]
        columns[one.name] = chance.sample(picked, count)
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


@dataclass
class FreshSampler(WrappingSampler):
    """Proposes by another sampler until the setting is new.

    Equal settings at different points of the space count as one.

    Attributes:
        inner: Proposes each dimension.
        space: The settings that may be proposed.
        list_tried: Returns the settings that need no second try.
        chance: Finds a new setting where the sampler keeps to known ones.
        start: Points to propose before anything else.
    """

    space: Space
    list_tried: Callable[[], Collection[TrialSetting]]
    chance: random.Random
    start: Sequence[Mapping[str, Choice]] = ()

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: a point is proposed as a whole, to compare it with others."""
        return {one.name: make_distribution(one) for one in self.space.dimensions}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose a point whose setting is new, if chance finds one."""
        tried = self.list_tried()
        if len(tried) <= len(self.start):
            for first in self.start:
                if self.space.make_setting(first) not in tried:
                    return find_parameters(self.space, first)
        point: dict[str, Any] = {}
        for attempt in range(10 * _ATTEMPTS):
            if attempt < _ATTEMPTS:
                point = self.inner.sample_relative(study, trial, search_space) or {
                    name: self.inner.sample_independent(study, trial, name, distribution)
                    for name, distribution in search_space.items()
                }
            else:
                point = find_parameters(self.space, self.space.draw(self.chance))
            if self.space.make_setting(find_point(self.space, point)) not in tried:
                break
        return point

    def reseed_rng(self) -> None:
        """Use other random numbers."""
        super().reseed_rng()
        self.chance.seed()


def make_sampler(
    name: SamplerName,
    space: Space,
    seed: int | None,
    list_tried: Callable[[], Collection[TrialSetting]],
    *,
    objectives: int,
    start_seed: int | None,
) -> FreshSampler:
    """Make a sampler.

    Args:
        name: ``tpe`` or ``random``.
        space: What may be proposed.
        seed: ``None`` draws one.
        list_tried: Returns the settings that need no second try.
        objectives: Number of objectives: 2 for a front of seconds and likeness, 1 otherwise.
        start_seed: Seed of `draw_start`; sampling by chance has no start.
    """
    chance = random.Random(seed)
    if name == "random":
        return FreshSampler(RandomSampler(seed=seed), space, list_tried, chance)
    inner: BaseSampler = (
        WeighingSampler(seed, FEWEST_AT_RANDOM)
        if objectives == 2
        else TPESampler(seed=seed, n_startup_trials=FEWEST_AT_RANDOM, multivariate=True)
    )
    start = draw_start(space, FEWEST_AT_RANDOM - 1, start_seed)
    return FreshSampler(inner, space, list_tried, chance, start)
