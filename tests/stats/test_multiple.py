import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.multiple import adjust_bonferroni, adjust_holm

families = st.lists(st.floats(0, 1), max_size=30)


def test_worked_example():
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert adjust_bonferroni([0.01, 0.5]) == (0.02, 1.0)


@given(families)
def test_holm_lies_between_the_raw_value_and_bonferroni(p_values):
    for p, holm, bonferroni in zip(
        p_values, adjust_holm(p_values), adjust_bonferroni(p_values), strict=True
    ):
        assert p <= holm <= bonferroni <= 1


@given(families, st.randoms())
def test_order_does_not_matter(p_values, random):
    shuffled = list(enumerate(p_values))
    random.shuffle(shuffled)
    adjusted = adjust_holm([p for _, p in shuffled])
    expected = adjust_holm(p_values)
    assert [expected[index] for index, _ in shuffled] == list(adjusted)


@given(families)
def test_smaller_p_values_stay_smaller(p_values):
    adjusted = adjust_holm(p_values)
    ranked = [adjusted[index] for index in sorted(range(len(p_values)), key=p_values.__getitem__)]
    assert ranked == sorted(ranked)


@pytest.mark.parametrize("adjust", [adjust_holm, adjust_bonferroni])
def test_what_is_no_probability_is_refused(adjust):
    with pytest.raises(ValueError):
        adjust([0.5, float("nan")])
