"""What a session costs is said before it starts, and a budget leaves out what does not fit."""

import json
from functools import partial
from types import SimpleNamespace

import pytest

from sdperf.plugin.live import budget


@pytest.fixture
def slow(hosts, monkeypatch):
    """An image takes a hundred seconds, by script; the clock of budgets follows it."""
    hosts.seconds = {1: 100.0, 2: 200.0}
    next_s, spent_s = hosts.next_s, []

    def spend(request, unet_calls):
        spent_s.append(next_s(request, unet_calls))
        return spent_s[-1]

    monkeypatch.setattr(hosts, "next_s", spend)
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: sum(spent_s)))
    hosts.spent_s = spent_s
    return hosts


def words(done):
    return " ".join(done.stdout.str().split())


def read_rounds(pytester):
    saved = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    return {one["name"]: len(one["stats"]["data"]) for one in saved["benchmarks"]}


def test_the_cost_is_said_before_and_the_time_after_the_first_image(bench, slow):
    """A process's first call compiles and fills caches, and says nothing of the others."""
    slow.first_factor = 7.0
    said = words(bench(spawned=True, rounds=5, workers="1", mode="sync,async"))
    assert "sdperf: 4 cases, 1 model load, about 36 images; how long that takes is said" in said
    assert "the first image took 1 min 40 s: at that pace drawing takes 60 min 00 s, " in said


def test_without_a_budget_nothing_is_left_out(bench, slow, pytester):
    done = bench(spawned=True, rounds=5, workers="1", mode="sync,async")
    done.assert_outcomes(passed=4)
    said = words(done)
    assert said.count("--sd-budget") == 1
    assert "--sd-budget 10m ends the session after about ten minutes" in said
    assert set(read_rounds(pytester).values()) == {5, 2}


def test_a_budget_takes_fewer_rounds_first_and_then_the_most_telling_cases(bench, slow, pytester):
    done = bench(spawned=True, rounds=5, workers="1", mode="sync,async", budget="40m")
    done.assert_outcomes(passed=3, skipped=1)
    said = words(done)
    assert "2 of the 3 cases that are left, 3 rounds of one image each; left out unless" in said
    assert "unless time remains: 1 of async" in said
    assert "left out to end in 40m (--sd-budget)" in said
    assert "--sd-budget 40m: 3 rounds of the first case" in said
    assert sum(slow.spent_s) <= 40 * 60
    assert read_rounds(pytester) == {
        "test_latency[fp32-sync-1w]": 3,  # its first image tells what the others take
        "test_latency[fp32-async-1w]": 3,
        "test_throughput[fp32-sync-1w]": 2,
    }


def test_a_budget_that_all_fits_into_changes_nothing(bench, slow, pytester):
    done = bench(spawned=True, rounds=5, workers="1", mode="sync,async", budget="3h")
    done.assert_outcomes(passed=4)
    assert "3 of the 3 cases that are left" in words(done)
    assert set(read_rounds(pytester).values()) == {5, 2}


def test_a_budget_that_not_even_the_first_case_fits_into_says_so(bench, slow, pytester):
    said = words(bench(spawned=True, rounds=5, workers="1", mode="sync,async", budget="6m"))
    assert "--sd-budget 6m: the first case alone takes 18 min 20 s in 3 rounds, " in said
    assert "and there are 2 min 40 s left" in said
    assert read_rounds(pytester) == {"test_latency[fp32-sync-1w]": 3}


def test_the_first_case_of_a_budget_without_warm_up_is_bounded_too(bench, slow, pytester):
    done = bench(spawned=True, rounds=5, workers="1", mode="sync,async", budget="30m", warmup=0)
    assert "3 rounds of the first case" in words(done)
    assert read_rounds(pytester)["test_latency[fp32-sync-1w]"] == 3


def test_a_case_of_fewer_rounds_is_judged_against_one_of_more(bench, slow):
    run = partial(bench, spawned=True, rounds=5, workers="1", mode="sync,async")
    run("--benchmark-autosave")
    done = run("--benchmark-compare", budget="40m", confirm=0)
    assert done.ret == 0
    assert "3 PASS, 1 skipped" in words(done)
    slow.drift = lambda _: 2.0
    slower = run("--benchmark-compare", budget="70m", confirm=0)
    assert slower.ret == 1
    assert "SLOWER" in words(slower)


@pytest.mark.parametrize("given", ["0", "0m", "soon"])
def test_what_is_no_budget_is_refused(bench, slow, given):
    done = bench(spawned=True, budget=given)
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*--sd-budget cannot be used*"])
