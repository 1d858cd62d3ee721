"""TPE for two objectives: each proposal draws its own weights for them.

After fifty trials TPE would learn from a Pareto front of about a dozen settings: fast and coarse
ones, slow and fine ones, which have little in common. Under one weight the good settings are
neighbours. So each proposal draws its own weight, combines both objectives into one number, and
asks TPE about that number.
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
"""Share of the sum of both objectives that is added to the larger one. Of two settings that are
equal in the larger one, the better in the other then wins."""

GOLDEN: Final = (math.sqrt(5) - 1) / 2
"""The fractional parts of its multiples are spread evenly in [0, 1], for any number of them."""

CANDIDATES: Final = 48
"""How many points TPE rates for a proposal; twice Optuna's number found more on a recorded grid."""

GIVEN_UP: Final = 2.0
"""The value of a setting that was given up; settings that were measured in full are below 1.1."""


def weigh(points: Sequence[tuple[float, float]], weight: float) -> list[float]:
    """Make one number of seconds and likeness; smaller is better. Pure.

    Seconds count by their logarithm: from 0.4 to 0.2 is as good as from 2 to 1.

    Args:
        points: Seconds and likeness of settings.
        weight: Weight of seconds, in [0, 1]; likeness has the rest.

    Returns:
        The augmented Tchebycheff norm of the distance to the best of both, each in units of its
        range; in [0, 1.05]. Empty without points.

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
        """Propose a point that is good under the trial's own weight."""
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
