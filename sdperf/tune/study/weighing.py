"""TPE for two objectives: each proposal draws its own weights for them.

A Pareto front of a dozen settings is what TPE would learn from after fifty trials, fast and coarse
ones among slow and fine ones, and what they have in common is little. Under one weight the good
settings are neighbours. So each proposal has a weight of its own, makes one number of both
objectives, and asks TPE about that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from sdperf.tune.study.wrapping import WrappingSampler

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SUM_SHARE: Final = 0.05
"""What the sum of both objectives adds to the larger one: of two settings that are equal in the one
that counts, the better in the other is better."""

GOLDEN: Final = (math.sqrt(5) - 1) / 2
"""Multiples of it, less their whole part, lie evenly in [0, 1] however many there are."""

CANDIDATES: Final = 48
"""Points that TPE weighs for one proposal; twice Optuna's number found more on a recorded grid."""

GIVEN_UP: Final = 2.0
"""What a setting counts that was given up; all that were measured in full are below 1.1."""


def weigh(points: Sequence[tuple[float, float]], weight: float) -> list[float]:
    """Make one number of seconds and likeness; smaller is better. Pure.

    Seconds count by their logarithm: from 0.4 to 0.2 is worth as much as from 2 to 1.

    Args:
        points: Seconds and likeness of settings.
        weight: Of seconds, in [0, 1]; likeness has the rest.

    Returns:
        The augmented Tchebycheff norm of the distance to the best of both, each in units of its
        range; in [0, 1.05]. Empty for none.

    Source: ParEGO, Knowles (2006).

    >>> weigh([(1.0, 0.9), (2.0, 1.0), (4.0, 0.9)], 1.0)
    [0.0, 0.525, 1.05]
    """
    if not points:
        return []
    logs = [math.log(seconds) for seconds, _ in points]
    likenesses = [likeness for _, likeness in points]
    log_range = max(logs) - min(logs) or 1.0
    likeness_range = max(likenesses) - min(likenesses) or 1.0
    found = []
    for log, likeness in zip(logs, likenesses, strict=True):
        slow = weight * (log - min(logs)) / log_range
        unlike = (1 - weight) * (max(likenesses) - likeness) / likeness_range
        found.append(max(slow, unlike) + SUM_SHARE * (slow + unlike))
    return found


class WeighingSampler(WrappingSampler):
    """Proposes whole points of a study of seconds and likeness.

    Args:
        seed: ``None`` draws one.
        fewest_at_random: Trials that chance proposes first.
    """

    def __init__(self, seed: int | None, fewest_at_random: int) -> None:
        super().__init__(
            TPESampler(
                seed=seed,
                n_startup_trials=fewest_at_random,
                n_ei_candidates=CANDIDATES,
                multivariate=True,
            )
        )

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Propose a point by what is good under the trial's own weight."""
        ended = [
            one
            for one in study.get_trials(
                deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)
            )
            if search_space.keys() <= one.params.keys()
        ]
        measured = [(one.values[0], one.values[1]) for one in ended if one.values is not None]
        values = iter(weigh(measured, trial.number * GOLDEN % 1))
        weighed = optuna.create_study(sampler=self.inner)
        for one in ended:
            value = GIVEN_UP if one.values is None else next(values)
            worst = max((0.0, *one.constraints.values()))
            weighed.add_trial(
                create_trial(
                    params={name: one.params[name] for name in search_space},
                    distributions=search_space,
                    value=value + (GIVEN_UP + min(worst, GIVEN_UP) if worst > 0 else 0.0),
                )
            )
        return weighed.ask(fixed_distributions=search_space).params
