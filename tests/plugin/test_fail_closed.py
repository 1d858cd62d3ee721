"""Nothing passes vacuously: each way to compare with nothing has a named answer."""

import json
import tomllib
from functools import partial
from pathlib import Path

import pytest
import pytest_benchmark

from sdperf.cli import main
from sdperf.errors import ConfigurationError
from sdperf.plugin.command_line import (
    OLDEST_HOST,
    check_host_version,
    check_swallowed_path,
    find_fault,
    list_compare_fail,
)
from tests.support.saved_runs import write_run
from tests.support.stories import accept_sessions

LATENCY = ("-k", "latency")


def saved(pytester):
    (path,) = pytester.path.glob(".benchmarks/*/*.json")
    return path


def accepted(pytester):
    (path,) = pytester.path.glob("benchmarks/baselines/*/*.json")
    return path


def test_a_swallowed_path_is_refused_before_anything_runs(bench, pytester):
    (pytester.path / "benchmarks").mkdir()
    refused = bench("--benchmark-compare", "benchmarks")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(
        ["ERROR: --benchmark-compare took the path*do: pytest benchmarks --benchmark-compare"]
    )
    assert bench("--benchmark-compare", "test_bench.py::test_latency").ret == 4
    empty = bench("--benchmark-compare=")
    assert empty.ret == 4
    empty.stderr.fnmatch_lines(["ERROR: --benchmark-compare= names no run*"])


def test_an_old_pytest_benchmark_is_refused_before_anything_is_measured(bench, script, monkeypatch):
    monkeypatch.setattr(pytest_benchmark, "__version__", "5.2.3")
    refused = bench(*LATENCY)
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: this pytest-benchmark is too old*5.2.3*5.3.1 or newer*"])
    assert script.rounds == 0


@pytest.mark.parametrize("version", ["5.3.1", "5.10.0", "6.0.0rc1"])
def test_newer_ones_are_taken(version):
    check_host_version(version)


def test_the_oldest_is_what_the_package_asks_for():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    oldest = ".".join(map(str, OLDEST_HOST))
    assert f"pytest-benchmark>={oldest},<6" in project["project"]["dependencies"]


def test_a_runs_name_is_no_swallowed_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    for compare in (True, [], "0001", "Linux-CPython-3.11-64bit/0001", "run.json", "gone.py"):
        check_swallowed_path(compare)
    (tmp_path / "tests").mkdir()
    with pytest.raises(ConfigurationError):
        check_swallowed_path("tests")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], []),
        (["--benchmark-compare-fail", "min:5%", "mean:1%", "-q"], [["min:5%", "mean:1%"]]),
        (
            ["--benchmark-compare-fail=min:5%", "x", "--benchmark-compare-fail=max:1%"],
            [["min:5%"], ["max:1%"]],
        ),
        (["--", "--benchmark-compare-fail=min:5%"], []),
    ],
)
def test_every_compare_fail_is_noted(arguments, found):
    assert list_compare_fail(arguments) == found


def test_two_compare_fails_both_count_and_nothing_regressed_is_saved(bench, script, pytester):
    bench(*LATENCY, "--benchmark-save=one")
    script.seconds[1] = 1.2
    both = bench(
        *LATENCY,
        "--benchmark-compare",
        "--benchmark-compare-fail=median:10%",
        "--benchmark-compare-fail=median:900%",
        "--benchmark-autosave",
    )
    assert both.ret == 1
    both.stdout.fnmatch_lines(["SLOWER  latency*--benchmark-compare-fail: Field 'median'*"])
    both.assert_outcomes(failed=1)
    assert "Traceback" not in both.stdout.str()
    assert len(list(pytester.path.glob(".benchmarks/*/*.json"))) == 1
    kept = bench(*LATENCY, "--benchmark-compare", "--benchmark-compare-fail=median:90%")
    assert kept.ret == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark-compare-fail=min:5%"], "nothing to compare with*--benchmark-compare"),
        (
            ["--benchmark-compare", "--benchmark-compare-fail=min:5%", "--benchmark-disable"],
            "judges times, and --benchmark-disable takes none",
        ),
        (["--benchmark-compare", "--benchmark-compare-fail=min:5%"], "there is no saved run to"),
        (["--benchmark-compare=0042"], "there is no saved run '0042' to compare with"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_before_anything_runs(bench, arguments, message):
    refused = bench(*arguments)
    assert refused.ret == 4
    refused.stderr.fnmatch_lines([f"ERROR: *{message}*"])
    assert "passed" not in refused.stdout.str()


def test_disabled_benchmarks_say_nothing_of_speed(bench, script):
    bench(*LATENCY, "--benchmark-save=one")
    script.seconds[1] = 99.0
    disabled = bench(*LATENCY, "--benchmark-compare", "--benchmark-disable")
    assert disabled.ret == 0
    disabled.stdout.fnmatch_lines(["INCONCLUSIVE*nothing is said of speed: --benchmark-disable*"])
    assert bench(*LATENCY, "--benchmark-compare", "--benchmark-disable", "--sd-strict").ret == 1


@pytest.mark.parametrize("compare", ["--benchmark-compare", "--benchmark-compare=0001"])
def test_a_truncated_run_is_refused_before_anything_runs(bench, script, pytester, compare):
    bench(*LATENCY, "--benchmark-save=one")
    saved(pytester).write_bytes(saved(pytester).read_bytes()[:500])
    refused = bench(*LATENCY, compare)
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: *0001_one.json is no JSON: truncated or damaged*"])


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document.pop("machine_info"),
        lambda document: document["benchmarks"][0].pop("fullname"),
        lambda document: document["benchmarks"][0]["stats"].pop("median"),
        lambda document: document.update(benchmarks=[[]]),
    ],
)
def test_a_hostile_run_is_refused_without_a_traceback(bench, script, pytester, edit):
    path = write_run(pytester.path, name="run.json")
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    refused = bench(*LATENCY, "--benchmark-compare=run.json")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: *run*"])
    assert "Traceback" not in refused.stdout.str() + refused.stderr.str()


