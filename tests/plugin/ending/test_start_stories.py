"""Loading, first calls and tails: each planted fault is red for its own reason."""

import pytest

from tests.support.stories import accept_sessions


@pytest.fixture
def run(bench, hosts):
    hosts.load_s = lambda _: 1.0

    def run(*arguments, **options):
        return bench("-k", "latency", *arguments, spawned=True, **options)

    return run


def said(result):
    return " ".join(result.stdout.str().split())


def test_a_load_that_takes_eleven_seconds_longer_fails_and_is_confirmed(
    run, accept, pytester, hosts
):
    accept_sessions(pytester, run, accept, count=1)
    hosts.load_s = lambda _: 12.0
    slow = run("--benchmark-compare")
    assert slow.ret == 1
    assert "SLOWER latency[fp32-sync-1w]: load 12.0 s against 1.00 s in 1 session" in said(slow)
    assert "(page cache warm): x 12.0, limit 3.00 s; in fresh processes again 12.0 s" in said(slow)


def test_a_load_that_was_slow_once_passes_after_repeating(run, accept, pytester, hosts):
    accept_sessions(pytester, run, accept, count=1)
    before = hosts.hosts
    hosts.load_s = lambda number: 12.0 if number == before + 1 else 1.0
    assert run("--benchmark-compare").ret == 0


def test_a_first_call_that_compiles_for_long_fails(run, accept, pytester, hosts):
    accept_sessions(pytester, run, accept, count=1)
    hosts.first_factor = 13.0
    slow = run("--benchmark-compare")
    assert slow.ret == 1
    assert "first call 13.0 s against 1.00 s in 1 session" in said(slow)
    assert run("--benchmark-compare", max_first_call="2000%+60s", confirm=0).ret == 0


def test_one_round_in_ten_twice_as_long_is_seen_where_the_median_stays(
    run, accept, pytester, hosts
):
    accept_sessions(pytester, lambda: run(rounds=20), accept, count=1)
    hosts.drift = lambda number: 2.0 if number % 10 == 0 else 1.0
    slow = run("--benchmark-compare", rounds=20)
    assert slow.ret == 1
    assert "p95 2.00 times the median of 20 rounds" in said(slow)
    assert "again 2.00 in 40 rounds of fresh processes" in said(slow)


def test_too_few_rounds_for_a_tail_is_said(run, accept, pytester):
    accept_sessions(pytester, run, accept, count=1)
    result = run("--benchmark-compare", confirm=0)
    assert result.ret == 0
    assert "tails not judged: 1 case of 1 with fewer than 20 rounds" in said(result)
