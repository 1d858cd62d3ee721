"""Studies on a recorded grid: what each sampler's front comes to, trial by trial."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import TrialPruned
from optuna.trial import Trial

from evidence.tune_grid.grid import Grid
from sdperf.tune.question.question import BROKEN, BROKEN_VIOLATION
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.front import Point, compute_hypervolume
from sdperf.tune.study.sampling import SamplerName, find_parameters, make_sampler, suggest

LOOKS = (10, 20, 30, 50, 100, 150)


@dataclass(frozen=True)
class Curve:
    """One study's hypervolume, as a share of the whole grid's, by number of trials."""

    sampler: SamplerName
    seed: int
    shares: tuple[tuple[int, float], ...]

    def at(self, trials: int) -> float:
        return dict(self.shares)[trials]


def choose_reference(grid: Grid) -> Point:
    """Return the worst seconds of all settings that gave an image, and no likeness at all."""
    points = [point for point in grid.points().values() if point is not None]
    return Point(max(point.seconds for point in points) * 1.01, 0.0)


def replay(grid: Grid, sampler: SamplerName, seed: int, trials: int) -> Curve:
    """Run a study on the grid as `sdperf tune` does: the default first, nothing twice."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known, reference = grid.points(), choose_reference(grid)
    whole = compute_hypervolume([point for point in known.values() if point], reference)
    tried: dict[TrialSetting, Point | None] = {}
    space = grid.question.space
    study = optuna.create_study(
        directions=["minimize", "maximize"],
        sampler=make_sampler(
            sampler, space, seed, lambda: tried.keys(), objectives=2, start_seed=seed
        ),
    )
    study.enqueue_trial(find_parameters(space, space.find_point(grid.question.default)))
    shares: list[tuple[int, float]] = []

    def objective(trial: Trial) -> tuple[float, float]:
        setting = space.make_setting(suggest(trial, space))
        tried[setting] = point = known[setting]
        if point is None:
            trial.set_constraint(BROKEN, BROKEN_VIOLATION)
            raise TrialPruned
        return point.seconds, point.ssim

    for count in range(1, trials + 1):
        study.optimize(objective, n_trials=1)
        if count in LOOKS or count == trials:
            found = [point for point in tried.values() if point is not None]
            shares.append((count, round(compute_hypervolume(found, reference) / whole, 5)))
    return Curve(sampler, seed, tuple(shares))


def mean_at(curves: Sequence[Curve], sampler: SamplerName, trials: int) -> float:
    return statistics.fmean(one.at(trials) for one in curves if one.sampler == sampler)
