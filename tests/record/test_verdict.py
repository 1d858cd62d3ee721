import dataclasses
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdperf.judging.images import judge_images, judge_soundness
from sdperf.record.floors import Floors
from sdperf.record.verdict import Finding, Outcome, Verdict, describe_other, shorten_cases
from sdperf.report.text.session.cases import Row, format_findings
from tests.support.measurements import image, scores

FLOORS = Floors(ssim=0.98, worst_tile_ssim=0.95, entropy_drop_bits=0.2, evidence="test")


@pytest.mark.parametrize(
    ("scored", "word"),
    [
        (scores(ssim=0.9), "SSIM 0.9000"),
        (scores(ssim=0.99, tile=0.5), r"worst tile \(0, 0, 32, 32\) SSIM 0.5000"),
    ],
)
def test_each_image_gate_can_fail(scored, word):
    finding = judge_images([image(), image(seed=1, scores=(scored,))], "reference", FLOORS, {})
    assert finding.outcome is Outcome.DEGRADED
    assert re.search(word, finding.reason)
    assert "seed 1" in finding.reason


def test_ssim_is_named_before_what_fell_further_and_alone_where_nothing_did():
    floors = dataclasses.replace(FLOORS, ciede2000=0.1)
    red = dataclasses.replace(scores(ssim=0.9), ciede2000=30.0)

    def reason(scored):
        return judge_images([image(scores=(scored,))], "reference", floors, {}).reason

    assert re.search(r"\): SSIM 0\.9000 .*; colour difference 30 ", reason(red))
    assert "colour" not in reason(dataclasses.replace(red, ciede2000=0.05))
    assert re.search(r"\): colour difference 30 ", reason(dataclasses.replace(red, ssim=0.99)))


def test_a_loss_of_entropy_fails_even_where_ssim_holds():
    finding = judge_images([image(entropy_bits=4.0)], "reference", FLOORS, {"b" * 64: 5.0})
    assert finding.outcome is Outcome.DEGRADED
    assert "entropy 4.00 bits, 1.00 below" in finding.reason


def test_the_worst_failure_is_reported():
    images = [
        image(scores=(scores(ssim=0.97),)),
        image(seed=5, scores=(scores(ssim=0.2, tile=0.9),)),
    ]
    assert "seed 5" in judge_images(images, "reference", FLOORS, {}).reason


def test_of_images_whose_colours_are_equally_bad_the_lowest_ssim_is_named():
    floors = dataclasses.replace(FLOORS, ciede2000=0.05)
    tiles = (0.4419, 0.2638, 0.4404)
    images = [
        image(seed=seed, scores=(dataclasses.replace(scores(ssim=0.93, tile=tile), ciede2000=1.5),))
        for seed, tile in enumerate(tiles)
    ]
    finding = judge_images(images, "reference", floors, {})
    assert re.search(r"\(seed 1\): worst tile .* SSIM 0\.2638 .*; 3 of 3 images", finding.reason)
    assert [each.seed for each in finding.exhibits] == [1, 2, 0]


def test_nothing_passes_without_a_comparison():
    assert judge_images([image(scores=())], "reference", FLOORS, {}).outcome is Outcome.NO_BASELINE
    some = [image(), image(seed=1, scores=())]
    assert judge_images(some, "reference", FLOORS, {}).outcome is Outcome.NO_BASELINE
    assert judge_images([], "reference", FLOORS, {}).outcome is Outcome.NO_BASELINE


def test_a_missing_comparison_does_not_hide_a_failure():
    some = [image(scores=(scores(ssim=0.1),)), image(seed=1, scores=())]
    assert judge_images(some, "reference", FLOORS, {}).outcome is Outcome.DEGRADED


def test_soundness_names_faults_and_unrepeatable_images():
    assert judge_soundness([image()], repeatable=True) == []
    assert judge_soundness([image()], repeatable=None) == []
    broken = judge_soundness([image(faults=("flat frame",))], repeatable=False)
    assert [finding.outcome for finding in broken] == [Outcome.BROKEN, Outcome.DEGRADED]


def test_the_worst_finding_decides_and_none_at_all_is_no_pass():
    faster = Finding(Outcome.FASTER, "latency", "")
    worse = Finding(Outcome.DEGRADED, "image", "")
    assert Verdict("case", (faster, worse)).outcome is Outcome.DEGRADED
    assert Verdict("case", (faster, worse)).decisive == (worse,)
    assert Verdict("case", ()).outcome is Outcome.NO_BASELINE


def test_every_failure_is_told_but_beside_a_broken_one():
    uglier = Finding(Outcome.DEGRADED, "image", "SSIM fell")
    slower = Finding(Outcome.SLOWER, "latency", "+311 %")
    grown = Finding(Outcome.HEAVIER, "memory", "+40 %")
    fine, broken = Finding(Outcome.PASS, "memory", "same"), Finding(Outcome.BROKEN, "image", "NaN")
    assert Verdict("case", (slower, uglier, fine, grown)).told == (slower, uglier, grown)
    assert Verdict("case", (slower, broken, uglier)).told == (broken,)


def test_an_open_answer_is_told_beside_a_failure_with_what_settles_it():
    uglier, changed, broken = (
        Finding(outcome, "image", "so")
        for outcome in (Outcome.DEGRADED, Outcome.CHANGED, Outcome.BROKEN)
    )
    doubtful = Finding(Outcome.INCONCLUSIVE, "latency", "+20 %, not confirmed", "sdperf ab A B")
    unknown = Finding(Outcome.INCONCLUSIVE, "latency", "nobody can tell")
    for worse in (uglier, changed):
        verdict = Verdict("case", (doubtful, worse, unknown))
        assert verdict.told == (doubtful, worse)
        shown = "\n".join(line.text for line in format_findings([Row("case", verdict, None, None)]))
        assert "INCONCLUSIVE  case: +20 %, not confirmed\n    next: sdperf ab A B" in shown
    assert Verdict("case", (doubtful, broken)).told == (broken,)


def test_every_outcome_is_a_failure_or_open_or_good():
    good = {outcome for outcome in Outcome if not outcome.is_failure and not outcome.is_open}
    assert good == {Outcome.PASS, Outcome.FASTER}
    assert not [outcome for outcome in Outcome if outcome.is_failure and outcome.is_open]


WORDS = st.text("a/[]:_tes", max_size=6)


@given(st.lists(st.one_of(WORDS, st.builds("{}.py::test_{}".format, WORDS, WORDS)), unique=True))
@example(["a.py::test_x[a::b]", "b.py::test_y[c::b]"])
@example(["x", "test_x", "a::x", "b/a::x"])
def test_no_two_cases_have_the_same_short_name(cases):
    names = shorten_cases(cases)
    assert list(names) == cases
    assert len(set(names.values())) == len(cases)


def test_a_case_says_no_more_than_tells_it_from_the_others():
    names = shorten_cases(["b/u.py::test_x[1]", "b/v.py::test_x[1]", "b/v.py::test_x[2]"])
    assert list(names.values()) == ["u.py::test_x[1]", "v.py::test_x[1]", "x[2]"]


def test_the_image_of_the_other_side_of_a_comparison_is_named_as_its():
    assert describe_other("other side") == "the other side's image"
    assert describe_other("fp32-sync") == "the fp32-sync image"
