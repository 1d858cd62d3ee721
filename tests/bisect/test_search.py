import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdperf.bisect.search import History, make_chain, weigh_answers


@st.composite
def histories(draw):
    """Random commits with one or two parents, all of them in the last one's history."""
    size = draw(st.integers(1, 40))
    parents = {}
    for index in range(1, size):
        count = draw(st.integers(0, min(2, index)))
        chosen = draw(st.sets(st.integers(0, index - 1), min_size=count, max_size=count))
        parents[str(index)] = tuple(str(parent) for parent in sorted(chosen))
    named = {parent for each in parents.values() for parent in each}
    loose = tuple(str(index) for index in range(size) if str(index) not in named)
    return History((*map(str, range(size)), "tip"), {**parents, "tip": loose})


def contains(history, step, other):
    return bool(history.reach[history.steps.index(step)] >> history.steps.index(other) & 1)


def search(history, answer_of, answers=None):
    """Follow a search to its end; return where it stands and the steps it tested."""
    answers, path = dict(answers or {}), []
    while (step := weigh_answers(history, answers).next_step) is not None:
        assert step not in answers
        answers[step] = answer_of(step)
        path.append(step)
    return weigh_answers(history, answers), path


def planted(history, culprit, unanswered=()):
    def answer(step):
        if step in unanswered:
            return unanswered[step]
        return "bad" if contains(history, step, culprit) else "good"

    return answer


@given(history=histories(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_every_planted_step_is_found_within_the_tests_that_were_announced(history, data):
    culprit = data.draw(st.sampled_from(history.steps))
    announced = weigh_answers(history, {}).tests_left
    standing, path = search(history, planted(history, culprit))
    assert standing.first_bad == culprit
    assert len(path) <= announced
    assert history.steps[-1] not in path, "the bad end is tested before the search"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 16, 17, 100])
def test_a_chain_takes_the_binary_logarithm(count):
    history = make_chain([f"v{index}" for index in range(count)])
    assert weigh_answers(history, {}).tests_left == math.ceil(math.log2(count))
    for culprit in history.steps:
        standing, path = search(history, planted(history, culprit))
        assert standing.first_bad == culprit
        assert len(path) <= math.ceil(math.log2(count))


@given(history=histories(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_steps_without_an_answer_widen_the_range_and_never_exclude_the_culprit(history, data):
    culprit = data.draw(st.sampled_from(history.steps))
    unanswered = data.draw(
        st.dictionaries(
            st.sampled_from(history.steps[:-1] or ("none",)),
            st.sampled_from(["skipped", "open"]),
        )
    )
    standing, path = search(history, planted(history, culprit, unanswered))
    assert culprit in standing.suspects
    assert len(path) == len(set(path))
    last = standing.suspects[-1]
    for suspect in standing.suspects[:-1]:
        assert suspect in unanswered, "a suspect that could be tested was left out"
        assert contains(history, last, suspect)


def test_only_skipped_steps_between_good_and_bad_are_named_as_a_range():
    history = make_chain("abcdefgh")
    skipped = dict.fromkeys("cde", "skipped")
    standing, _ = search(history, planted(history, "d", skipped))
    assert standing.suspects == ("c", "d", "e", "f")
    assert standing.first_bad is None


def test_after_a_skipped_step_the_search_looks_far_from_it():
    history = make_chain([f"{index:02}" for index in range(100)])
    middle = weigh_answers(history, {}).next_step
    assert middle == "49"
    following = weigh_answers(history, {middle: "skipped"}).next_step
    assert abs(int(following) - int(middle)) >= 20
    broken = {f"{index:02}": "skipped" for index in range(35, 65)}
    standing, path = search(history, planted(history, "80", broken))
    assert standing.first_bad == "80"
    assert sum(step in broken for step in path) <= 2, "it kept trying broken neighbours"


def test_a_branch_that_was_merged_is_searched():
    #   a - b - c - m - d
    #    \- x - y -/
    history = History(
        tuple("abcxymd"),
        {"b": ("a",), "c": ("b",), "x": ("a",), "y": ("x",), "m": ("c", "y"), "d": ("m",)},
    )
    for culprit in history.steps:
        standing, _ = search(history, planted(history, culprit))
        assert standing.first_bad == culprit


@pytest.mark.parametrize(
    ("steps", "parents"),
    [
        ((), {}),
        (("a", "a"), {"a": ()}),
        (("a", "b"), {"a": ("b",)}),
        (("a", "b"), {}),
        (("a", "b", "c"), {"c": ("a",)}),
    ],
)
def test_what_is_no_history_with_one_tip_is_refused(steps, parents):
    with pytest.raises(ValueError, match="step"):
        History(steps, parents)


def test_a_long_history_is_weighed_at_once():
    history = make_chain([str(index) for index in range(3000)])
    assert weigh_answers(history, {}).tests_left == 12
