"""Sessions of a program that draws: measured, judged by its own pictures, and never the others'."""

import fnmatch
import json
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.support import external_toy

SCHEMA = Path(__file__).parents[2] / "docs" / "format.schema.json"
TOY = f"{sys.executable} -S {Path(external_toy.__file__)}"


@pytest.fixture
def draw(bench):
    """Run benchmarks with the toy as the engine."""

    def run(*arguments, fault="", noise="", takes="", cases="", **changes):
        said = {"fault": fault, "noise": noise, "takes": takes, "cases": cases}
        more = "".join(f" --{name} {value}" for name, value in said.items() if value)
        settings = {"steps": 3, "guidance": "none", "size": "64x64"} | changes
        return bench(*arguments, f"--sd-engine=external:toy={TOY}{more}", **settings)

    return run


def read_records(pytester):
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    return [one["extra_info"]["sdperf"] for one in document["benchmarks"]]


def test_a_program_is_measured_and_says_who_it_is(draw, pytester):
    result = draw()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "without effect: fp32: toy runs in its own *",
            "*latency*fp32*external-*NO BASELINE",
            "external-toy: toy 1.2.3, python *; hashes on cpu",
            "*ours*its own*difference*",
        ]
    )
    for record in read_records(pytester):
        jsonschema.validate(record, json.loads(SCHEMA.read_text()))
        assert record["engine"]["program"]["version"] == "1.2.3"
        assert record["engine"]["own_load_s"] == 0.01
        assert record["execution"]["steps"] == 3
        assert len(record["rounds_own_s"]) == len(record["rounds_s"])
        for own_s, ours_s in zip(record["rounds_own_s"], record["rounds_s"], strict=True):
            assert 0 < own_s < ours_s
        assert record["memory"]["peak_rss_bytes"] > 2**20
        assert record["stages"]["denoise_s"] > record["stages"]["decode_latents_s"] > 0
        assert record["images"][0]["scores"] == []


def test_what_was_left_open_and_cannot_be_told_is_neither_asked_for_nor_shown(draw, pytester):
    result = draw("-k", "latency", "--sd-html=report.html", guidance=None)
    result.assert_outcomes(passed=1)
    assert "guidance" not in result.stdout.str()
    result.stdout.fnmatch_lines(["toy 1.2.3 with hashes on cpu*: 3 steps, 64 x 64 px"])
    assert read_records(pytester)[0]["workload"]["guidance_scale"] is None
    page = (pytester.path / "report.html").read_text()
    assert "hashes" in page
    assert "<dd>embedded" not in page
    typed = draw("-k", "latency", guidance=7)
    typed.stdout.fnmatch_lines(
        ["*: 3 steps, guidance 7, 64 x 64 px", "without effect: guidance 7: toy cannot be told"]
    )


def test_only_what_was_left_open_and_could_be_told_is_asked_for(draw, bench):
    refused = draw("-k", "latency", guidance=None, takes="guidance")
    told = " ".join(refused.stdout.str().split())
    assert "toy draws with a model of its own, and guidance was left open: that of " in told
    assert "got: guidance 7.5; do: say how it is sampled: --sd-guidance X (or none)" in told
    assert "--sd-steps" not in told


def test_a_program_that_draws_with_the_model_that_it_is_told_is_sampled_as_that_is(draw):
    result = draw("-k", "latency", guidance=None, takes="guidance+model")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*: 3 steps, guidance 7.5 (defaults of*"])


def test_a_process_that_draws_for_several_cases_is_told_where_the_next_one_begins(draw, pytester):
    asked = pytester.path / "asked"
    draw(cases=asked).assert_outcomes(passed=2)
    pids, told = zip(*(line.split() for line in asked.read_text().splitlines()), strict=True)
    assert len(set(pids)) == 1
    assert list(told) == sorted(told)
    assert set(told) == {"1", "2"}


def test_its_pictures_are_compared_with_its_own_earlier_ones(draw, pytester):
    assert draw("--benchmark-autosave").ret == 0
    same = draw("--benchmark-compare", max_slowdown="100000%")
    assert same.ret == 0
    other = draw("--benchmark-compare", noise="update", max_slowdown="100000%")
    assert other.ret == 1
    other.stdout.fnmatch_lines(["*against the baseline, floor*", "2 cases: 2 DEGRADED"])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("crash", "*ended during a picture; got: exit code 7*out of crayons*"),
        ("no-png", "*delivered what is no picture*"),
        ("nan", "*NaN or infinity among the pixel values*"),
        ("told-steps", "*asked for 3 steps, executed 2*"),
    ],
)
def test_a_fault_is_broken_in_one_message_and_the_next_case_runs(draw, fault, said):
    result = draw(fault=fault)
    assert result.ret == 1
    result.assert_outcomes(failed=2)
    told = " ".join(result.stdout.str().split())  # long messages are wrapped
    assert fnmatch.fnmatchcase(told, said)
    assert "2 cases: 2 BROKEN" in told
    assert "Traceback" not in result.stdout.str()


