from hypothesis import given
from hypothesis import strategies as st

from sdperf.tune.study.front import Point, compute_hypervolume, find_front, find_rival_s

points = st.lists(st.builds(Point, st.floats(0.01, 10), st.floats(-1, 1)), min_size=1, max_size=20)
REFERENCE = Point(10.0, -1.0)


def test_a_worked_example():
    found = [Point(1.0, 0.5), Point(2.0, 0.9), Point(2.5, 0.8), Point(1.0, 0.4), Point(3.0, 1.0)]
    assert find_front(found) == [0, 1, 4]
    assert compute_hypervolume(found, Point(4.0, 0.0)) == 3.0 * 0.5 + 2.0 * 0.4 + 1.0 * 0.1 + (
        compute_hypervolume([], Point(4.0, 0.0))
    )
    assert find_rival_s(found, 0.85) == 2.0
    assert find_rival_s(found, 1.1) is None


@given(points)
def test_no_point_of_the_front_is_dominated_and_every_other_is(found):
    front = find_front(found)
    for at, point in enumerate(found):
        dominated = any(other.dominates(point) for other in found)
        equal_before = point in found[:at]
        assert (at in front) == (not dominated and not equal_before) or point in [
            found[other] for other in front
        ]
    assert not any(found[a].dominates(found[b]) for a in front for b in front)


@given(points)
def test_the_hypervolume_is_optunas(found):
    import numpy as np
    from optuna._hypervolume import compute_hypervolume as oracle

    losses = np.array([[one.seconds, -one.ssim] for one in found])
    expected = oracle(losses, np.array([REFERENCE.seconds, -REFERENCE.ssim]))
    assert abs(compute_hypervolume(found, REFERENCE) - expected) < 1e-9


@given(points, st.builds(Point, st.floats(0.01, 10), st.floats(-1, 1)))
def test_another_point_never_makes_it_smaller(found, other):
    assert compute_hypervolume([*found, other], REFERENCE) >= (
        compute_hypervolume(found, REFERENCE) - 1e-12
    )
