import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.steps import has_step


@pytest.mark.parametrize(
    "rounds",
    [
        [1.0, 1.01, 1.25, 1.26, 1.25],
        [1.25, 1.26, 1.0, 1.01],
    ],
)
def test_throttling_that_sets_in_or_ends_is_a_step(rounds):
    assert has_step(rounds)


@pytest.mark.parametrize(
    "rounds",
    [
        [],
        [1.0, 2.0],
        [1.0, 1.0, 1.0, 1.3],  # one slow round is a spike
        [1.0, 1.05, 1.1, 1.15, 1.2, 1.25],  # a slope
        [1.0, 1.3, 1.0, 1.3, 1.0, 1.3],
        [1.0, 1.01, 1.08, 1.09],  # below 10 %
    ],
)
def test_spikes_slopes_and_noise_are_not(rounds):
    assert not has_step(rounds)


@given(st.lists(st.floats(0.1, 10), max_size=12), st.floats(0.1, 10))
def test_direction_does_not_matter(rounds, factor):
    assert has_step(rounds) == has_step(rounds[::-1])


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_durations_are_positive(duration):
    with pytest.raises(ValueError):
        has_step([1.0, duration])
