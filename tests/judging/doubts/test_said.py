"""What a run found against its own baseline, where that is not what it is compared with."""

import dataclasses
from pathlib import Path

import pytest

from sdperf.judging.floors import SAME_PATH_FLOORS
from sdperf.judging.images import judge_images
from sdperf.judging.session.saved import compare_sessions
from sdperf.record.verdict import Outcome
from sdperf.store.runs import Acceptance, SavedCase, SavedRun
from tests.support.measurements import image, measurement, scores
from tests.support.saved_runs import CASE

PROMPT = "a cat against the baseline, floor 3"


def drawn(sha256, *, against="baseline", base="s" * 64):
    score = dataclasses.replace(scores(against, ssim=0.5), against_sha256=base)
    return measurement(images=(image(prompt=PROMPT, sha256=sha256, scores=(score,)),))


def run(name, one, *, outcome="PASS", is_accepted=False, **changes):
    finding = judge_images(one.images, one.images[0].scores[0].against, SAME_PATH_FLOORS, {})
    assert finding.outcome is Outcome.DEGRADED
    findings = (finding,) if outcome == "DEGRADED" else ()
    case = SavedCase(CASE, one, outcome, rounds_s=one.rounds_s, findings=findings, **changes)
    accepted = Acceptance("well", "2026-11-23T00:00:00+00:00", None, "0" * 64)
    return SavedRun(Path(name), {CASE: case}, acceptance=accepted if is_accepted else None)


def compare(base, head):
    (case,) = compare_sessions([base], head).cases
    (said,) = (one for one in case.verdict.findings if one.gate == "image")
    return said, case.verdict.outcome.is_failure


@pytest.mark.parametrize("is_accepted", [True, False])
def test_the_very_pictures_of_the_other_run_have_not_become_worse_since(is_accepted):
    base = run("a.json", drawn("a" * 64), outcome="DEGRADED", is_accepted=is_accepted)
    head = run("b.json", drawn("a" * 64), outcome="DEGRADED", base="baseline 0001")
    said, is_failed = compare(base, head)
    assert said.outcome is Outcome.PASS
    assert said.reason.startswith(
        "the same bytes as in a.json; DEGRADED in its own run, against baseline 0001: "
    )
    assert not is_failed


@pytest.mark.parametrize(
    ("named", "words"),
    [("baseline 0001", "baseline 0001"), (None, "a session that is not named")],
)
def test_other_pictures_stay_worse_and_say_than_what(named, words):
    base = run("a.json", drawn("b" * 64))
    said, is_failed = compare(base, run("b.json", drawn("a" * 64), outcome="DEGRADED", base=named))
    assert said.outcome is Outcome.DEGRADED
    assert said.reason.endswith(f"; found in its own run, against {words}")
    assert is_failed


def test_a_finding_against_this_very_base_is_repeated_as_it_is():
    base = run("a.json", drawn("s" * 64))
    head = run("b.json", drawn("a" * 64), outcome="DEGRADED", base="a.json")
    said, is_failed = compare(base, head)
    assert said == head.cases[CASE].findings[0]
    assert is_failed


@pytest.mark.parametrize("against", ["reference", "fp32-sync", "plain"])
def test_what_is_no_finding_against_a_baseline_is_repeated_as_it_is(against):
    base = run("a.json", drawn("a" * 64))
    head = run("b.json", drawn("a" * 64, against=against), outcome="DEGRADED")
    said, is_failed = compare(base, head)
    assert said == head.cases[CASE].findings[0]
    assert is_failed


def test_a_picture_that_the_other_run_lacks_is_not_the_same():
    one = drawn("a" * 64)
    more = dataclasses.replace(
        one, images=(*one.images, image(prompt="another", sha256="c" * 64, scores=()))
    )
    head = run("b.json", one, outcome="DEGRADED")
    for other in (more, dataclasses.replace(one, images=more.images[1:])):
        base = SavedRun(Path("a.json"), {CASE: SavedCase(CASE, other, rounds_s=one.rounds_s)})
        assert compare(base, head)[0].outcome is Outcome.DEGRADED
