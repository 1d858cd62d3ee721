import itertools

import pytest

from evidence.plugin_cost import (
    ARMS,
    FEWEST_PAIRS,
    STATUS,
    Session,
    compute_costs,
    judge_costs,
    measure_pairs,
    run_session,
)


def measure(pairs=3, budget_s=1000.0, step_s=1.0):
    """Measure with a clock that goes on by a step at each look."""
    typed = []
    seconds = itertools.count(0.0, step_s)
    measured = measure_pairs(
        pairs,
        lambda extra: typed.append(extra) or Session(1.0, 0.5),
        budget_s=budget_s,
        clock=lambda: next(seconds),
    )
    return typed, measured


def pairs_of(*differences_s, cpu_s=0.005):
    return [
        {"with": Session(0.7 + wall_s, 0.4 + cpu_s), "without": Session(0.7, 0.4)}
        for wall_s in differences_s
    ]


def test_the_first_of_a_pair_alternates():
    typed, _ = measure()
    with_it, without = ARMS["with"], ARMS["without"]
    assert typed == [with_it, without, without, with_it, with_it, without]


def test_no_pair_begins_that_would_end_after_the_budget():
    assert len(measure(pairs=5)[1]) == 5
    _, measured = measure(pairs=1000, budget_s=30.0)
    assert 8 <= len(measured) <= 10
    assert measure(budget_s=0.0)[1] == []


def test_the_cost_is_the_median_of_the_pairs_differences_by_each_clock():
    wall, cpu = compute_costs(pairs_of(0.03, 0.01, 0.02, cpu_s=0.008))
    assert wall.clock == "wall time"
    assert wall.median_s == pytest.approx(0.02)
    assert cpu.median_s == pytest.approx(0.008)
    assert (wall.without_s, cpu.without_s) == (0.7, 0.4)
    assert wall.format(0.02) == (
        "wall time: +20.0 ms (95 %: +10.0 to +30.0 ms) over 700 ms; 3 pairs; not told, limit 20 ms"
    )
    assert compute_costs([]) == ()


@pytest.mark.parametrize(
    ("differences_s", "cpu_s", "answer"),
    [
        ([0.01] * 20, 0.005, "below"),
        ([0.03] * 20, 0.005, "above"),
        ([0.01] * 20, 0.03, "above"),
        ([0.01, 0.03] * 10, 0.005, "not told"),
        ([0.01] * (FEWEST_PAIRS - 1), 0.005, "not told"),
        ([0.5] + [0.01] * 30, 0.005, "below"),
        ([], 0.0, "not told"),
    ],
)
def test_an_interval_on_one_side_of_the_limit_is_an_answer(differences_s, cpu_s, answer):
    costs = compute_costs(pairs_of(*differences_s, cpu_s=cpu_s))
    assert judge_costs(costs, 0.02) == answer


def test_the_statuses_tell_the_answers_apart():
    assert STATUS == {"below": 0, "above": 1, "not told": 2}


def test_a_session_takes_time_of_the_wall_and_of_the_processor(tmp_path):
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    seen = run_session(ARMS["without"], tmp_path)
    assert seen.wall_s > 0
    assert seen.cpu_s > 0
