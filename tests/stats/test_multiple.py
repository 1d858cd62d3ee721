import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.multiple import place_bars

LIMIT = 0.03
errors = st.lists(st.floats(1e-4, 0.2), min_size=1, max_size=60)


def place(sigma, alpha=0.01, limit=LIMIT):
    sigma = np.asarray(sigma)
    return np.array(
        place_bars(
            [limit] * len(sigma), sigma, lambda rises: scipy.stats.norm.sf(rises / sigma), alpha
        )
    )


@given(errors, st.floats(1e-4, 0.2))
def test_an_unchanged_suite_crosses_a_bar_no_oftener_than_alpha(sigma, alpha):
    bars = place(sigma, alpha)
    assert (bars >= LIMIT).all()
    spent = scipy.stats.norm.sf(bars / np.asarray(sigma)).sum()
    assert spent <= alpha * (1 + 1e-9)
    if (bars > LIMIT * (1 + 1e-9)).any():
        assert spent == pytest.approx(alpha, rel=1e-2)  # the bar itself is found to 1e-4


def test_equal_cases_get_the_bar_of_bonferroni():
    assert place([0.01] * 60) == pytest.approx(0.01 * scipy.stats.norm.isf(0.01 / 60), rel=1e-4)


def test_the_share_that_precise_cases_leave_goes_to_noisy_ones():
    noisy = place([0.012] * 10 + [0.001] * 50)[0]
    assert noisy < 0.012 * scipy.stats.norm.isf(0.01 / 60)
    assert noisy == pytest.approx(0.012 * scipy.stats.norm.isf(0.01 / 10), rel=1e-4)


def test_no_bars_of_equal_error_catch_more_of_twice_the_limit():
    """Spjotvoll's optimum against an equal share each and against equal bars."""
    sigma = np.array([0.006, 0.009, 0.012] * 20)

    def caught(bars):
        return scipy.stats.norm.sf((bars - 2 * LIMIT) / sigma).sum()

    ours = place(sigma)
    bonferroni = np.maximum(LIMIT, sigma * scipy.stats.norm.isf(0.01 / 60))
    assert caught(ours) > caught(bonferroni)
    grid = np.linspace(LIMIT, 0.08, 2000)
    equal = next(bar for bar in grid if scipy.stats.norm.sf(bar / sigma).sum() <= 0.01)
    assert caught(ours) > caught(np.full(60, equal))


def test_precise_cases_stay_at_their_limit():
    assert place([0.001] * 60) == pytest.approx(LIMIT)
    assert place_bars([], [], lambda rises: rises, 0.01) == ()


@pytest.mark.parametrize(
    ("limits", "sigma", "alpha"),
    [([0.03], [0.01, 0.01], 0.01), ([0.0], [0.01], 0.01), ([0.03], [0.0], 0.01), ([1], [1], 1.0)],
)
def test_what_has_no_bar_is_refused(limits, sigma, alpha):
    with pytest.raises(ValueError):
        place_bars(limits, sigma, lambda rises: rises, alpha)
