"""A resumed session is judged in parts, each by itself."""

from sdperf.judging.session.confirmation import Confirmation
from sdperf.judging.session.parts import divide, judge_parts
from sdperf.judging.session.speed import SpeedVerdict
from sdperf.record.verdict import Finding, Outcome
from sdperf.store.controls import NullControl

CONTROL = NullControl("a", "2026-01-01T00:00:00+00:00", 0.03, (0.0,), True, None)


def finding(outcome, reason="so"):
    return Finding(outcome, "latency", reason)


def test_cases_are_divided_by_the_process_that_measured_them():
    kept = {"a": "09:00", "c": "10:00", "gone": "08:00"}
    assert divide(dict.fromkeys("abcd"), kept) == [
        (None, {"b": None, "d": None}),
        ("10:00", {"c": None}),
        ("09:00", {"a": None}),
    ]
    assert divide(dict.fromkeys("ab"), {}) == [(None, {"a": None, "b": None})]
    assert divide({}, kept) == []


def judge_with(verdicts, seen):
    def judge(cases, confirm, why):
        (name,) = cases
        confirmation = Confirmation()
        if confirm is not None:
            confirmation = confirm("screening", "limits", f"control of {name}")
        seen.append((name, confirm is not None, why))
        outcome, suite = verdicts[name]
        return SpeedVerdict(
            {name: finding(outcome)}, finding(suite, name), confirmation=confirmation
        )

    return judge


def test_each_part_is_judged_alone_and_the_worst_suite_counts():
    seen, controls = [], []

    def confirm(_screening, _limits, control):
        controls.append(control)
        return Confirmation(
            null_control=CONTROL if control else None, notes=("same note",), paired=frozenset("x")
        )

    verdicts = {"a": (Outcome.PASS, Outcome.PASS), "b": (Outcome.SLOWER, Outcome.SLOWER)}
    parts = [(None, {"a": None}), ("09:00", {"b": None})]
    verdict = judge_parts(parts, judge_with(verdicts, seen), confirm, "")
    assert {name: one.outcome for name, one in verdict.cases.items()} == {
        "a": Outcome.PASS,
        "b": Outcome.SLOWER,
    }
    assert verdict.suite.outcome is Outcome.SLOWER
    assert verdict.suite.reason == "cases of the process of 09:00: b"
    assert controls == ["control of a", None], "the code is held against itself once"
    assert verdict.confirmation.null_control is CONTROL
    assert verdict.confirmation.notes == ("same note",)


def test_a_void_part_voids_all_and_nothing_more_is_measured():
    seen = []

    def confirm(_screening, _limits, _control):
        return Confirmation(null_control=CONTROL, void="it differs from itself")

    verdicts = {"a": (Outcome.PASS, Outcome.PASS), "b": (Outcome.PASS, Outcome.PASS)}
    parts = [(None, {"a": None}), ("09:00", {"b": None})]
    verdict = judge_parts(parts, judge_with(verdicts, seen), confirm, "")
    assert [one.outcome for one in verdict.cases.values()] == [Outcome.INCONCLUSIVE] * 2
    assert verdict.suite.outcome is Outcome.INCONCLUSIVE
    assert verdict.confirmation.void == "it differs from itself"
    assert seen == [("a", True, ""), ("b", False, "void")]


def test_an_interrupted_part_leaves_the_others_to_their_numbers():
    seen = []
    verdicts = {"a": (Outcome.PASS, Outcome.PASS), "b": (Outcome.PASS, Outcome.PASS)}
    parts = [(None, {"a": None}), ("09:00", {"b": None})]
    verdict = judge_parts(
        parts, judge_with(verdicts, seen), lambda *_: Confirmation(was_interrupted=True), ""
    )
    assert verdict.confirmation.was_interrupted
    assert seen == [("a", True, ""), ("b", False, "interrupted")]


def test_a_session_in_one_piece_is_judged_as_ever():
    verdicts = {"a": (Outcome.PASS, Outcome.PASS)}
    verdict = judge_parts([(None, {"a": None})], judge_with(verdicts, []), None, "why")
    assert verdict.suite.reason == "a"
