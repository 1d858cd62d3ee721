import numpy as np
import pytest
import scipy.stats

from tools.gate_power.gates import answer_offline, estimate_suite
from tools.gate_power.rivals import RIVALS, asv, criterion, pyperf, welch
from tools.gate_power.scenarios import SCENARIOS, draw_paired_durations_s, draw_suites
from tools.gate_power.table import compute_wilson_interval


@pytest.fixture(scope="module")
def rounds():
    rng = np.random.default_rng(0)
    return rng.lognormal(0, 0.02, (50, 10)), rng.lognormal(0.02, 0.02, (50, 10))


def test_pyperf_is_students_t(rounds):
    baseline, current = rounds
    expected = scipy.stats.ttest_ind(current, baseline, axis=-1)
    assert (
        pyperf(baseline, current) == ((expected.pvalue <= 0.05) & (expected.statistic > 0))
    ).all()


def test_welch_is_scipys(rounds):
    baseline, current = rounds
    p_values = scipy.stats.ttest_ind(
        np.log(current), np.log(baseline), axis=-1, equal_var=False, alternative="greater"
    ).pvalue
    assert (welch(baseline, current) == (p_values < 0.01)).all()


def test_asv_needs_the_factor_and_the_ranks(rounds):
    baseline, _ = rounds
    assert asv(1.05)(baseline, baseline * 1.2).all()
    assert not asv(1.05)(baseline, baseline * 1.04).any()
    assert not asv(1.05)(baseline[:, :2], baseline[:, :2] * 1.2).any()


def test_criterion_sees_a_clear_slowdown_and_nothing_in_equal_rounds(rounds):
    baseline, _ = rounds
    assert criterion(baseline, baseline * 1.1).all()
    assert not criterion(baseline, baseline).any()


@pytest.mark.parametrize("rule", RIVALS.values(), ids=RIVALS.keys())
def test_every_rule_sees_a_doubling(rule, rounds):
    baseline, _ = rounds
    assert rule(baseline, 2 * baseline).all()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_can_be_drawn_and_judged(scenario):
    rng = np.random.default_rng(1)
    suites = draw_suites(scenario, 2, rng)
    assert suites.rounds_s.shape == (2, 9, 60, 10)
    assert (suites.rounds_s > 0).all()
    estimate = estimate_suite(np.median(suites.rounds_s[0, :-1], axis=-1), suites.rounds_s[0, -1])
    answer = answer_offline(estimate)
    assert not answer.slower & answer.open
    blocks = draw_paired_durations_s(scenario, suites, 0, 3, ["ABBA", "BAAB"], 0.0, rng)
    assert blocks.shape == (2, 4)


def test_wilson_agrees_with_scipy():
    expected = scipy.stats.binomtest(3, 200).proportion_ci(method="wilson")
    assert compute_wilson_interval(3, 200) == pytest.approx((expected.low, expected.high), abs=1e-4)
