import pytest

from evidence.plugin_cost import ARMS, format_result, measure_pairs


def test_the_first_of_a_pair_alternates():
    typed = []
    measure_pairs(3, lambda extra: typed.append(extra) or 1.0)
    with_it, without = ARMS["with"], ARMS["without"]
    assert typed == [with_it, without, without, with_it, with_it, without]


def test_the_cost_is_the_median_of_the_pairs_differences():
    measured = [{"with": 0.53, "without": 0.5}, {"with": 0.71, "without": 0.7}]
    measured.append({"with": 0.92, "without": 0.9})
    median_s, line = format_result(measured)
    assert median_s == pytest.approx(0.02)
    assert line.startswith("the plugin costs 20.0 ms of CPU time")
    assert "over 700 ms; 3 pairs" in line
