from types import SimpleNamespace

import pytest

from sdperf.record.workload import ImageRequest
from sdperf.run.fresh import MOST_FRESH, draw_fresh

KNOWN = ImageRequest("red apple", 0)


def runner(*, fresh_s, known_s):
    """Run rounds that take one time for a known request and another for a fresh one."""
    asked = []

    def run(shares):
        asked.append(shares)
        is_known = shares == [(KNOWN,)]
        return SimpleNamespace(duration_s=known_s if is_known else fresh_s, results=[])

    return run, asked


@pytest.mark.parametrize(
    ("fresh_s", "known_now_s", "rounds", "is_remembered"),
    [(1.1, 1.0, 1, False), (9.0, 1.0, 2 * MOST_FRESH, True), (9.0, 8.0, 3, False)],
    ids=["honest", "memory", "a machine that became busy"],
)
def test_a_known_round_tells_memory_from_a_busy_machine(
    fresh_s, known_now_s, rounds, is_remembered
):
    run, asked = runner(fresh_s=fresh_s, known_s=known_now_s)
    seen = draw_fresh([[KNOWN]], run, known_s=1.0, known=frozenset())
    assert len(asked) == rounds
    assert seen.is_remembered(1.0) is is_remembered
    assert seen.known_again_s == (None if rounds == 1 else known_now_s)


def test_a_machine_that_is_busy_now_and_then_is_not_taken_for_memory():
    """Every fresh round is disturbed, and one of the known ones between them."""
    seconds = iter([9.0, 1.0, 9.0, 8.0, 9.0])
    seen = draw_fresh(
        [[KNOWN]],
        lambda shares: SimpleNamespace(duration_s=next(seconds), results=[]),
        known_s=1.0,
        known=frozenset(),
    )
    assert (seen.rounds_s, seen.known_again_s) == ((9.0, 9.0, 9.0), 8.0)
    assert not seen.is_remembered(1.0)
