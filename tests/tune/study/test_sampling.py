"""What is proposed first, and what TPE is asked when two objectives are sought."""

import math
import random

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from sdperf.tune.question.space import list_choices
from sdperf.tune.study.sampling import FEWEST_AT_RANDOM, draw_start, make_sampler, suggest
from sdperf.tune.study.weighing import GIVEN_UP, WeighingSampler, weigh
from tests.support.tune_fakes import ask

SEARCH = {
    "steps": [str(steps) for steps in range(4, 21)],
    "guidance": ["1", "2", "3"],
    "scheduler": ["auto", "DDIMScheduler"],
}
points = st.lists(
    st.tuples(st.floats(0.01, 100.0), st.floats(0.0, 1.0)), min_size=1, max_size=8, unique=True
)


def space():
    return ask(search=SEARCH).space


def test_the_start_sees_every_choice_about_equally_often():
    start = draw_start(space(), 9, 7)
    assert len(start) == 9
    for one in space().dimensions:
        choices = list_choices(one)
        seen = [choices.index(point[one.name]) for point in start]
        if len(choices) < 9:
            counts = [seen.count(index) for index in range(len(choices))]
            assert max(counts) - min(counts) <= 1
        else:
            for row, index in enumerate(sorted(seen)):
                assert row * len(choices) // 9 <= index <= (row + 1) * len(choices) // 9
    assert start == draw_start(space(), 9, 7)
    assert start != draw_start(space(), 9, 8)


def study_of(sampler_name, tried, seed=3):
    made = make_sampler(sampler_name, space(), seed, lambda: tried, objectives=2, start_seed=seed)
    return optuna.create_study(directions=["minimize", "maximize"], sampler=made)


def test_tpe_begins_with_the_start_and_whoever_joins_goes_on_with_it():
    tried = set()
    expected = [space().make_setting(one) for one in draw_start(space(), FEWEST_AT_RANDOM - 1, 3)]
    for _ in range(4):
        tried.add(space().make_setting(suggest(study_of("tpe", tried).ask(), space())))
    assert tried == set(list(dict.fromkeys(expected))[:4])
    chance = space().make_setting(suggest(study_of("random", set()).ask(), space()))
    assert chance != expected[0]


@given(points, st.floats(0.0, 1.0))
def test_weighed_numbers_are_bounded_and_never_prefer_what_is_worse_in_both(found, weight):
    values = weigh(found, weight)
    assert all(0 <= value <= 1.05 + 1e-9 < GIVEN_UP for value in values)
    for (seconds, likeness), value in zip(found, values, strict=True):
        for (other_seconds, other_likeness), other in zip(found, values, strict=True):
            if seconds <= other_seconds and likeness >= other_likeness:
                assert value <= other + 1e-9


def test_a_weight_of_one_looks_at_seconds_alone_and_of_none_at_likeness():
    found = [(1.0, 0.5), (2.0, 0.9), (4.0, 1.0)]
    assert weigh(found, 1.0) == pytest.approx([0.0, 0.525, 1.05])
    assert weigh(found, 0.0) == pytest.approx([1.05, 0.21, 0.0])
    assert weigh([], 0.5) == []
    assert weigh([(2.0, 0.9)], 0.5) == [0.0]


def propose(values_of, *, states=None, trials=60):
    """Proposals of the sampler after a study in which 0 to 59 were tried."""
    study = optuna.create_study(directions=["minimize", "maximize"])
    space_of = {"x": optuna.distributions.IntDistribution(0, 59)}
    numbers = list(range(60))
    random.Random(1).shuffle(numbers)
    for x in numbers:
        state, violation = (states or (lambda _: (TrialState.COMPLETE, 0.0)))(x)
        made = optuna.trial.create_trial(
            params={"x": x},
            distributions=space_of,
            values=values_of(x) if state == TrialState.COMPLETE else None,
            state=state,
            system_attrs={"constraints:limit": violation},
        )
        study.add_trial(made)
    sampler = WeighingSampler(5, 10)
    study.sampler = sampler
    found = []
    for _ in range(trials):
        trial = study.ask()
        found.append(sampler.sample_relative(study, study.get_trials()[-1], space_of)["x"])
        study.tell(trial, state=TrialState.FAIL)
    return found


def test_proposals_lie_along_the_front_and_not_beside_it():
    # From 0 to 29 seconds are traded for likeness, from 30 on both are bad.
    def values_of(x):
        return (0.1 + 0.05 * x, 0.5 + 0.01 * x) if x < 30 else (3.0 + 0.01 * x, 0.1)

    found = propose(values_of)
    assert sum(x < 33 for x in found) > 0.85 * len(found)
    assert min(found) < 8
    assert max(x for x in found if x < 33) > 22


def test_what_misses_a_limit_is_kept_away_from_however_fast_it_is():
    def values_of(x):
        return (math.exp(0.03 * (x - 60)), 0.9)

    def states(x):
        return (TrialState.COMPLETE, 1.0 if x < 30 else 0.0)

    assert sum(x < 15 for x in propose(values_of)) > 30
    assert sum(x < 24 for x in propose(values_of, states=states)) < 12


def test_what_was_given_up_counts_as_bad():
    def states(x):
        return (TrialState.PRUNED if x < 30 else TrialState.COMPLETE, 0.0)

    found = propose(lambda x: (1.0 + 0.01 * x, 0.9), states=states)
    assert sum(x < 24 for x in found) < 12
