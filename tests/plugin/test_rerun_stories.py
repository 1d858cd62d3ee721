"""A plugin that runs failed tests again: the last run of a case counts, and that is said."""

import json

from sdperf.store.runs import read_run

FLAKY = """
made = []

def test_latency(sd_benchmark):
    measured = sd_benchmark.latency()
    made.append(measured)
    assert len(made) > {failures}

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()
"""
BEFORE_MEASURING = """
made = []

def test_latency(sd_benchmark):
    made.append(1)
    assert len(made) > 1
    sd_benchmark.latency()
"""
SOUNDNESS = """
made = []

def test_soundness(sd_quality):
    sd_quality.soundness()
    made.append(1)
    assert len(made) > 1
"""


def test_a_case_that_passes_when_it_is_run_again_counts_once(bench, pytester, unwatched):
    pytester.makepyfile(test_bench=FLAKY.format(failures=1))
    run = bench("--reruns=1", "--benchmark-autosave", history=None)
    assert run.parseoutcomes() == {"passed": 2, "rerun": 1}
    assert run.ret == 0
    run.stdout.fnmatch_lines(
        ["latency*NO BASELINE", "throughput*NO BASELINE", "2 cases: 2 NO BASELINE"]
    )
    run.stdout.fnmatch_lines(["repeated: 1 case took 2 runs (latency*), and the last of each*"])
    assert "was not kept" not in run.stdout.str()
    for path in (
        pytester.path / ".sdperf/last-run.json",
        *pytester.path.glob(".benchmarks/*/*.json"),
    ):
        names = [one["fullname"] for one in json.loads(path.read_text())["benchmarks"]]
        assert len(names) == len(set(names)) == 2, path
    summary = read_run(pytester.path / ".sdperf/last-run.json").summary
    assert set(summary.outcomes.values()) == {"NO BASELINE"}
    assert summary.repeated == {"test_bench.py::test_latency[fp32-sync-1w]": 1}


def test_a_case_that_fails_every_time_is_broken_once(bench, pytester, unwatched):
    pytester.makepyfile(test_bench=FLAKY.format(failures=9))
    run = bench("--reruns=2")
    assert run.parseoutcomes() == {"passed": 1, "failed": 1, "rerun": 2}
    assert run.ret == 1
    run.stdout.fnmatch_lines(["2 cases: 1 BROKEN, 1 NO BASELINE"])
    run.stdout.fnmatch_lines(["repeated: 1 case took 3 runs (latency*"])


def test_a_case_that_failed_before_it_measured_is_no_longer_broken(bench, pytester, unwatched):
    pytester.makepyfile(test_bench=BEFORE_MEASURING)
    run = bench("--reruns=1")
    assert run.ret == 0
    run.stdout.fnmatch_lines(["1 case*: 1 NO BASELINE"])


def test_a_case_of_the_quality_suite_counts_by_its_last_run_too(bench, pytester):
    pytester.makepyfile(test_bench=SOUNDNESS)
    run = bench("--reruns=1")
    assert run.ret == 0
    run.stdout.fnmatch_lines(["1 case*: 1 PASS"])


def test_the_first_case_of_a_pipeline_may_be_run_again_where_order_is_watched(
    bench, hosts, pytester
):
    pytester.makepyfile(test_bench=FLAKY.format(failures=1))
    run = bench("--reruns=1", spawned=True, workers=1, guards="warn")
    assert run.ret == 0
    run.stdout.fnmatch_lines(["2 cases: 2 NO BASELINE"])
