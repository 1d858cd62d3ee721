import numpy as np
import pytest
import scipy.stats

from evidence.gate_power.__main__ import main, summarise
from evidence.gate_power.anchors import compute_screens, flag_cases
from evidence.gate_power.batches import add_up, judge_batch
from evidence.gate_power.gates import (
    answer_by_repeats,
    answer_in_run,
    answer_offline,
    estimate_suite,
)
from evidence.gate_power.rivals import RIVALS, asv, criterion, pyperf, welch
from evidence.gate_power.scenarios import (
    SCENARIOS,
    Scenario,
    SimulatedAgain,
    draw_paired_durations_s,
    draw_suites,
)
from evidence.gate_power.table import KEPT, OFFLINE, PAIRED, REPEATS, compute_wilson_interval
from evidence.gate_power.traces import RecordedAgain, Trace, draw_trace_suite, read_traces
from sdperf.judging.latency import screen_latency


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


QUIET = Scenario("still", mood=0.001, case_spread=0.001, round_noise=0.001, spike_rate=0.0)


def test_blocks_share_their_processes_as_told():
    rng = np.random.default_rng(2)
    jumpy = Scenario("jumpy", 0.0, 0.1, round_noise=1e-6, spike_rate=0.0)
    suites = draw_suites(jumpy, 1, rng)
    orders = ["ABBA"] * 6

    def contrasts(renew_every):
        drawn = np.log(
            draw_paired_durations_s(jumpy, suites, 0, 0, orders, 0.0, rng, renew_every=renew_every)
        )
        return drawn[:, 1] - drawn[:, 0]

    shared = contrasts(3)
    assert np.ptp(shared[:3]) < 1e-4 < abs(shared[0] - shared[3])
    assert np.unique(contrasts(1).round(4)).size == 6


@pytest.fixture
def slowed():
    """The estimate of a suite whose case 5 took a tenth longer, its other draws, and the dice."""
    rng = np.random.default_rng(3)
    suites = draw_suites(QUIET, 1, rng)
    rounds_s = suites.rounds_s[0, -1].copy()
    rounds_s[5] *= 1.1
    estimate = estimate_suite(np.median(suites.rounds_s[0, :-1], axis=-1), rounds_s)
    return estimate, SimulatedAgain(QUIET, suites, 0, rng), rng


def test_a_slower_case_is_caught_by_every_own_gate(slowed):
    estimate, again, rng = slowed
    screening, change = screen_latency(estimate), {5: np.log(1.1)}
    for answer in (
        answer_in_run(screening, again, 0, change, rng),
        answer_by_repeats(screening, again, change),
        answer_offline(estimate),
    ):
        assert answer.slower == {5}
        assert answer.is_red
        assert not answer.is_void


def test_a_suspect_that_does_not_repeat_is_cleared(slowed):
    estimate, again, rng = slowed
    screening = screen_latency(estimate)
    assert not answer_in_run(screening, again, 0, {}, rng).is_red
    assert not answer_by_repeats(screening, again, {}).is_red


def numbered_trace(sessions):
    """The median of each session is its number; rounds differ a little."""
    rounds_s = np.arange(1.0, sessions + 1)[:, None, None] * np.ones((1, 6, 4))
    rounds_s *= np.array([0.99, 1.0, 1.0, 1.02])
    blocks_s = np.ones((12, 6, 4))
    return Trace("numbers", rounds_s, blocks_s, ("ABBA",) * 12)


def test_a_trace_suite_takes_each_session_once_in_runs_of_neighbours():
    trace = numbered_trace(20)
    rng = np.random.default_rng(0)
    for _ in range(50):
        suite = draw_trace_suite(trace, 8, rng)
        taken = np.rint(suite.rounds_s[:, 0, 1]).astype(int) - 1
        assert sorted([*taken, *suite.spare]) == list(range(20))
        assert (np.diff(taken) == 1).sum() >= 4
    with pytest.raises(ValueError, match="a suite takes 9"):
        draw_trace_suite(numbered_trace(8), 8, rng)


