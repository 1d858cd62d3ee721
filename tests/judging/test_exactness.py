import dataclasses

import pytest

from sdperf.judging.exactness import find_exactness, judge_exact_pairs, judge_exactness
from sdperf.record.verdict import Outcome, Verdict
from tests.support.measurements import ENVIRONMENT, image, measurement, scores


def session(sha256, **changes):
    return measurement(images=(image(sha256=sha256),), **changes)


def judge(current, *history):
    finding, is_exact = judge_exactness(
        session(current), [None if one is None else session(one) for one in history]
    )
    return (None if finding is None else finding.outcome), is_exact


@pytest.mark.parametrize(
    ("current", "history", "expected"),
    [
        ("b", ["a", "a", "a"], (Outcome.CHANGED, True)),
        ("a", ["a", "a", "a"], (None, True)),
        ("b", ["a"], (Outcome.CHANGED, True)),  # its own rounds agreed
        ("b", ["a", None], (Outcome.CHANGED, True)),
        ("c", ["a", "b"], (None, False)),  # the machine is not exact, or one was just accepted
        ("c", ["a", "b", "b"], (Outcome.CHANGED, True)),
        ("a", ["a", "b", "b"], (None, True)),  # drawn here before: two kernels
        ("b", [], (None, False)),
        ("b", [None], (None, False)),
    ],
)
def test_changed_is_said_where_it_was_identical_until_now(current, history, expected):
    assert judge(current, *history) == expected


def test_the_finding_names_image_and_sessions_and_how_far():
    now = measurement(
        images=(
            image(
                sha256="b",
                scores=(dataclasses.replace(scores("baseline", 0.9999), ciede2000=0.0123),),
            ),
        )
    )
    finding, _ = judge_exactness(now, [session("a"), session("a")])
    assert "'red apple' (seed 0): identical until now (the last 2 sessions)" in finding.reason
    assert "(PSNR 40.0 dB, colour difference 0.012)" in finding.reason
    assert finding.exhibits
    assert "sdperf baseline accept" in finding.next_step


def test_other_bytes_of_the_same_pixels_are_no_change():
    now = measurement(images=(image(sha256="b", scores=(scores("baseline"),)),))
    assert judge_exactness(now, [session("a")]) == (None, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"repeatable": False},
        {"repeatable": None},
        {"worker_threads": 3},
        {"environment": dataclasses.replace(ENVIRONMENT, packages={"torch": "2.13.1"})},
        {"environment": dataclasses.replace(ENVIRONMENT, variables={"OMP_NUM_THREADS": "1"})},
        {"environment": dataclasses.replace(ENVIRONMENT, driver="570")},
    ],
)
def test_nothing_is_claimed_across_another_arithmetic(changes):
    assert judge_exactness(session("b"), [session("a", **changes)]) == (None, False)


def test_another_diffusers_and_other_weights_are_what_is_under_test():
    saved = session(
        "a",
        model_hash="d" * 64,
        environment=dataclasses.replace(
            ENVIRONMENT, packages=dict(ENVIRONMENT.packages) | {"diffusers": "0.1"}
        ),
    )
    assert find_exactness(image(sha256="b"), [saved], session("b")).sha256 == "a"


def test_two_sides_differ_where_the_first_is_exact():
    pair = (image(sha256="a"), image(sha256="b", scores=(scores("other side", 0.999),)))
    finding = judge_exact_pairs([pair, pair], "other side", is_exact=True)
    assert finding.outcome is Outcome.CHANGED
    assert "2 of 2 images differ" in finding.reason
    assert judge_exact_pairs([pair], "other side", is_exact=False) is None
    assert judge_exact_pairs([(pair[0], pair[0])], "other side", is_exact=True) is None


def test_changed_is_told_beside_what_decides():
    finding, _ = judge_exactness(session("b"), [session("a")])
    worse = dataclasses.replace(finding, outcome=Outcome.SLOWER, gate="latency")
    verdict = Verdict("case", (finding, worse))
    assert verdict.outcome is Outcome.SLOWER
    assert {one.outcome for one in verdict.told} == {Outcome.SLOWER, Outcome.CHANGED}
