import numpy as np
import pytest

pytest.importorskip(
    "ruptures", reason="THE RIVALS ARE NOT TRIED: ruptures has no release for this Python"
)

from evidence.trend_power.__main__ import count_false, measure_delay, measure_placing
from evidence.trend_power.noises import NOISES, draw_step
from evidence.trend_power.rivals import SEARCHES
from evidence.trend_power.table import format_page


@pytest.mark.parametrize("name", NOISES)
def test_noises_have_the_spread_that_they_claim(name):
    values = NOISES[name](40_000, np.random.default_rng(0))
    inner = values[np.abs(values) < 4.5] if "spikes" in name else values
    assert inner.std() == pytest.approx(1, abs=0.15)
    assert abs(np.median(values)) < 0.3


def test_correlated_noise_is_correlated():
    values = NOISES["autocorrelation 0.3"](40_000, np.random.default_rng(0))
    assert np.corrcoef(values[1:], values[:-1])[0, 1] == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
def test_every_search_sees_a_doubling(search):
    places = search(draw_step(30, 30, 0.01, 1.0, np.random.default_rng(0)))
    assert any(abs(place - 30) <= 1 for place in places)


def test_a_clear_step_is_counted_and_its_delay_measured():
    rng = np.random.default_rng(0)
    stepped = count_false(lambda count, rng: np.repeat([0.0, 50.0], count // 2), 40, 1, rng)
    assert stepped == {"changes": 1, "reported": 1}
    delay = measure_delay("sdperf", 30, 0.005, 2, rng)
    assert delay["missed"] == 0
    assert 3 <= delay["median"] <= 5
    placing = measure_placing(0.01, 2, rng)
    assert (placing["found"], placing["placed"], placing["extra"]) == (2, 2, 0)


def test_the_page_says_what_is_stored():
    cell = {"changes": 1, "reported": 2}
    delay = {"median": 4, "p90": None, "missed": 1}
    page = format_page(
        {
            "command": "python -m evidence.trend_power",
            "series": 200,
            "steps": 10,
            "watched": 10,
            "rival_series": 100,
            "false": {name: {"20": cell} for name in NOISES},
            "watched_growing": {"gaussian": 1},
            "delay": {"30": {"2": delay}},
            "placing": {
                "2": {"found": 10, "placed": 9, "sized": 10, "extra": 1, "median_width": 3.0}
            },
            "rivals": {"x": {"false": {"gaussian": {"20": 5}}, "delay": delay}},
        }
    )
    assert "| gaussian | 0.50% (1.00%) |" in page
    assert "| 30 | 4 / > 30 |" in page
    assert "| 2 % | 100.0% | 90.0% | 3 | 100.0% | 10.0% |" in page
    assert "| x | 5.0% | 4 / > 30 |" in page