def test_recorded_blocks_carry_the_slowdown_on_arm_b_only():
    rng = np.random.default_rng(0)
    trace = numbered_trace(20)
    again = RecordedAgain(trace, draw_trace_suite(trace, 8, rng), rng)
    drawn = again.draw_blocks_s(0, ["ABBA", "BAAB"], np.log(2))
    assert drawn.tolist() == [pytest.approx([1, 2, 2, 1]), pytest.approx([2, 1, 1, 2])]
    spare = again.suite.spare
    assert set(again.draw_repeats_s(0, 3, 0.0).astype(int) - 1) <= set(spare)


def test_the_committed_traces_are_unchanged_code_in_good_shape():
    traces = read_traces()
    assert traces
    for trace in traces:
        assert len(trace.rounds_s) >= 9
        assert (trace.rounds_s > 0).all()
        if trace.blocks_s is not None:
            assert trace.blocks_s.shape == (len(trace.block_orders), trace.rounds_s.shape[1], 4)


@pytest.mark.parametrize("machine", [QUIET, numbered_trace(20)], ids=["model", "trace"])
def test_judging_a_machine_counts_every_suite(machine):
    row = summarise(judge_batch(machine, 0, 4, 2, seed=(0, 0)))
    gates = {PAIRED, REPEATS, OFFLINE} | ({KEPT} if machine is QUIET else set())
    assert set(row["gates"]) == gates
    for gate in row["gates"].values():
        assert (gate["suites"], gate["changed_suites"]) == (4, 2)
        assert gate["red"] == round(gate["red_share"] * 4)
    if machine is QUIET:
        assert row["gates"][OFFLINE]["caught"]["10.0"] == 1.0


def test_the_studys_screen_flags_what_rose():
    rng = np.random.default_rng(4)
    history = rng.normal(0, 0.004, (8, 20))
    current = np.zeros(20)
    current[3] = 0.05
    assert np.flatnonzero(flag_cases(history, current)).tolist() == [3]


def test_typical_reproduces_the_studys_screens():
    found = list(compute_screens(300, np.random.default_rng(5)).values())
    assert found == pytest.approx([0.17, 0.32, 0.44, 0.6], abs=0.12)


@pytest.fixture
def batches_of_ten(monkeypatch):
    for module in ("batches", "__main__"):
        monkeypatch.setattr(f"evidence.gate_power.{module}.BATCH", 10)


@pytest.mark.usefixtures("batches_of_ten")
def test_batches_add_up_and_do_not_depend_on_each_other():
    one, two = (judge_batch(QUIET, batch, 12, 3, seed=(0, 0)) for batch in (0, 1))
    assert judge_batch(QUIET, 1, 12, 3, seed=(0, 0)) == two
    row = summarise(add_up(one, two))
    assert row["gates"][OFFLINE]["suites"] == 12
    assert row["gates"][OFFLINE]["changed_suites"] == 3
    assert row["rivals"]["pyperf"]["suites"] == 12


@pytest.mark.usefixtures("batches_of_ten")
def test_a_run_that_was_cut_short_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("evidence.gate_power.__main__.SCENARIOS", (QUIET,))
    monkeypatch.setattr("evidence.gate_power.__main__.read_traces", list)

    def run(out, *extra):
        arguments = ["--unchanged", "12", "--changed", "2", "--out", str(out), *extra]
        monkeypatch.setattr("sys.argv", ["gate_power", *arguments])
        main()

    run(tmp_path / "whole")
    run(tmp_path / "cut", "--seconds", "0")
    assert not (tmp_path / "cut" / "gate-power.json").exists()
    run(tmp_path / "cut", "--seconds", "0")
    assert "done" in capsys.readouterr().out
    whole, cut = ((tmp_path / one / "gate-power.json").read_text() for one in ("whole", "cut"))
    assert whole == cut