@pytest.mark.parametrize("document", [None, [], {}, {"machine_info": {}}])
def test_what_is_no_run_is_named(document):
    assert find_fault(document) is not None


def test_nan_in_stats_is_incomparable(bench, script, pytester):
    bench(*LATENCY, "--benchmark-save=one")
    path = saved(pytester)
    document = json.loads(path.read_text())
    document["benchmarks"][0]["stats"]["stddev"] = float("nan")
    path.write_text(json.dumps(document))
    compared = bench(*LATENCY, "--benchmark-compare")
    compared.stdout.fnmatch_lines(["INCOMPARABLE  latency*its stats hold nan as stddev*"])
    assert bench(*LATENCY, "--benchmark-compare", "--sd-strict").ret == 1


def test_a_damaged_baseline_is_refused_before_anything_runs(bench, script, accept, pytester):
    accept_sessions(pytester, partial(bench, *LATENCY), accept, count=1)
    path = accepted(pytester)
    path.write_bytes(path.read_bytes()[:800])
    refused = bench(*LATENCY, "--benchmark-compare")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: *benchmarks/baselines/*truncated or damaged*"])


def test_a_missing_accepted_image_is_damage(bench, script, accept, pytester):
    accept_sessions(pytester, partial(bench, *LATENCY), accept, count=1)
    (image,) = accepted(pytester).parent.glob("images/*.png")
    image.unlink()
    compared = bench(*LATENCY, "--benchmark-compare")
    assert compared.ret == 4
    compared.stderr.fnmatch_lines(["ERROR: the accepted session * is damaged: the image *"])
    assert "SLOWER" not in compared.stdout.str()


def test_no_overlap_fails(bench, script, pytester, capsys):
    bench(*LATENCY, "--benchmark-save=one")
    pytester.makepyfile(test_bench="def test_speed(sd_benchmark):\n    sd_benchmark.latency()\n")
    renamed = bench("--benchmark-compare", "--sd-html=report.html")
    assert renamed.ret == 1
    page = (pytester.path / "report.html").read_text(encoding="utf-8")
    assert "no overlap: 0001_one.json holds no case of this run (1 case)" in page
    assert "Compared with no earlier run" not in page
    assert main(["replay", "report.html"]) == 1
    assert "no overlap: 0001_one.json holds no case of this run" in capsys.readouterr().out
    renamed.stdout.fnmatch_lines(
        [
            "no overlap: 0001_one.json holds no case of this run (1 case)*",
            "NO BASELINE  speed*no compared run holds this case",
            "in the baseline, but not run now: test_latency*",
        ]
    )


def test_a_renamed_case_among_others_is_named(bench, script, pytester):
    bench("--benchmark-save=one")
    pytester.makepyfile(
        test_bench="""
        def test_latency(sd_benchmark):
            sd_benchmark.latency()

        def test_rate(sd_benchmark):
            sd_benchmark.throughput()
        """
    )
    renamed = bench("--benchmark-compare")
    assert renamed.ret == 0
    renamed.stdout.fnmatch_lines(
        ["NO BASELINE  rate*no compared run*", "in the baseline, but not run now: test_throughput*"]
    )
    assert bench("--benchmark-compare", "--sd-strict").ret == 1


def test_another_workload_under_the_same_name_is_incomparable(bench, script, accept, pytester):
    accept_sessions(pytester, partial(bench, *LATENCY), accept, count=1)
    changed = bench(*LATENCY, "--benchmark-compare", steps=3)
    changed.stdout.fnmatch_lines(["INCOMPARABLE  latency*workload: steps was 2*"])


def test_an_interrupted_run_is_told_so_far_and_never_saved(bench, script, accept, pytester):
    pytester.makepyfile(
        test_bench="""
        import pytest

        def test_latency(sd_benchmark):
            sd_benchmark.latency()

        def test_endless():
            pytest.exit("as Ctrl-C would")
        """
    )
    interrupted = bench("--benchmark-autosave")
    assert interrupted.ret == 2
    interrupted.stdout.fnmatch_lines(
        [
            "1 case: 1 NO BASELINE",
            "interrupted: this is the verdict so far",
            "not saved: an interrupted run is never a baseline",
        ]
    )
    assert not list(pytester.path.glob(".benchmarks/*/*.json"))
    assert accept() == 2


def test_other_peoples_benchmarks_compare_as_ever(bench, script, accept, pytester):
    accept_sessions(pytester, partial(bench, *LATENCY), accept, count=1)
    pytester.makepyfile(
        test_bench="def test_it(benchmark):\n    benchmark.pedantic(sum, ((1,),))\n"
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--benchmark-save=theirs")
    compared = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--benchmark-compare")
    assert compared.ret == 0
    compared.stdout.fnmatch_lines(["*test_it (0001_theirs)*"])


def test_a_run_that_does_not_exist_is_answered_with_those_that_do(bench, script):
    bench(*LATENCY, "--benchmark-save=one")
    bench(*LATENCY, "--benchmark-save=two")
    refused = bench(*LATENCY, "--benchmark-compare=99")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(
        ["ERROR: *no saved run '99'*0001, 0002 in *do: pytest benchmarks --benchmark-compare=0002*"]
    )
