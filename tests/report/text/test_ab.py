import dataclasses
import json
import math

import pytest

from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.turns.comparing import compare
from sdperf.ab.verdict.comparison import CompareOptions, ProfiledPair
from sdperf.ab.verdict.judging import compute_stage_changes, judge_comparison
from sdperf.errors import RecordError
from sdperf.record.guard import Guard
from sdperf.record.stages import StageTimes
from sdperf.record.workload import ProgramFacts
from sdperf.report.markdown.ab import (
    compose_pictures,
    format_comparison_json,
    format_comparison_markdown,
    parse_comparison,
)
from sdperf.report.text.ab import describe_place, format_comparison, list_own_figures
from sdperf.stats.paired import compute_yuen_bounds
from tests.support.ab_fakes import FakeBench, side

OPTIONS = CompareOptions(guards="off")
PLAIN = (MatrixCase(),)
FASTER = {"seconds": 0.879, "stages": (0.1, 0.679, 0.1), "noise": 1.0}


def compared(b=None, options=OPTIONS, cases=PLAIN, **bench):
    sides = side("main", revision="a" * 40), side("HEAD", revision="b" * 40, subject="mine:make")
    world = FakeBench(**bench)
    world.behaviours = {"main": {}, "HEAD": b or {}}
    return compare(*sides, cases, options, bench=world)


def lines(record):
    return [line.text for line in format_comparison(record, judge_comparison(record))]


def with_packages(record):
    a = dataclasses.replace(record.a, packages={"torch": "2.13.0", "old": "1"})
    b = dataclasses.replace(record.b, packages={"torch": "2.14.1", "new": "1"})
    return dataclasses.replace(record, a=a, b=b)


def test_the_verdict_stands_in_one_line_above_the_stages():
    told = lines(compared(FASTER).record)
    (verdict,) = (line for line in told if line.endswith(": PASS"))
    assert verdict.startswith("B is 12.1 % faster (11.1 to 13.1), same memory, image: SSIM 0.9")
    stages = told[told.index(verdict) + 1 :]
    assert stages[0].split() == ["stage", "A", "B", "B", "saves", "time"]
    (denoise,) = (line for line in stages if "denoise  " in line)
    assert denoise.split()[1:7] == ["800", "ms", "679", "ms", "121", "ms"]
    assert stages[-1] == "  100 % of the gain is in denoise"
    assert told[0] == "A  main, commit aaaaaaaaaaaa, Python 3.11.7, torch 2.13.0"
    assert (
        "null control: A differs from itself by +0.0 % in 4 blocks (single ones +0.0 % to +0.0 %): "
        "within what they can tell"
    ) in " ".join(map(str.strip, told))


def test_packages_that_differ_are_listed_and_the_others_counted():
    told = lines(with_packages(compared().record))
    (torch,) = (line for line in told if line.startswith("  torch"))
    assert torch.split() == ["torch", "2.13.0", "2.14.1"]
    assert "  besides: 1 only in A, 1 only in B (--json and --markdown list them)" in told


def test_what_failed_says_what_to_do_next():
    told = lines(compared({"seconds": 1.2}).record)
    assert any(line.startswith("B is 20.0 % slower") and "SLOWER" in line for line in told)
    assert "    next: the stages below say where; sdperf bisect says when" in told


def test_a_void_comparison_judges_nothing():
    world = FakeBench()
    world.behaviours = {"main": {}, "HEAD": {}}
    world.second_a = {"seconds": 1.3}
    record = compare(side("main"), side("HEAD"), options=OPTIONS, bench=world).record
    told = lines(record)
    assert any(line.startswith("VOID  null control failed: the same code differs") for line in told)
    assert json.loads(format_comparison_json(record))["verdict"]["void"].startswith("the same code")


def test_disturbed_blocks_guards_and_notes_are_told_once():
    record = compared(
        options=CompareOptions(null_control=False), disturbed=["it got hot", "it got hot"]
    ).record
    hot = Guard("load", "fail", "3 per core", "other work takes processors")
    told = lines(dataclasses.replace(record, guards=(hot,), notes=("a note",)))
    assert "discarded and measured again: 2 blocks: it got hot" in told
    assert "guard fail  load: 3 per core: other work takes processors" in told
    assert told.count("note: a note") == 1


def test_several_cases_are_counted():
    cases = (MatrixCase(), MatrixCase("stage", stage="denoise"))
    assert lines(compared(cases=cases).record)[-1] == "2 cases: 2 PASS"