def test_what_a_program_cannot_do_is_skipped_with_the_reason(draw, pytester):
    pytester.makepyfile(
        test_bench="""
def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_components(sd_quality):
    sd_quality.components()

def test_trajectory(sd_quality):
    sd_quality.trajectory()

def test_soundness(sd_quality):
    sd_quality.soundness()

def test_batch(sd_quality):
    sd_quality.batch()
"""
    )
    result = draw(mode="sync,async")
    result.assert_outcomes(passed=3, skipped=3)
    result.stdout.fnmatch_lines(["sdperf latency?fp32-async-1w-external-toy?: skipped (*"])
    result.stdout.no_fnmatch_line("*: failed (*")
    result.stdout.fnmatch_lines(["toy * with * on cpu (*): *"])
    result.stdout.fnmatch_lines(
        [
            "skipped: 1 x toy takes one request at a time: nothing can overlap; 1 x cannot be*",
            "*shows no components*",
            "*shows no latents*",
        ]
    )


def test_its_suite_of_pictures_is_compared_with_its_own_accepted_ones(draw, accept, pytester):
    pytester.makepyfile(
        test_own="""
        def test_latency(sd_benchmark):
            sd_benchmark.latency()

        def test_images(sd_quality):
            sd_quality.images()
        """
    )
    ours = ("test_own.py", "--benchmark-autosave")
    first = draw(*ours)
    first.stdout.fnmatch_lines(["*8 of 8 images have no accepted image to be compared with*"])
    assert accept() == 0
    draw(*ours).stdout.fnmatch_lines(["images*8 images identical to the accepted*PASS"])
    result = draw(*ours, noise="new")
    result.stdout.fnmatch_lines(["*images*DEGRADED*"])
    assert result.ret == 1


def test_a_picture_reaches_a_program_that_takes_one(draw, pytester):
    draw("-k", "latency", takes="picture+strength", task="image-to-image").assert_outcomes(
        passed=1, deselected=1
    )
    (record,) = read_records(pytester)
    assert record["workload"]["picture"]["task"] == "image-to-image"
    assert record["execution"]["steps"] == 2  # of 3 at the strength of the model's class, 0.8


def test_a_program_that_takes_requests_ahead_is_measured_in_async(draw):
    draw("-k", "throughput", fault="queue", mode="async").assert_outcomes(passed=1, deselected=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": None}, "*and steps were left open: *; do: say how it is sampled: --sd-steps N*"),
        (
            {"steps": None, "guidance": None, "takes": "guidance"},
            "*and steps and guidance were left open: *: --sd-steps N --sd-guidance X (or none)*",
        ),
        (
            {"subject": "json:dumps"},
            "*a program of yours draws its own pictures and takes no code*",
        ),
        ({"optimisations": "channels_last"}, "*optimisations change a pipeline of diffusers*"),
        (
            {"task": "image-to-image"},
            "*the program toy draws from the prompt alone; got: image-to-image from the default*",
        ),
    ],
)
def test_what_does_not_go_with_a_program_is_refused(draw, changes, said):
    result = draw("-k", "latency", **changes)
    assert result.ret == 1
    assert fnmatch.fnmatchcase(" ".join(result.stdout.str().split()), said)
