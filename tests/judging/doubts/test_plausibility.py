import dataclasses

import pytest

from sdperf.judging.doubts.plausibility import (
    judge_fresh,
    judge_fresh_against,
    judge_plausibility,
)
from sdperf.record.measurement import FreshRounds
from sdperf.record.stages import DeviceLimits, PeakRate, StageCost
from sdperf.record.verdict import Outcome
from sdperf.record.workload import Variant
from tests.support.measurements import measurement

PEAK = PeakRate("fp32", 100e9, 1536, 2)


def limits(flop=50e9, peak=PEAK, fresh_flop=None):
    return DeviceLimits(peak, 1e-6, (StageCost("denoise", int(flop), 10, fresh_flop=fresh_flop),))


def reasons(**changes):
    findings = judge_plausibility(measurement(**changes))
    assert all(one.outcome is Outcome.BROKEN for one in findings)
    return [one.reason for one in findings]


def test_what_is_possible_is_not_mentioned():
    assert reasons() == []
    assert reasons(fresh=FreshRounds((1.9,)), limits=limits()) == []


def test_the_quickest_fresh_round_accuses():
    (reason,) = reasons(fresh=FreshRounds((9.0, 2.5, 17.0)))
    assert "rounds are answered from memory: 2.50 s" in reason
    assert reasons(fresh=FreshRounds((9.0, 1.1))) == []
    # The machine became busy: known requests take as long now.
    assert reasons(fresh=FreshRounds((9.0, 2.5, 17.0), known_again_s=2.4)) == []
    (reason,) = reasons(fresh=FreshRounds((9.0, 8.5, 17.0), known_again_s=2.4))
    assert "8.50 s" in reason
    assert "2.40 s" in reason


def test_milliseconds_accuse_nobody():
    assert judge_fresh(0.001, FreshRounds((0.0025,))) is None
    assert judge_fresh(0.001, FreshRounds((0.02,))) is not None


def test_a_picture_from_before_is_broken_however_long_it_took():
    (reason,) = reasons(fresh=FreshRounds((1.0,), repeated=1))
    assert "existed before the round" in reason


def with_rounds(known_s, fresh_s, known_again_s=None):
    fresh = None if fresh_s is None else FreshRounds((fresh_s,), known_again_s=known_again_s)
    return measurement(rounds_s=(known_s,) * 3, fresh=fresh)


def test_only_known_requests_that_became_quicker_are_broken():
    """40 % of an image's work is kept: too little for the ratio of one session alone."""
    current = with_rounds(0.6, 1.0, known_again_s=0.6)
    assert judge_fresh(0.6, current.fresh) is None
    found = judge_fresh_against(current, with_rounds(1.0, 1.0))
    assert found.outcome is Outcome.BROKEN
    assert (
        "only known requests are quicker than the baseline's: 600 ms (1.00 s there)" in found.reason
    )


@pytest.mark.parametrize(
    ("current", "base"),
    [
        (with_rounds(0.6, 0.6, 0.6), with_rounds(1.0, 1.0)),  # all of them are quicker
        (with_rounds(0.2, 0.4, 0.2), with_rounds(1.0, 1.0)),  # the base's machine was busy
        (with_rounds(1.0, 1.8, 1.0), with_rounds(1.0, 1.0)),  # known ones are not quicker
        (with_rounds(0.6, 1.0, 0.6), with_rounds(1.0, 1.7)),  # so it was
        (with_rounds(0.6, 1.0, 0.9), with_rounds(1.0, 1.0)),  # busy by then
        (with_rounds(0.6, 1.0), with_rounds(1.0, 1.0)),  # the first fresh round was quick enough
        (with_rounds(0.001, 0.0025, 0.001), with_rounds(0.003, 0.003)),  # milliseconds
        (with_rounds(0.6, None), with_rounds(1.0, 1.0)),
        (with_rounds(0.6, 1.0, 0.6), with_rounds(1.0, None)),
    ],
)
def test_what_can_be_honest_accuses_nobody(current, base):
    assert judge_fresh_against(current, base) is None


def test_more_operations_than_the_device_can_do_is_broken():
    (reason,) = reasons(limits=limits(flop=400e9))
    assert "400 GFLOP in 1.00 s an image is 4.0 times the peak of this device" in reason
    assert reasons(limits=limits(flop=200e9)) == []  # fast convolutions
    assert reasons(limits=limits(flop=400e9, peak=None)) == []


def test_workers_share_a_round_of_several_images():
    two = {"variant": Variant(workers=2), "images_per_round": 2}
    assert reasons(limits=limits(flop=200e9), **two) == []
    assert reasons(limits=limits(flop=400e9), **two)
    batch = {"images_per_round": 8, "kind": "throughput"}
    assert reasons(limits=limits(flop=50e9), **batch)


@pytest.mark.parametrize(("flop", "fresh", "count"), [(0, 34e9, 1), (0, 0, 0), (34e9, 34e9, 0)])
def test_a_stage_that_launches_nothing_for_known_requests_is_broken(flop, fresh, count):
    found = reasons(limits=limits(flop=flop, fresh_flop=int(fresh)))
    assert len(found) == count
    assert all("denoise launches next to nothing" in reason for reason in found)


def test_a_stage_that_is_measured_alone_is_not_held_to_the_whole_images_operations():
    alone = dataclasses.replace(
        measurement(limits=limits(flop=400e9)), kind="stage", stage="deliver"
    )
    assert judge_plausibility(alone) == []
