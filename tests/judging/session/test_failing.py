"""Whether a judged session fails: by a case, by the suite, and because it compared nothing."""

import pytest

from sdperf.judging.session.failing import explain_nothing_compared, is_failed
from sdperf.record.verdict import Finding, Outcome, Verdict


def verdict(*outcomes, gate="latency"):
    return Verdict("test_a", tuple(Finding(one, gate, "a reason") for one in outcomes))


NOTHING = (Outcome.INCOMPARABLE, Outcome.NO_BASELINE)
ONE = ["0001.json"]


@pytest.mark.parametrize("outcome", NOTHING)
def test_what_compared_nothing_says_so(outcome):
    said = explain_nothing_compared([verdict(outcome), verdict(Outcome.INCOMPARABLE)], ONE)
    words = (
        "nothing was compared: 0001.json cannot judge any of the 2 cases; the reasons are listed"
    )
    assert said == words
    assert "2 sessions cannot judge the case;" in explain_nothing_compared(
        [verdict(outcome)], ["a", "b"]
    )


@pytest.mark.parametrize("outcome", NOTHING)
def test_a_doubt_beside_it_is_no_comparison(outcome):
    assert explain_nothing_compared([verdict(outcome, Outcome.INCONCLUSIVE)], ONE) is not None
    assert explain_nothing_compared([verdict(outcome, Outcome.SLOWER)], ONE) is None


@pytest.mark.parametrize("outcome", [one for one in Outcome if one not in NOTHING])
def test_one_case_that_is_compared_is_enough(outcome):
    verdicts = [verdict(Outcome.INCOMPARABLE), verdict(outcome)]
    assert explain_nothing_compared(verdicts, ONE) is None


def test_a_picture_that_is_missing_is_no_comparison_that_compared_nothing():
    seen = verdict(Outcome.PASS).findings + verdict(Outcome.INCOMPARABLE, gate="image").findings
    assert explain_nothing_compared([Verdict("test_a", seen)], ONE) is None


@pytest.mark.parametrize(
    "verdicts",
    [[], [verdict(Outcome.INCOMPARABLE, gate="image")], [verdict(Outcome.BROKEN, gate="worker")]],
)
def test_without_a_case_that_is_timed_there_is_nothing_to_say(verdicts):
    assert explain_nothing_compared(verdicts, ONE) is None


def test_without_anything_to_compare_with_a_first_run_passes():
    assert explain_nothing_compared([verdict(Outcome.NO_BASELINE)], []) is None


@pytest.mark.parametrize("outcome", Outcome)
def test_an_open_answer_fails_where_strict_and_a_failure_always(outcome):
    for verdicts, suite in (
        ([verdict(outcome)], None),
        ([verdict(Outcome.PASS)], Finding(outcome, "suite", "a reason")),
    ):
        assert is_failed(verdicts, suite) == outcome.is_failure
        assert is_failed(verdicts, suite, strict=True) == (outcome.is_failure or outcome.is_open)
    changed = outcome is Outcome.CHANGED
    assert is_failed([verdict(outcome)], None, exact=True) == (outcome.is_failure or changed)
    void = is_failed([verdict(outcome)], None, strict=True, is_void=True)
    assert void == (outcome.is_failure or changed)
