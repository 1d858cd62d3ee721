"""What limits a stage: the rule, at its borders, and what is said where something is unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.record.stages import PeakRate, StageCost, StageTimes
from sdperf.run.share import compute_limits, read_stage

PEAK = PeakRate("fp32", 1000.0, 512)


def read(**changes):
    fields = {
        "duration_s": 1.0,
        "flop": 100,
        "operators": 10,
        "peak_flop_per_s": 1000.0,
        "operator_s": 0.001,
    }
    return read_stage(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"flop": 400}, "compute-bound"),
        ({"flop": 399}, "starved"),
        ({"operators": 499}, "starved"),
        ({"operators": 500}, "launch-bound"),
        ({"flop": 400, "operators": 500}, "compute-bound"),
    ],
)
def test_the_rule_at_its_borders(changes, word):
    assert read(**changes) == word


@pytest.mark.parametrize(
    "changes",
    [
        {"flop": 0},
        {"duration_s": 0.0},
        {"peak_flop_per_s": None},
        {"peak_flop_per_s": 0.0},
        {"operator_s": None},
    ],
)
def test_what_is_unknown_has_no_reading(changes):
    assert read(**changes) is None


@given(st.floats(1e-6, 1e3), st.integers(1, 10**15), st.integers(0, 10**6))
def test_a_slower_clock_everywhere_changes_nothing(duration_s, flop, operators):
    before = read(duration_s=duration_s, flop=flop, operators=operators, peak_flop_per_s=1e9)
    after = read(
        duration_s=duration_s * 2,
        flop=flop,
        operators=operators,
        peak_flop_per_s=0.5e9,
        operator_s=0.002,
    )
    assert before == after


def test_stages_are_held_against_their_own_seconds():
    stages = StageTimes(3.0, encode_prompt_s=0.5, denoise_s=2.0, deliver_s=0.5)
    costs = [
        StageCost("encode_prompt", 10, 400),
        StageCost("denoise", 1600, 100),
        StageCost("deliver", 0, 0),
        StageCost("whole", 10, 10),
    ]
    limits = compute_limits(stages, costs, PEAK, 0.001)
    encoded, denoised, delivered, unknown = limits.stages
    assert (encoded.share_of_peak, encoded.reading) == (0.02, "launch-bound")
    assert (denoised.flop_per_s, denoised.share_of_peak) == (800.0, 0.8)
    assert denoised.reading == "compute-bound"
    assert delivered.reading is delivered.share_of_peak is None
    assert unknown.flop == 10
    assert unknown.share_of_peak is None


def test_without_a_peak_or_stage_times_the_counts_remain():
    costs = [StageCost("denoise", 1600, 100)]
    assert compute_limits(None, costs, PEAK, 0.001).stages == tuple(costs)
    (cost,) = compute_limits(StageTimes(2.0, denoise_s=2.0), costs, None, None).stages
    assert (cost.flop_per_s, cost.share_of_peak, cost.reading) == (800.0, None, None)
