import math
import statistics

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.paired import (
    Decision,
    choose_block_order,
    compute_block_contrast,
    compute_process_bounds,
    compute_yuen_bounds,
    decide_by_blocks,
    is_null_control_sound,
)

LIMIT = math.log(1.03)
contrasts = st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=12)


def test_contrast_is_the_log_ratio_of_the_arms():
    assert compute_block_contrast("ABBA", [2.0, 4.0, 4.0, 2.0]) == pytest.approx(math.log(2))
    assert compute_block_contrast("BAAB", [4.0, 2.0, 2.0, 4.0]) == pytest.approx(math.log(2))


@given(st.lists(st.floats(0.1, 10.0), min_size=4, max_size=4), st.sampled_from(["ABBA", "BAAB"]))
def test_the_contrast_of_one_cycle_is_the_difference_of_the_means(durations, order):
    logs = {"A": [], "B": []}
    for arm, duration in zip(order, durations, strict=True):
        logs[arm].append(math.log(duration))
    difference = statistics.fmean(logs["B"]) - statistics.fmean(logs["A"])
    assert compute_block_contrast(order, durations) == pytest.approx(difference, abs=1e-12)


@given(st.floats(-0.2, 0.2), st.integers(0, 5), st.booleans(), st.integers(1, 5))
def test_linear_drift_cancels_within_a_block(slope, block, current_first, cycles):
    order = choose_block_order(block, current_first=current_first, cycles=cycles)
    durations = [math.exp(slope * position) for position in range(4 * cycles)]
    assert compute_block_contrast(order, durations) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("cycles", [2, 3, 4, 5])
def test_a_machine_that_changes_its_speed_three_times_a_block_moves_nothing(cycles):
    order = choose_block_order(0, cycles=cycles)
    durations = [1.1 if arm == "B" else 1.0 for arm in order]
    for change in (1, len(order) // 2, len(order) - 2)[: cycles - 1]:
        durations[change:] = [1.35 * duration for duration in durations[change:]]
    assert compute_block_contrast(order, durations) == pytest.approx(math.log(1.1))


def test_neighbouring_blocks_mirror_each_other():
    assert [choose_block_order(block) for block in range(3)] == ["ABBA", "BAAB", "ABBA"]
    assert choose_block_order(1, current_first=True) == "ABBA"


def test_a_block_of_many_cycles_shrugs_at_one_disturbed_turn():
    order = choose_block_order(0, cycles=3)
    durations = [2.0 if arm == "A" else 2.2 for arm in order]
    durations[1] *= 5
    assert order == "ABBABAABABBA"
    assert compute_block_contrast(order, durations) == pytest.approx(math.log(1.1))


@pytest.mark.parametrize(
    ("order", "durations"),
    [
        ("ABBA", [1.0] * 3),
        ("AAAA", [1.0] * 4),
        ("ABBA", [1.0, 0.0, 1.0, 1.0]),
        ("AB", [1.0, math.nan]),
        ("ABBAAAAA", [1.0] * 8),
    ],
)
def test_a_broken_block_is_refused(order, durations):
    with pytest.raises(ValueError):
        compute_block_contrast(order, durations)


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=5), st.floats(0.001, 0.2))
def test_below_six_blocks_the_bounds_are_students(values, alpha):
    bounds = compute_yuen_bounds(values, alpha)
    error = max(statistics.stdev(values) / math.sqrt(len(values)), 0.0015)
    reach = scipy.stats.t.ppf(1 - alpha, len(values) - 1) * error
    assert bounds.mean == pytest.approx(statistics.fmean(values))
    assert bounds.upper - bounds.mean == pytest.approx(reach)
    assert bounds.mean - bounds.lower == pytest.approx(reach)


def test_one_wild_block_of_nine_is_trimmed():
    calm = [0.001, -0.001, 0.002, -0.002, 0.0, 0.001, -0.001, 0.0]
    bounds = compute_yuen_bounds([*calm, 0.4], 0.0025)
    assert bounds.mean == pytest.approx(scipy.stats.trim_mean([*calm, 0.4], 1 / 9))
    assert bounds.upper < LIMIT
    winsorised = np.asarray(scipy.stats.mstats.winsorize(np.array([*calm, 0.4]), (1 / 9, 1 / 9)))
    assert bounds.standard_error == pytest.approx(max(winsorised.std(ddof=1) / (7 / 9 * 3), 0.0015))


