import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.sweep.plan import SweepPlan, choose_every, list_pairs

STEPS = tuple("abcdefgh")


def walk(plan, *, fails=(), is_eventful=lambda a, b: False):
    """Make a plan's comparisons one by one, as a sweep does; return those that were made."""
    done, failed, eventful, made = {}, set(), set(), []
    while (pair := next(plan.list_left(done, failed, eventful), None)) is not None:
        dead = [step for step in (pair.a, pair.b) if step in fails]
        if dead:
            failed.add(dead[0])
            continue
        done[pair.a, pair.b] = pair
        made.append(pair)
        if is_eventful(pair.a, pair.b):
            eventful.add((pair.a, pair.b))
    return made


def test_each_is_compared_with_the_one_before_and_with_the_anchor():
    made = walk(SweepPlan(STEPS[:4], STEPS[:4]))
    assert [(one.a, one.b, one.role) for one in made] == [
        ("a", "b", "neighbour"),
        ("b", "c", "neighbour"),
        ("a", "c", "anchor"),
        ("c", "d", "neighbour"),
        ("a", "d", "anchor"),
    ]


def test_an_anchor_in_the_middle_is_what_the_older_ones_are_held_against_too():
    made = walk(SweepPlan(STEPS[:4], STEPS[:4], anchor="c"))
    assert {(one.a, one.b) for one in made if one.role == "anchor"} == {("c", "a"), ("c", "b")}
    assert ("c", "d") in {(one.a, one.b) for one in made}


def test_a_step_that_cannot_be_measured_leaves_its_neighbours_beside_each_other():
    made = walk(SweepPlan(STEPS[:4], STEPS[:4]), fails={"b"})
    assert [(one.a, one.b) for one in made] == [("a", "c"), ("c", "d"), ("a", "d")]


def test_the_next_one_is_the_anchor_where_the_first_cannot_be_measured():
    plan = SweepPlan(STEPS[:4], STEPS[:4])
    made = walk(plan, fails={"a", "b"})
    assert [(one.a, one.b) for one in made] == [("c", "d")]
    assert plan.find_anchor({"a", "b"}) == "c"
    assert plan.find_anchor(set(STEPS[:4])) is None


def test_between_two_steps_is_measured_only_where_something_happened():
    plan = SweepPlan(STEPS[:7], choose_every(STEPS[:7], 3), is_dense=True)
    assert not any(one.is_dense for one in walk(plan))
    made = walk(plan, is_eventful=lambda a, b: (a, b) == ("a", "d"))
    assert [(one.a, one.b) for one in made if one.is_dense] == [
        ("a", "b"),
        ("b", "c"),
        ("a", "c"),
        ("c", "d"),
    ]
    assert len([one for one in made if not one.is_dense]) == plan.most_chosen_pairs


def test_what_happened_only_against_the_anchor_asks_for_nothing_between():
    plan = SweepPlan(STEPS[:7], choose_every(STEPS[:7], 3), is_dense=True)
    assert not any(
        one.is_dense for one in walk(plan, is_eventful=lambda a, b: (a, b) == ("a", "g"))
    )


@given(
    count=st.integers(2, 12),
    every=st.integers(1, 5),
    is_dense=st.booleans(),
    alpha=st.floats(1e-4, 0.1),
    place=st.none() | st.integers(0, 11),
    data=st.data(),
)
def test_whatever_happens_no_more_is_made_than_was_planned_and_alpha_is_never_exceeded(
    count, every, is_dense, alpha, place, data
):
    """The error of a sweep is the sum of what its comparisons spend, in both directions."""
    steps = tuple(f"s{number}" for number in range(count))
    chosen = choose_every(steps, every)
    anchor = None if place is None else chosen[place % len(chosen)]
    plan = SweepPlan(steps, chosen, anchor, is_dense)
    fails = data.draw(st.sets(st.sampled_from(steps), max_size=count - 1)) - {anchor}
    pairs = set(itertools.combinations(steps, 2))
    eventful = data.draw(st.sets(st.sampled_from(sorted(pairs))))
    made = walk(plan, fails=fails, is_eventful=lambda a, b: (a, b) in eventful)
    assert len({(one.a, one.b) for one in made}) == len(made), "one was made twice"
    assert sum(not one.is_dense for one in made) <= plan.most_chosen_pairs
    assert sum(one.is_dense for one in made) <= plan.most_dense_pairs
    assert sum(2 * plan.spend_alpha(alpha, one) for one in made) <= alpha * (1 + 1e-9)
    assert not {step for one in made for step in (one.a, one.b)} & fails


@given(count=st.integers(2, 12), every=st.integers(1, 12))
def test_without_dense_all_of_the_error_is_there_to_be_spent(count, every):
    steps = tuple(f"s{number}" for number in range(count))
    plan = SweepPlan(steps, choose_every(steps, every))
    assert sum(2 * plan.spend_alpha(0.01, one) for one in walk(plan)) == pytest.approx(0.01)


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": ("a",), "chosen": ("a",)},
        {"steps": ("a", "a"), "chosen": ("a",)},
        {"steps": ("a", "b"), "chosen": ("b", "a")},
        {"steps": ("a", "b"), "chosen": ("a", "c")},
        {"steps": ("a", "b"), "chosen": ("a", "b"), "anchor": "c"},
    ],
)
def test_a_plan_that_is_none_is_refused(fields):
    with pytest.raises(ValueError, match=r"sweep|twice|not in|anchor"):
        SweepPlan(**fields)


def test_both_ends_and_the_anchor_are_always_chosen():
    assert choose_every(STEPS, 3) == ("a", "d", "g", "h")
    assert choose_every(STEPS, 100) == ("a", "h")
    assert choose_every(STEPS, 3, "e") == ("a", "d", "e", "g", "h")
    assert list(list_pairs((), None)) == []
