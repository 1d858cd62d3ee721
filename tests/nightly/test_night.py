import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdperf.cli import make_parser
from sdperf.cli.bisect.question import read_question
from sdperf.errors import RecordError
from sdperf.nightly.__main__ import main
from sdperf.nightly.deciding import BadCase
from sdperf.nightly.night import (
    ALL_CASES,
    LARGEST_NIGHT_BYTES,
    Night,
    NightAnswer,
    format_night,
    parse_night,
)
from sdperf.nightly.noting import note_night
from sdperf.nightly.wording import suggest_command
from sdperf.record.verdict import Outcome
from sdperf.store.runs import read_run
from tests.support.saved_runs import CASE, write_run

NIGHT = Night(
    {
        "a": NightAnswer("SLOWER", "1.20 s against 1.00 s", ("--for", "speed")),
        "b": NightAnswer("PASS"),
    }
)
answers = st.builds(
    NightAnswer,
    st.sampled_from([one.value for one in Outcome]),
    st.text(max_size=300),
    st.lists(st.text(max_size=20), max_size=5).map(tuple),
)


@given(
    st.dictionaries(st.text(min_size=1, max_size=50), answers, max_size=5),
    st.none() | st.text(max_size=300),
)
def test_a_night_is_read_as_it_was_written(cases, reason):
    night = Night(cases, reason)
    assert parse_night(format_night(night).encode(), date="2026-11-30").cases == cases


texts = st.text(st.characters(), max_size=20)  # surrogates too, as damaged names bring them
long_texts = st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 40, 400]))
wild_answers = st.builds(
    NightAnswer,
    st.sampled_from([*(one.value for one in Outcome), "WORSE", ""]),
    long_texts,
    st.lists(long_texts, max_size=50).map(tuple),
)


@given(
    st.dictionaries(long_texts, wild_answers, max_size=8),
    st.none() | long_texts,
    st.sampled_from([1, 30, 1500]),
)
@settings(max_examples=20, deadline=None)
def test_what_is_written_can_always_be_read(cases, reason, times):
    many = {f"{name}{n or ''}": answer for n in range(times) for name, answer in cases.items()}
    read = parse_night(format_night(Night(many, reason)).encode())
    assert len(read.cases) + read.left_out == len(many)
    is_known = {one.value for one in Outcome}
    bad = [one for one in many.values() if one.is_bad]
    assert len(read.list_bad()) == len(bad) or not any(
        not one.is_bad for one in read.cases.values()
    )
    assert all(one.outcome in is_known for one in read.cases.values())


def test_what_has_no_room_leaves_out_words_first_then_cases_that_are_not_worse():
    words = ("--for", "speed", "--set", "x" * 480)
    worse = {f"worse{n}": NightAnswer("SLOWER", "r" * 100, words) for n in range(1500)}
    night = parse_night(format_night(Night(worse)).encode())
    assert (len(night.cases), night.left_out) == (1500, 0)
    assert {one.bisect for one in night.cases.values()} == {()}
    well = {f"well{n}": NightAnswer("PASS") for n in range(6000)}
    night = parse_night(format_night(Night(well | worse)).encode())
    assert len(night.list_bad()) == 1500
    assert (len(night.cases), night.left_out) == (5000, 2500)


def test_a_long_name_or_word_does_not_cost_the_night():
    one, other = ("t.py::test[" + "x" * 600 + end for end in "ab")
    long = NightAnswer("SLOWER", "", ("--set", "negative_prompt=" + "y" * 500))
    night = parse_night(format_night(Night({one: long, other: NightAnswer("PASS")})).encode())
    first, second = night.cases
    assert first != second
    assert {len(name) for name in night.cases} == {500}
    assert night.cases[first] == NightAnswer("SLOWER")


def damage(**changes):
    document = json.loads(format_night(NIGHT)) | changes
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b" " * (LARGEST_NIGHT_BYTES + 1),
        damage(sdperf_night=2),
        damage(open=3),
        damage(open="x" * 301),
        damage(cases=[]),
        damage(left_out=-1),
        damage(left_out="1"),
        damage(cases={"": {"outcome": "PASS", "reason": "", "bisect": []}}),
        damage(cases={"a": 3}),
        damage(cases={"a": {"outcome": "WORSE", "reason": "", "bisect": []}}),
        damage(cases={"a": {"outcome": ["PASS"], "reason": "", "bisect": []}}),
        damage(cases={"a": {"outcome": "PASS", "reason": math.pi, "bisect": []}}),
        damage(cases={"a": {"outcome": "PASS", "reason": "", "bisect": "rm -r"}}),
        damage(cases={"a": {"outcome": "PASS", "reason": "", "bisect": ["x"] * 41}}),
        damage(cases={str(n): {"outcome": "PASS"} for n in range(5001)}),
    ],
)
def test_a_file_that_says_what_no_night_says_is_refused(content):
    with pytest.raises(RecordError):
        parse_night(content)


def note(tmp_path, **summary):
    out = tmp_path / "night" / "night.json"
    assert main(["note", str(write_run(tmp_path, **summary)), str(out)]) == 0
    return parse_night(out.read_bytes())


def test_a_run_leaves_the_answer_of_each_case_and_what_to_ask(tmp_path):
    night = note(tmp_path, outcomes={CASE: "SLOWER", "quality": "PASS"}, suite="SLOWER")
    assert night.is_judged
    assert night.list_bad() == [CASE, ALL_CASES]
    assert night.cases["quality"] == NightAnswer("PASS", "the run itself said so")
    words = night.cases[CASE].bisect
    assert words[:4] == ("--for", "speed", "--cases", "latency[fp32-sync-1w]")


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ({"void": "the machine is unfit"}, "void: the machine is unfit"),
        ({"interrupted": True}, "it was interrupted"),
    ],
)
def test_a_run_that_says_nothing_is_an_open_night_whatever_its_cases_came_to(
    tmp_path, summary, reason
):
    night = note(tmp_path, outcomes={CASE: "SLOWER"}, **summary)
    assert (night.open, night.cases) == (reason, {})


def test_a_run_that_is_missing_or_damaged_is_an_open_night(tmp_path, capsys):
    out = tmp_path / "night.json"
    assert main(["note", str(tmp_path / "none.json"), str(out)]) == 0
    assert "no run that can be read" in parse_night(out.read_bytes()).open
    (tmp_path / "folder").write_text("in the way")
    assert main(["note", str(tmp_path / "none.json"), str(tmp_path / "folder" / "x.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "aspect"),
    [("SLOWER", "speed"), ("HEAVIER", "memory"), ("DEGRADED", "image"), ("BROKEN", "image")],
)
def test_the_words_to_ask_with_are_those_that_bisect_takes(tmp_path, outcome, aspect):
    words = note_night(read_run(write_run(tmp_path, outcomes={CASE: outcome}))).cases[CASE].bisect
    assert words[words.index("--for") + 1] == aspect
    answer = NightAnswer(outcome, "", words)
    row = Night({CASE: answer}, commit="b" * 40)
    case = BadCase(CASE, (row,) * 3, Night({CASE: NightAnswer("PASS")}, commit="a" * 40))
    assert suggest_command(case).startswith(f"sdperf bisect {'a' * 12} {'b' * 12} --for {aspect}")
    asked = make_parser(["bisect"]).parse_args(["bisect", *words])
    asked.python_package = ["torch==2.12.0", "torch==2.13.0"]
    question = read_question(asked, tmp_path)
    assert question.aspects == (aspect,)
    assert [case.kind for case in question.cases] == ["latency"]