@pytest.mark.parametrize(
    ("b", "place"),
    [
        ({}, None),
        ({"seconds": 0.8, "stages": (0.1, 0.6, 0.1)}, "100 % of the gain is in denoise"),
        ({"seconds": 1.3, "stages": (0.35, 0.85, 0.1)}, "83 % of the loss is in encode_prompt"),
        (
            {"seconds": 1.3, "stages": (0.2, 0.9, 0.2)},
            "the difference is spread over the stages",
        ),
        (
            {"seconds": 0.8, "stages": (0.1, 0.9, 0.1)},
            "the profiled rounds do not show this difference: no stage is named",
        ),
        (
            {"seconds": 0.8, "stages": (0.1, 0.77, 0.1)},
            "the profiled rounds do not show this difference: no stage is named",
        ),
    ],
)
def test_the_place_of_a_difference_is_told_where_the_profiles_show_it(b, place):
    assert describe_place(judge_comparison(compared(b).record).cases[0]) == place


def test_json_comes_back_whole():
    record = with_packages(compared(FASTER, CompareOptions(b_first=True)).record)
    text = format_comparison_json(record)
    assert parse_comparison(text) == record
    verdict = json.loads(text)["verdict"]["cases"][0]
    assert verdict["ratio"]["mean"] == pytest.approx(0.879)
    assert verdict["stages"][2]["saved_s"] == pytest.approx(0.121)


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: "no json",
        lambda document: "[]",
        lambda document: json.dumps(document | {"kind": "other"}),
        lambda document: json.dumps(document | {"format_version": 2}),
        lambda document: json.dumps(document | {"cases": 3}),
        lambda document: json.dumps(document).replace('"ABBA"', "7"),
    ],
)
def test_a_damaged_record_is_refused(damage):
    document = json.loads(format_comparison_json(compared().record))
    with pytest.raises(RecordError):
        parse_comparison(damage(document))


def test_markdown_has_verdict_stages_images_and_packages():
    record = with_packages(compared(FASTER).record)
    text = format_comparison_markdown(record, judge_comparison(record))
    assert text.startswith("# main against HEAD: PASS\n")
    assert "\n**B is 12.1 % faster \\(11.1 to 13.1\\), same memory, image: SSIM 0.9" in text
    assert "| denoise | 800 ms | 679 ms | 121 ms | -15.1 % (" in text
    assert "\n100 % of the gain is in denoise.\n" in text
    assert "| red apple, seed 0 | 0." in text
    assert "| old | 1 | - |\n" in text


def test_pictures_lay_both_sides_and_their_difference_beside_each_other():
    found = compared(FASTER)
    names = [name for name, _ in compose_pictures(found.record, found.pngs)]
    assert names == ["case1-image1.png", "case1-image2.png"]
    assert all(png.startswith(b"\x89PNG") for _, png in compose_pictures(found.record, found.pngs))


def test_a_program_says_who_it_is_in_place_of_our_packages():
    facts = ProgramFacts("toy", "1.2.3", "hashes", "cpu", versions={"mlx": "0.32.2"})
    record = compared({"program": facts}).record
    assert record.b.program == facts
    assert parse_comparison(format_comparison_json(record)).b.program == facts
    told = lines(record)
    assert (
        "B  HEAD, commit bbbbbbbbbbbb, mine:make, toy 1.2.3 (hashes on cpu), mlx 0.32.2" in told[1]
    )
    assert any(line.startswith("A  embedded: ") for line in told)
    assert any(line.startswith("B  hashes: ") for line in told)


def test_a_program_is_said_to_be_asked_only_what_was_asked_for_and_it_can_be_told():
    facts = ProgramFacts("toy", "1.2.3", "hashes", "cpu", accepts=("steps", "size"))
    world = FakeBench()
    world.behaviours = {name: {"program": facts} for name in ("one", "two")}
    sides = side("one", left_open=frozenset({"guidance_scale"})), side("two")
    found = compare(*sides, PLAIN, OPTIONS, bench=world).record
    told = lines(found)
    assert "A  hashes: 4 steps, 64 x 64 px, on cpu" in told
    assert any(
        line.startswith("B  hashes: 4 steps, guidance 3, 64 x 64 px, on cpu") for line in told
    )
    assert found.a.workload.guidance_scale is None
    assert found.notes == ("B: without effect: guidance 3: toy cannot be told",)
    markdown = format_comparison_markdown(found, judge_comparison(found))
    assert "- A draws hashes: 4 steps, 64 x 64 px, on cpu\n" in markdown
    assert "B: without effect: guidance 3: toy cannot be told" in markdown
    assert "embedded" not in markdown


def test_the_markdown_says_which_guards_worried_as_the_terminal_does():
    record = compared().record
    guards = (
        Guard("cpu_load", "warn", "9 of 2", "the processor is busy"),
        Guard("heat", "ok", None, "cool"),
    )
    record = dataclasses.replace(record, guards=guards)
    text = format_comparison_markdown(record, judge_comparison(record))
    assert "the processor is busy" in text
    assert "heat" not in text
    assert "64 x 64 px" in text


