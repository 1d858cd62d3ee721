"""The check of an adapter: green for an honest toy, red for each cheat, for a reason of its own.

The toy counts its work, and the test takes the count for the time: nothing here depends on how fast
the machine is.
"""

import sys
import time
from pathlib import Path

import pytest

from sdperf.engines.external.check.trying import CheckBench, CheckRequest, check_program
from sdperf.engines.external.naming import NamedCommand
from tests.support import external_toy

TOY = Path(external_toy.__file__)


@pytest.fixture
def check(tmp_path):
    counted = tmp_path / "work"
    counted.touch()

    def read_s(program=None):
        return counted.stat().st_size * external_toy.UNIT_S

    def run(fault, *, size=(128, 128), takes="", **more):
        command = (sys.executable, "-S", str(TOY), "--clock", str(counted), "--fault", fault)
        command = (*command, "--takes", takes)
        rests = tmp_path / "work.rests"

        def rest(seconds):
            """Let the toy finish what it has put off, if it has."""
            if fault == "early":
                rests.touch()
                while rests.exists():
                    time.sleep(0.01)

        bench = CheckBench(read_s, read_s, rest)
        return check_program(CheckRequest(NamedCommand("toy", command), size=size, **more), bench)

    return run


def broken(result):
    return {one.name: one.words for one in result.clauses if one.state == "broken"}


def test_an_honest_program_keeps_every_clause(check):
    result = check("")
    assert {one.name: one.state for one in result.clauses} == dict.fromkeys(
        (
            "a seed repeats",
            "seeds and prompts differ",
            "every picture is drawn",
            "steps are executed",
            "pictures are drawn in their size",
            "the work ends before the answer",
            "its own time is honest",
            "it ends when it is told",
            "standard output",
        ),
        "kept",
    )
    words = {one.name: one.words for one in result.clauses}
    assert "3 times the steps take 3.00 times as long" in words["steps are executed"]
    assert "4.00 times as fast" in words["pictures are drawn in their size"]
    assert result.pictures == 23


@pytest.mark.parametrize(
    ("cheat", "clause", "said"),
    [
        ("memo", "every picture is drawn", "it is answered from memory"),
        ("fewer-steps", "steps are executed", "drew one picture: fewer are executed"),
        ("early", "the work ends before the answer", "it answers before its work is done"),
        ("other-seed", "seeds and prompts differ", "another seed than it was told"),
        ("enlarged", "pictures are drawn in their size", "scaled up from 64 x 64 px by nearest"),
        ("counted-seed", "a seed repeats", "seed 1 twice drew two pictures"),
        ("told-steps", "steps are executed", "asked for 4 steps, executed 3 by its own word"),
        ("boast", "its own time is honest", "it tells"),
        ("bad-exit", "it ends when it is told", "exit code 1 after stop"),
        ("child", "it ends when it is told", "processes that went on after its end: "),
        ("daemon", "it ends when it is told", "processes that went on after its end: 1"),
        ("noise", "the contract", "Loading pipeline components"),
        ("size", "the contract", "asked for 128 x 128 px, drawn 136 x 128 px"),
    ],
)
def test_each_cheat_is_red_for_its_own_reason(check, cheat, clause, said):
    found = broken(check(cheat))
    assert list(found) == [clause]
    assert said in found[clause]


def test_a_small_size_that_cannot_be_told_is_found_without_naming_one(check):
    found = broken(check("one-size", size=None))
    assert list(found) == ["the contract"]
    assert "asked for 128 x 128 px, drawn 64 x 64 px" in found["the contract"]
    assert broken(check("", size=None)) == {}


USED = "the picture that it starts from is used"


def test_a_program_that_takes_a_picture_is_tried_with_several(check):
    result = check("", takes="picture mask strength")
    assert broken(result) == {}
    words = {one.name: one.words for one in result.clauses}[USED]
    assert words.startswith("a house and its middle at strength 0.3, its mirrored negative and ")
    assert "a house and its middle at strength 0.9, " in words
    assert "a house and all but its middle at strength 0.9, the prompt alone: each drew" in words
    assert result.pictures == 31
    drawn = {one.name: one.words for one in result.clauses}["every picture is drawn"]
    assert "; a new one that starts from a picture " in drawn
    alone = {one.name: one.words for one in check("", takes="picture").clauses}[USED]
    assert alone == (
        "a house, its mirrored negative, the prompt alone: each drew another picture, as near to "
        "what it was drawn from as it should be"
    )


@pytest.mark.parametrize(
    ("cheat", "said"),
    [
        ("ignores-picture", "its middle at strength 0.3 and its mirrored negative and its middle "),
        ("ignores-mask", "its middle at strength 0.9 and a house and all but its middle at "),
        ("ignores-strength", "at strength 0.3 and a house and its middle at strength 0.9 drew one"),
        ("fickle-picture", "a house and its middle at strength 0.3 twice drew two pictures"),
        ("salted", "no nearer to their own than to the other one: "),
        ("byte-lengths", "no nearer to their own than to the other one: "),
        ("salted-mask", "a house outside of its middle, which the mask keeps, is no nearer to the"),
        ("inverted-mask", "which the mask keeps, is no nearer to the original than drawn again: "),
        ("inverted-strength", "a house at strength 0.3 is no nearer to the original than at 0.9: "),
    ],
)
def test_a_part_of_the_picture_that_is_ignored_or_misused_is_red(check, cheat, said):
    found = broken(check(cheat, takes="picture mask strength"))
    assert list(found) == [USED]
    assert said in found[USED]


@pytest.mark.parametrize("takes", ["picture", "picture mask strength"])
def test_a_picture_from_memory_is_red_where_only_those_from_pictures_are_kept(check, takes):
    found = broken(check("memo-picture", takes=takes))
    assert list(found) == ["every picture is drawn"]
    assert "one that starts from a picture" in found["every picture is drawn"]
    assert found["every picture is drawn"].endswith("it is answered from memory")


def test_a_picture_that_is_ignored_is_red_where_nothing_else_can_be_told(check):
    found = broken(check("ignores-picture", takes="picture"))
    assert found == {
        USED: "a house and its mirrored negative drew one picture: a part of it is ignored"
    }


def test_a_program_that_needs_a_picture_is_never_asked_without_one(check):
    assert broken(check("", takes="picture strength", needs_picture=True)) == {}
    found = broken(check("needs-picture", takes="picture strength"))
    assert "where is the picture?" in found["the contract"]
    assert broken(check("needs-picture", takes="picture strength", needs_picture=True)) == {}
