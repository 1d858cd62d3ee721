"""A command that a message suggests measures what the session measured: it is typed here."""

import itertools
import json
import shlex

import pytest

from sdperf.cli import main
from tests.support.stories import accept_sessions

SUBJECT = """
def make(request):
    return request.load()
"""


def read_measured(pytester):
    """Return the records of the last run by test id, without what a repeat may change."""
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    kept = ("workload", "variant", "subject", "kind", "images_per_round")
    return {
        one["fullname"]: {name: one["extra_info"]["sdperf"].get(name) for name in kept}
        for one in document["benchmarks"]
    }


def find_suggested(result, first):
    """Return the words of the suggested command that begins so, as a failed test shows it."""
    lines = iter(result.outlines)
    found = next((line for line in lines if line.startswith(f"next: {first} ")), None)
    assert found is not None, result.stdout.str()
    rest = itertools.takewhile(lambda line: line.startswith("    "), lines)
    typed = "\n".join([found.removeprefix("next: "), *rest]).replace("\\\n", "")
    return shlex.split(typed)


@pytest.mark.long
def test_the_command_below_a_slower_case_measures_that_case_again(bench, hosts, accept, pytester):
    pytester.makepyfile(mine=SUBJECT)
    (pytester.path / "my prompts.txt").write_text("a red kite\nit's raining\n")
    options = {
        "subject": "mine:make",
        "prompts": "my prompts.txt",
        "steps": 3,
        "guidance": 2.5,
        "scheduler": "DDIMScheduler",
        "seed": 7,
        "workers": 1,
        "spawned": True,
    }
    accept_sessions(pytester, lambda: bench("-k", "throughput", **options), accept)
    hosts.seconds = {1: 2.0, 2: 4.0}
    slower = bench("-k", "throughput", "--benchmark-compare", **options)
    assert slower.ret == 1
    before = read_measured(pytester)
    words = find_suggested(slower, "pytest")
    hosts.seconds = {1: 1.0, 2: 2.0}
    again = pytester.runpytest_inprocess(*words[1:], "-p", "no:cacheprovider")
    assert again.ret == 0
    assert read_measured(pytester) == before
    assert set(before) == {"test_bench.py::test_throughput[fp32-sync-1w]"}


def test_the_command_names_the_run_that_was_compared_with(bench, hosts, pytester):
    bench("-k", "latency", "--benchmark-save=first", spawned=True, workers=1)
    hosts.seconds = {1: 2.0, 2: 4.0}
    slower = bench("-k", "latency", "--benchmark-compare=0001", spawned=True, workers=1, confirm=0)
    assert "--benchmark-compare=0001" in find_suggested(slower, "pytest")


@pytest.mark.parametrize("name", ["--sd-html=x.html", "--sd-processes=2", "--sd-durations"])
@pytest.mark.long
def test_what_the_command_decides_itself_is_not_repeated(name, bench, hosts, pytester):
    bench("-k", "latency", "--benchmark-save=first", spawned=True, workers=1)
    hosts.seconds = {1: 2.0, 2: 4.0}
    slower = bench("-k", "latency", "--benchmark-compare", name, spawned=True, workers=1)
    assert name not in find_suggested(slower, "pytest")


def test_floors_that_are_missing_are_measured_for_what_was_drawn(bench, pytester):
    pytester.makepyfile(test_bench="def test_images(sd_quality): sd_quality.images()")
    words = ["sdperf", "quality", "calibrate", "--steps", "2", "--size", "32x32"]
    result = bench("--sd-strict", steps=2)
    suggested = find_suggested(result, "sdperf")
    assert [word for word in words if word not in suggested] == []
    assert suggested[suggested.index("--precision") + 1] == "fp32"
    assert suggested[suggested.index("--model") + 1].endswith("sd")


def test_saved_runs_are_no_accepted_sessions(bench, hosts, accept, pytester, capsys):
    bench("-k", "latency", "--benchmark-save=first", spawned=True, workers=1)
    hosts.seconds = {1: 2.0, 2: 4.0}
    options = {"spawned": True, "workers": 1, "confirm": 0}
    compared = bench("-k", "latency", "--benchmark-compare=0001", **options)
    words = " ".join(compared.stdout.str().split())
    assert "accepted session" not in words
    assert "only +25.0 % fails; 4 more sessions for the limit of" in words
    assert "in 1 saved run: +100.0 %" in words
    (saved,) = pytester.path.glob(".benchmarks/*/*.json")
    assert main(["compare", str(saved), str(pytester.path / ".sdperf/last-run.json")]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "in 1 saved run" in printed
    assert "accepted session" not in printed


def test_a_run_is_accepted_into_the_sessions_own_folder(bench, hosts, accept, pytester):
    options = {"spawned": True, "workers": 1, "baselines": "kept here"}
    bench("-k", "latency", **options)
    assert accept("--baselines", "kept here") == 0
    (pytester.path / "test_bench.py").write_text(
        "def test_latency(sd_benchmark): sd_benchmark.latency()\n"
        "def test_new(sd_benchmark): sd_benchmark.latency()\n"
    )
    run = bench("-k", "new", "--benchmark-compare", **options)
    said = " ".join(run.stdout.str().split())
    assert "sdperf baseline accept --baselines 'kept here' --reason TEXT" in said
