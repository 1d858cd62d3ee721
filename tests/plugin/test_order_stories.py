"""Life stories of the guard `order`, and of figures that contradict each other."""

import json

import pytest

CASES = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()

def test_denoise(sd_benchmark):
    sd_benchmark.stage("denoise")
"""
QUIET = {
    "available_share": 0.9,
    "swapped_out_bytes": 0,
    "load_per_core": 0.1,
    "niceness": 0,
}


def read_guards(pytester):
    document = json.loads((pytester.path / "run.json").read_text())
    return {
        benchmark["name"]: {
            guard["name"]: guard["state"]
            for guard in benchmark["extra_info"]["sdperf"]["guards"]["after"]
        }
        for benchmark in document["benchmarks"]
    }


@pytest.fixture
def cases(pytester, bench):
    pytester.makepyfile(test_bench=CASES)
    return bench


def test_the_first_case_is_measured_again_after_the_last_of_its_pipeline(cases, pytester, script):
    result = cases("--benchmark-json=run.json", guards="warn")
    result.assert_outcomes(passed=3)
    states = read_guards(pytester)
    assert [one["order"] for one in states.values()] == ["ok"] * 3
    result.stdout.no_fnmatch_line("*guard *  order*")


def test_a_case_that_moved_is_a_warning(cases, pytester, script):
    script.drift = lambda rounds: 1.0 if rounds <= 4 else 2.0
    result = cases("--benchmark-json=run.json", guards="warn")
    result.stdout.fnmatch_lines(["guard warn  order: +100.0 %: latency* moved while the cases*"])
    assert result.ret == 0
    assert [one["order"] for one in read_guards(pytester).values()] == ["warn"] * 3


def test_one_case_alone_and_guards_off_measure_nothing_again(cases, pytester, script):
    cases("-k", "latency", "--benchmark-json=run.json", guards="warn")
    assert "order" not in read_guards(pytester)["test_latency[fp32-sync-1w]"]
    alone, script.rounds = script.rounds, 0
    cases("-k", "latency", guards="off")
    assert script.rounds == alone
    script.rounds = 0
    cases("--benchmark-disable", guards="warn")
    assert script.rounds == 1 + 3  # a first call, and a round of each case


@pytest.mark.parametrize("leak", ["threads", "scheduler"])
def test_a_planted_leak_is_named_in_the_summary(cases, pytester, leak):
    subject = f"tests.support.leaking_subjects:{leak}"
    result = cases("-k", "latency", "--benchmark-json=run.json", guards="warn", subject=subject)
    words = {"threads": "torch's threads was 1 and is 3", "scheduler": "pipeline's scheduler was"}
    said = " ".join(line.strip() for line in result.outlines)
    assert "guard warn order: a round left its worker changed" in " ".join(said.split())
    assert words[leak] in said
    assert read_guards(pytester)["test_latency[fp32-sync-1w]"]["order"] == "warn"


def test_figures_that_contradict_each_other_are_named(cases, script):
    script.seconds = {1: 1.0, 2: 4.0}
    result = cases()
    said = " ".join(" ".join(result.outlines).split())
    assert "contradiction throughput[fp32-sync-1w]: takes 2.00 s an image" in said


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        ("half_size", "asked for 32 x 32 px, drawn 16 x 16 px"),
        ("fewer_steps", "asked for 2 steps (3 of this scheduler), executed 1"),
        ("bf16_inside", "asked for denoiser's weights in fp32, executed bf16"),
    ],
)
def test_other_work_than_asked_is_broken_with_both_values(cases, subject, fault, tiny_folder):
    subject = f"tests.support.deviating_subjects:{subject}"
    result = cases("-k", "latency", subject=subject, model=tiny_folder("sd"))
    assert result.ret == 1
    said = " ".join(" ".join(result.outlines).split())
    assert "BROKEN latency" in said
    assert fault in said