@given(contrasts, st.floats(0.0005, 0.1))
def test_swapping_the_arms_mirrors_the_bounds(values, alpha):
    one = compute_yuen_bounds(values, alpha)
    other = compute_yuen_bounds([-value for value in values], alpha)
    assert other.mean == pytest.approx(-one.mean, abs=1e-12)
    assert other.lower == pytest.approx(-one.upper, abs=1e-9)
    assert other.standard_error == pytest.approx(one.standard_error)


def draw_shared(generator, count, blocks, ratio, effect=0.0, spread=0.01):
    """Draw contrasts of which three share a pair of processes; ratio 1 is no effect of it."""
    pairs = -(-blocks // 3)
    shared = generator.normal(0, spread * math.sqrt((ratio - 1) / 3), (count, pairs))
    own = generator.normal(0, spread, (count, blocks))
    return (effect + np.repeat(shared, 3, axis=1)[:, :blocks] + own).tolist()


def count_named(rows, bound):
    found = [bound(row) for row in rows]
    return sum(one is not None and not one.lower <= 0 <= one.upper for one in found) / len(found)


@pytest.mark.parametrize("blocks", [4, 9, 18])
@pytest.mark.parametrize("ratio", [1.0, 1.65, 4.0])
def test_blocks_that_share_processes_name_a_stage_in_one_of_twenty_at_most(ratio, blocks):
    rows = draw_shared(np.random.default_rng(3), 4000, blocks, ratio)
    by_process = count_named(rows, lambda row: compute_process_bounds(row, 3, 0.025))
    assert by_process <= 0.05
    if ratio > 1.0:
        by_block = count_named(rows, lambda row: compute_yuen_bounds(row, 0.025))
        assert by_block > 0.06 > by_process


@pytest.mark.parametrize("ratio", [1.0, 1.65, 4.0])
def test_a_stage_that_takes_a_tenth_longer_is_named_after_eighteen_blocks(ratio):
    rows = draw_shared(np.random.default_rng(4), 500, 18, ratio, math.log(1.1), spread=0.02)
    assert count_named(rows, lambda row: compute_process_bounds(row, 3, 0.025)) > 0.99


@given(st.lists(st.floats(-0.5, 0.5), min_size=4, max_size=18), st.floats(0.001, 0.2))
def test_bounds_by_processes_are_never_narrower_than_those_by_blocks(values, alpha):
    by_block, bounds = (
        compute_yuen_bounds(values, alpha),
        compute_process_bounds(values, 3, alpha),
    )
    medians = [statistics.median(values[place : place + 3]) for place in range(0, len(values), 3)]
    error = max(statistics.stdev(medians) / math.sqrt(len(medians)), 0.0015)
    reach = scipy.stats.t.ppf(1 - alpha, len(medians) - 1) * error
    assert bounds.mean == by_block.mean
    widest = max(reach, by_block.upper - by_block.mean)
    assert bounds.upper - bounds.mean == pytest.approx(widest)
    assert bounds.mean - bounds.lower == pytest.approx(widest)


def test_one_pair_of_processes_bounds_nothing():
    assert compute_process_bounds([], 3, 0.025) is None
    assert compute_process_bounds([0.1, 0.1, 0.1], 3, 0.025) is None
    with pytest.raises(ValueError):
        compute_process_bounds([0.1, 0.1], 0, 0.025)
    with pytest.raises(ValueError):
        compute_process_bounds([0.1, math.nan, 0.1, 0.1], 3, 0.025)


def test_a_clear_slowdown_fails_at_the_first_look():
    result = decide_by_blocks([0.08, 0.081, 0.079, 0.08, 0.5], LIMIT)
    assert result.decision is Decision.FAIL
    assert result.blocks == 4


def test_no_slowdown_passes_and_later_blocks_do_not_reopen_it():
    result = decide_by_blocks([0.001, -0.001, 0.0, 0.001, 0.3, 0.3, 0.3, 0.3, 0.3], LIMIT)
    assert result.decision is Decision.PASS
    assert result.blocks == 4


def test_before_a_look_there_is_no_decision():
    assert decide_by_blocks([0.1, 0.1, 0.1], LIMIT).decision is Decision.CONTINUE
    noisy = [0.2, -0.2, 0.1, -0.1, 0.15]
    assert decide_by_blocks(noisy, LIMIT).decision is Decision.CONTINUE


def test_noise_to_the_last_look_is_inconclusive():
    noisy = [0.2, -0.2, 0.1, -0.1, 0.15, -0.15, 0.2, -0.2, 0.1, -0.1, 0.1, -0.1]
    result = decide_by_blocks(noisy, LIMIT)
    assert result.decision is Decision.INCONCLUSIVE
    assert result.blocks == 12


def test_a_small_real_slowdown_below_the_limit_never_fails():
    steady = [0.02, 0.0201, 0.0199, 0.02] * 3
    assert decide_by_blocks(steady, LIMIT).decision is Decision.PASS


def test_false_failures_stay_below_the_level():
    draws = np.random.default_rng(8).normal(0, 0.03, (2000, 12))
    failed = [decide_by_blocks(row.tolist(), LIMIT).decision is Decision.FAIL for row in draws]
    assert np.mean(failed) <= 0.01


def test_stricter_levels_decide_no_earlier():
    draws = np.random.default_rng(9).normal(0.04, 0.01, (200, 12))
    for row in draws:
        strict = decide_by_blocks(row.tolist(), LIMIT, alpha=0.0001)
        loose = decide_by_blocks(row.tolist(), LIMIT, alpha=0.01)
        assert strict.blocks >= loose.blocks


def test_two_sided_a_gain_is_told_before_it_passes():
    """One-sided, four blocks that exclude a loss are enough, whatever the gain may be."""
    noisy = [-0.04, -0.01, -0.06, -0.03]
    assert decide_by_blocks(noisy, LIMIT, alpha=0.05).decision is Decision.PASS
    both = decide_by_blocks(noisy, LIMIT, alpha=0.05, is_two_sided=True)
    assert both.decision is Decision.CONTINUE
    clear = [-0.101, -0.1, -0.1, -0.099]
    told = decide_by_blocks(clear, LIMIT, is_two_sided=True)
    assert (told.decision, told.bounds.upper < -LIMIT) == (Decision.PASS, True)
    same = decide_by_blocks([0.001, -0.001, 0.0, 0.0], LIMIT, is_two_sided=True)
    assert same.decision is Decision.PASS
    assert decide_by_blocks([0.1] * 4, LIMIT, is_two_sided=True).decision is Decision.FAIL


@given(contrasts, st.floats(0.001, 0.2))
def test_two_sided_fails_and_passes_where_one_sided_does_or_later(values, alpha):
    one = decide_by_blocks(values, LIMIT, alpha=alpha)
    both = decide_by_blocks(values, LIMIT, alpha=alpha, is_two_sided=True)
    if both.decision is Decision.PASS and both.blocks == one.blocks:
        assert one.decision is Decision.PASS
    if one.decision is not Decision.PASS:
        assert both == one


def test_false_gains_stay_below_the_level_too():
    rng = np.random.default_rng(1)
    told = 0
    for _ in range(2000):
        blocks = rng.normal(0, 0.03, 12).tolist()
        result = decide_by_blocks(blocks, LIMIT, alpha=0.05, is_two_sided=True)
        told += result.bounds.upper < 0 and result.bounds.mean < -LIMIT
    assert told / 2000 < 0.05


def test_null_control():
    assert is_null_control_sound([0.001, -0.002, 0.001, 0.0], LIMIT)
    assert not is_null_control_sound([0.05, 0.051, 0.05, 0.049], LIMIT)
    assert not is_null_control_sound([-0.05, -0.051, -0.05, -0.049], LIMIT)


@pytest.mark.parametrize(
    ("limit", "looks"), [(0.0, (4,)), (-1.0, (4,)), (LIMIT, ()), (LIMIT, (1, 2)), (LIMIT, (6, 4))]
)
def test_limits_and_looks_out_of_range_are_refused(limit, looks):
    with pytest.raises(ValueError):
        decide_by_blocks([0.0] * 12, limit, looks=looks)


@pytest.mark.parametrize(
    ("values", "alpha"), [([0.1], 0.01), ([0.1, math.nan], 0.01), ([0.1, 0.2], 0.5)]
)
def test_bounds_out_of_range_are_refused(values, alpha):
    with pytest.raises(ValueError):
        compute_yuen_bounds(values, alpha)
