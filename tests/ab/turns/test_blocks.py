import math

import pytest

from sdperf.ab.turns.blocks import BlockSeries, measure_null_control, measure_until_decided
from sdperf.ab.verdict.comparison import Block, SideTurn
from sdperf.stats.paired import Decision

LIMIT = math.log(1.03)


class FakeArm:
    """Takes so many seconds, on a machine that heats up with every execution of any arm."""

    def __init__(self, seconds, journal, name, heat=0.0):
        self.seconds, self.journal, self.name, self.heat = seconds, journal, name, heat
        self.renewed = 0

    def renew(self):
        self.renewed += 1

    def measure_s(self):
        self.journal.append(self.name)
        return self.seconds * (1 + self.heat) ** len(self.journal)

    def close(self):
        pass


def arms(a=1.0, b=1.0, heat=0.0):
    journal = []
    return FakeArm(a, journal, "A", heat), FakeArm(b, journal, "B", heat)


@pytest.mark.parametrize(
    ("current", "decision"),
    [(1.0, Decision.PASS), (1.10, Decision.FAIL), (0.9, Decision.PASS)],
)
@pytest.mark.parametrize("heat", [0.0, 0.02])
def test_drift_does_not_decide(current, decision, heat):
    run = measure_until_decided(*arms(b=current, heat=heat), limit_log=LIMIT, alpha=0.01)
    assert run.result.decision is decision
    assert run.result.blocks == 4
    assert run.contrasts == pytest.approx([math.log(current)] * 4)


def test_blocks_alternate_and_processes_are_renewed_every_third():
    baseline, current = arms(b=1.03)
    run = measure_until_decided(baseline, current, limit_log=LIMIT, alpha=0.01)
    assert run.result.decision is Decision.INCONCLUSIVE
    assert len(run.contrasts) == 12
    assert "".join(baseline.journal[:8]) == "ABBABAAB"
    assert baseline.renewed == current.renewed == 4


def test_a_block_has_as_many_cycles_as_told_and_processes_live_as_long():
    baseline, current = arms(b=1.03)
    series = BlockSeries(baseline, current, LIMIT, 0.01, renew_every=1, cycles=2)
    blocks = [series.measure_block() for _ in range(2)]
    assert [block.order for block in blocks] == ["ABBABAAB", "BAABABBA"]
    assert [block.contrast for block in blocks] == pytest.approx([math.log(1.03)] * 2)
    assert baseline.renewed == current.renewed == 2


def test_the_end_of_time_leaves_what_is_known():
    left = iter([True, True, False])
    done = []
    run = measure_until_decided(
        *arms(),
        limit_log=LIMIT,
        alpha=0.01,
        may_go_on=lambda: next(left),
        on_block=lambda *seen: done.append(seen),
    )
    assert run.result.decision is Decision.CONTINUE
    assert run.result.bounds is None
    assert done == [(1, 12), (2, 12)]


def test_the_same_code_is_sound_and_another_is_not():
    sound, seen = measure_null_control(*arms(), limit_log=LIMIT)
    assert sound is True
    assert seen == pytest.approx([0.0] * 4)
    sound, seen = measure_null_control(*arms(b=1.2), limit_log=LIMIT)
    assert sound is False
    assert seen == pytest.approx([math.log(1.2)] * 4)
    sound, _ = measure_null_control(*arms(b=0.8), limit_log=LIMIT)
    assert sound is False


def test_a_control_without_time_says_nothing():
    assert measure_null_control(*arms(), limit_log=LIMIT, may_go_on=lambda: False) == (None, ())


@pytest.mark.parametrize(("order", "seconds"), [("ABBX", 1.0), ("AB", 1.0), ("ABBA", 0.0)])
def test_a_block_that_counts_has_to_fit_its_order(order, seconds):
    executions = tuple(SideTurn(side, 0.0, (seconds,)) for side in "ABBA")
    with pytest.raises(ValueError, match=r"a block of order|positive"):
        Block(order, executions)
    assert Block(order, executions, "cut off").discarded == "cut off"