def test_a_programs_own_seconds_stand_beside_ours_with_the_difference():
    record = compared({"own": 0.75}).record
    (case,) = record.cases
    assert case.own_a_s == ()
    assert set(case.own_b_s) == {0.75}
    said = "a round of B takes 1.00 s, 750 ms by its own figure: difference +250 ms"
    assert list_own_figures(case) == [said]
    assert f"  {said}" in lines(record)
    assert said[1:] in format_comparison_markdown(record, judge_comparison(record))
    assert parse_comparison(format_comparison_json(record)).cases[0].own_b_s == case.own_b_s


def test_a_program_that_tells_no_stages_is_compared_without_them():
    record = compared({"seconds": 2.0}).record
    (case,) = record.cases
    told = StageTimes(1.0, 0.1, denoise_s=0.8, decode_latents_s=0.05)
    pair = ProfiledPair("AB", told, StageTimes(2.0, whole_s=2.0))
    case = dataclasses.replace(case, profiles=(pair, pair))
    assert compute_stage_changes(case) == ()
    said = lines(dataclasses.replace(record, cases=(case,)))
    assert any(line.startswith("SLOWER  +100.0 %") for line in said)
    assert not any("denoise" in line or "below" in line for line in said)
    assert "    next: no stage is known of both sides; sdperf bisect says when" in said


def test_a_stage_that_a_pair_of_processes_moves_is_not_said_to_differ():
    """Eighteen blocks are six pairs of processes, within which all rounds agree."""
    record = compared().record
    lives = (0.9, 1.02, 0.88, 0.95, 0.92, 1.01)
    pairs = tuple(
        ProfiledPair("AB", StageTimes(1.0, denoise_s=1.0), StageTimes(s, denoise_s=s))
        for s in lives
        for _ in range(3)
    )

    def bound(profiles):
        case = dataclasses.replace(record.cases[0], profiles=profiles)
        return compute_stage_changes(case)[0].bounds

    assert bound(pairs[:3]) is None
    assert bound(pairs[:4]).degrees_of_freedom == 1
    bounds = bound(pairs)
    assert bounds.degrees_of_freedom == 5
    assert bounds.lower < 0 < bounds.upper
    logs = [math.log(one.b.denoise_s) for one in pairs]
    assert compute_yuen_bounds(logs, 0.025).upper < 0


def with_profiles(*seconds):
    """A comparison whose profiled rounds have these seconds, and the rounds."""
    record = compared().record
    pairs = tuple(
        ProfiledPair("AB", *(StageTimes(s, denoise_s=s) for s in both)) for both in seconds
    )
    case = dataclasses.replace(record.cases[0], profiles=pairs)
    return dataclasses.replace(record, cases=(case,)), pairs


def test_a_change_of_a_stage_that_an_interval_does_not_support_is_a_dash():
    record, _ = with_profiles((1.0, 1.9), (2.0, 2.1), (2.2, 1.9), (2.0, 9.0))
    bounds = compute_stage_changes(record.cases[0])[0].bounds
    assert bounds.upper - bounds.lower > 2 * math.log(2)
    text = "\n".join(lines(record))
    markdown = format_comparison_markdown(record, judge_comparison(record))
    (row,) = (line for line in text.splitlines() if line.startswith("  denoise"))
    assert row.split()[-1] == "-"
    (row,) = (line for line in markdown.splitlines() if line.startswith("| denoise"))
    assert row.split("|")[-2].strip() == "-"
    for told in (" ".join(text.split()), markdown):
        assert "its interval is wider than a factor of two either way" in told
        assert "surer where the two disagree" not in told
    ratio = json.loads(format_comparison_json(record))["verdict"]["cases"][0]["stages"][0]["ratio"]
    assert ratio["upper"] > ratio["mean"] > ratio["lower"]


def test_seconds_and_change_of_a_stage_are_told_apart_since_they_can_disagree():
    """B's median is the lower one, and its rounds took longer than their partners by the mean."""
    record, pairs = with_profiles((1.0, 1.19), (1.1, 1.11), (1.2, 1.06), (1.1, 1.08))
    case = record.cases[0]
    (denoise, *_) = compute_stage_changes(case)
    assert denoise.saved_s > 0
    assert denoise.bounds.mean > 0
    said = (
        "seconds are medians of all profiled rounds; the change of time comes from rounds in pairs"
    )
    told = " ".join(" ".join(lines(record)).split())
    assert told.count(f"{said} and is surer where the two disagree") == 1
    assert told.index("denoise") < told.index(said)
    assert said[1:] in format_comparison_markdown(record, judge_comparison(record))
    once = dataclasses.replace(record, cases=(dataclasses.replace(case, profiles=pairs[:1]),))
    assert said not in " ".join(" ".join(lines(once)).split())
