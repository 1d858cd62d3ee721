"""What a whole session has in common, or loses: all cases together, memory, a worker that dies."""

import json
import math

import pytest

from tests.support.stories import accept_sessions, unwrap

FIVE = """
import pytest

@pytest.mark.parametrize("part", ["a", "b", "c", "d", "e"])
def test_part(sd_benchmark, part):
    sd_benchmark.latency()
"""


@pytest.fixture
def wobble(script):
    script.drift = lambda made: 1 + 0.002 * math.sin(1.7 * made)
    return script


def test_all_cases_together_have_a_line_and_a_limit_of_their_own(
    bench, wobble, accept, pytester, capsys
):
    pytester.makepyfile(test_bench=FIVE)
    accept_sessions(pytester, bench, accept)
    wobble.seconds[1] = 1.06
    slower = bench("--benchmark-compare")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(
        [
            "part?fp32-sync-1w-a?*PASS",
            "suite: SLOWER  all cases together +5.* % against 5 accepted sessions, limit +3.0 %",
            "    next: compare the two environments: thermals, power mode, OS, torch",
            "5 cases: 5 PASS",
        ]
    )
    assert "SLOWER  part" not in slower.stdout.str()
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    assert document["sdperf"]["suite"] == "SLOWER"
    assert accept() == 2
    assert "failed as a whole; got: SLOWER all cases together" in capsys.readouterr().err
    wider = bench("--benchmark-compare", max_suite_slowdown="10%")
    assert wider.ret == 0
    wider.stdout.fnmatch_lines(["suite: PASS  all cases together +5.* %*limit +10.0 %"])


def test_one_slower_case_is_accused_and_the_suite_is_not(bench, wobble, accept, pytester):
    pytester.makepyfile(test_bench=FIVE)
    accept_sessions(pytester, bench, accept)
    later = wobble.drift
    start = wobble.rounds
    wobble.drift = lambda made: later(made) * (1.08 if 8 < made - start <= 12 else 1.0)
    slower = bench("--benchmark-compare", confirm=0)
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(["suite: PASS*", "SLOWER  part?fp32-sync-1w-c?*", "*1 SLOWER*"])


def test_a_run_that_takes_more_memory_than_both_limits_is_red(bench, hosts, accept, pytester):
    def run(*arguments, **options):
        return bench("-k", "latency", *arguments, spawned=True, workers=1, **options)

    hosts.rss_bytes = 1000 * 2**20
    accept_sessions(pytester, run, accept, count=2)
    for mib, outcome in ((1090, "PASS"), (1030, "PASS")):  # within 10 %, within 64 MiB
        hosts.rss_bytes = mib * 2**20
        within = run("--benchmark-compare", confirm=0)
        assert within.ret == 0
        within.stdout.fnmatch_lines([f"1 case: 1 {outcome}"])
    hosts.rss_bytes = 1200 * 2**20
    heavier = run("--benchmark-compare", confirm=0)
    assert heavier.ret == 1
    heavier.stdout.fnmatch_lines(
        [
            "HEAVIER  latency*: peak RSS 1.17 GiB against 1000 MiB (+20.0 %), limits +10.0 %*",
            "1 case: 1 HEAVIER",
        ]
    )
    assert run("--benchmark-compare", confirm=0, max_growth="10%+300MiB").ret == 0
    assert run("--benchmark-compare", confirm=0, max_growth="25%+64MiB").ret == 0


KILLED_ONCE = """
import os, pathlib, signal

def killed_once(request):
    pipeline = request.load()
    forward = pipeline.unet.forward

    def die(*arguments, **named):
        mark = pathlib.Path("killed")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(*arguments, **named)

    pipeline.unet.forward = die
    return pipeline
"""


@pytest.mark.long
def test_a_killed_worker_breaks_its_case_and_the_run_goes_on(bench, pytester, accept, capsys):
    pytester.makepyfile(subjects=KILLED_ONCE)
    killed = bench(
        spawned=True, workers=1, rounds=1, batch_rounds=1, subject="subjects:killed_once"
    )
    assert killed.ret == 1
    killed.assert_outcomes(passed=1, failed=1)
    unwrap(killed).fnmatch_lines(
        [
            "WorkerError: a worker died during a generation; got: exit code -9: SIGKILL: killed; *",
            "latency?fp32-sync-1w? * BROKEN",
            "throughput?fp32-sync-1w? * NO BASELINE",
            "BROKEN  latency*: WorkerError: a worker died during a generation; the whole message*",
            "2 cases: 1 BROKEN, 1 NO BASELINE",
        ]
    )
    assert "Traceback" not in killed.stdout.str()
    assert accept() == 2
    assert "BROKEN" in capsys.readouterr().err
