import dataclasses
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from sdperf.ab.sides.revisions import refuse_stray_subject
from sdperf.ab.sides.sides import MatrixCase, SideError
from sdperf.ab.turns.case_state import BlockPlan, choose_lengthening, plan_block
from sdperf.ab.turns.comparing import compare
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.errors import ConfigurationError, UnfitError, WorkerError
from sdperf.record.floors import Floors
from sdperf.record.measurement import FreshRounds
from sdperf.record.verdict import Outcome
from sdperf.record.workload import Variant
from tests.support.ab_fakes import GIB, FakeBench, side

PLAIN = (MatrixCase(),)
QUICK = CompareOptions(null_control=False, guards="off")


def run(bench, options=QUICK, cases=PLAIN, *, a=None, b=None, view=None):
    return compare(a or side("a"), b or side("b"), cases, options, bench=bench, view=view).record


def outcome(record):
    return judge_comparison(record).outcome


@pytest.mark.parametrize(
    ("b", "answer"), [(1.0, Outcome.PASS), (0.8, Outcome.PASS), (1.1, Outcome.SLOWER)]
)
def test_speed_decides_at_a_look(b, answer):
    stages = (0.1 * b, 0.8 * b, 0.1 * b)
    record = run(FakeBench({"seconds": 1.0}, {"seconds": b, "stages": stages}))
    (case,) = record.cases
    assert len(case.blocks) == 4
    assert case.contrasts == pytest.approx([math.log(b)] * 4)
    assert outcome(record) is answer


def test_how_each_process_began_is_kept():
    record = run(FakeBench({"seconds": 1.0}, {"seconds": 1.0, "load": 2.5}))
    (case,) = record.cases
    assert {start.load_s for start in case.starts_a} == {0.5}
    assert {start.load_s for start in case.starts_b} == {2.5}
    assert len(case.starts_b) == len(case.memory_b.lives)


def test_two_sided_blocks_go_on_until_a_gain_is_told_from_none():
    def wander():
        return itertools.cycle([0.97, 0.99, 0.94, 0.96])

    def measure(options):
        behaviour = {"seconds": wander(), "stages": (0.1, 0.77, 0.1)}
        return run(FakeBench({"seconds": 1.0}, behaviour), options)

    options = CompareOptions(null_control=False, guards="off", alpha=0.05)
    one, both = measure(options), measure(replace(options, is_two_sided=True))
    assert len(both.cases[0].blocks) > len(one.cases[0].blocks)
    (case,) = judge_comparison(both).cases
    assert case.speed.blocks == len(both.cases[0].blocks)


@pytest.mark.parametrize(("b", "answer"), [(0.8, Outcome.INCONCLUSIVE), (0.01, Outcome.BROKEN)])
def test_a_gain_that_no_profiled_round_shows_is_no_pass(b, answer):
    record = run(FakeBench({"seconds": 1.0}, {"seconds": b}))
    assert outcome(record) is answer
    (said,) = [
        one for one in judge_comparison(record).cases[0].findings if one.gate == "plausibility"
    ]
    assert "the profiled rounds, which run stage by stage, show 0% of that" in said.reason


def test_a_side_that_does_other_work_than_asked_is_broken_though_faster():
    fault = "asked for 4 steps, executed 3"
    stages = (0.075, 0.6, 0.075)
    faster = {"seconds": 0.75, "stages": stages, "faults": (fault,)}
    record = run(FakeBench({"seconds": 1.0}, faster))
    assert outcome(record) is Outcome.BROKEN
    findings = judge_comparison(record).cases[0].findings
    assert any(fault in one.reason for one in findings if one.outcome is Outcome.BROKEN)


@pytest.mark.parametrize("fresh", [FreshRounds((17.0, 16.0, 17.0)), FreshRounds((0.5,), 1)])
def test_a_side_that_answers_from_memory_is_broken(fresh):
    record = run(FakeBench({"seconds": 1.0}, {"seconds": 1.0, "fresh": fresh}))
    assert record.cases[0].fresh_b == fresh
    assert outcome(record) is Outcome.BROKEN


def test_other_bytes_than_those_of_an_exact_side_are_changed():
    a, b = {"exact": True}, {"noise": 0.3}
    record = run(FakeBench({"seconds": 1.0} | a, {"seconds": 1.0} | b))
    assert record.cases[0].is_exact is True
    assert Outcome.CHANGED in {one.outcome for one in judge_comparison(record).cases[0].findings}
    same = run(FakeBench({"seconds": 1.0} | a, {"seconds": 1.0}))
    assert outcome(same) is Outcome.PASS
    unknown = run(FakeBench({"seconds": 1.0}, {"seconds": 1.0} | b))
    assert unknown.cases[0].is_exact is None


def test_blocks_are_mirrored_and_processes_renewed_together_every_third():
    bench = FakeBench({"seconds": 1.0}, {"seconds": 1.029})
    record = run(bench)
    case = record.cases[0]
    assert len(case.blocks) == 12
    assert [block.order for block in case.blocks[:3]] == ["BAAB", "ABBA", "BAAB"]
    assert record.b_first
    timed = [entry for entry in bench.journal if entry.endswith(("time", "load"))]
    # The first block takes over the processes that drew the images; then every third renews.
    assert timed[:6] == ["a1 load", "b2 load", "b2 time", "a1 time", "a1 time", "b2 time"]
    loads = [i for i, entry in enumerate(timed) if entry.endswith("load")]
    assert loads == [0, 1, 14, 15, 28, 29, 42, 43]
    assert outcome(record) is Outcome.INCONCLUSIVE
    starts = [one.start_s for block in case.blocks for one in block.executions]
    assert starts == sorted(starts)


def test_profiled_rounds_follow_each_block_in_its_order():
    stages = {"stages": (0.1, 0.4, 0.1)}
    record = run(FakeBench({"seconds": 1.0}, {"seconds": 0.6, **stages}))
    assert [pair.order for pair in record.cases[0].profiles] == ["BA", "AB", "BA", "AB"]
    changes = {one.name: one for one in judge_comparison(record).cases[0].stages}
    assert changes["denoise"].saved_s == pytest.approx(0.4)
    assert math.exp(changes["denoise"].bounds.mean) == pytest.approx(0.5)
    assert changes["decode_latents"].bounds.mean == 0


def test_a_pipeline_that_cannot_be_profiled_is_compared_without_stages():
    record = run(FakeBench({"stages": None}, {}))
    assert record.cases[0].profiles == ()
    assert record.cases[0].notes == ("no stage times: a pipeline cannot be profiled",)
    assert outcome(record) is Outcome.PASS


def test_the_null_control_comes_first_and_voids_a_machine_that_differs_from_itself():
    bench = FakeBench({"seconds": 1.0}, {"seconds": 1.0})
    bench.second_a = {"seconds": 1.2}
    record = run(bench, CompareOptions(guards="off"))
    assert len(record.control) == 4
    assert record.cases[0].blocks == ()
    verdict = judge_comparison(record)
    assert verdict.void == "the same code differs from itself by +20.0 % on this machine now"
    assert verdict.control == pytest.approx(math.log(1.2))
    bench = FakeBench({"seconds": 1.0}, {"seconds": 1.0})
    record = run(bench, CompareOptions(guards="off"))
    assert judge_comparison(record).void is None
    assert outcome(record) is Outcome.PASS
    order = [entry for entry in bench.journal if "time" in entry or "close" in entry]
    assert set(order[:16]) <= {"a1 time", "a3 time", "a1 close", "a3 close"}
    assert order.index("a3 close") < order.index("b2 time")


def test_cases_share_the_error_and_the_control():
    cases = (MatrixCase(), MatrixCase("throughput", Variant(mode="async"), batch=4))
    record = run(FakeBench(), CompareOptions(guards="off"), cases)
    assert [case.alpha for case in record.cases] == [0.005, 0.005]
    assert len(record.control) == 4
    assert [case.case.id for case in record.cases] == [
        "latency[fp32-sync-1w]",
        "throughput[fp32-async-1w]",
    ]


def test_disturbed_blocks_are_measured_again_with_their_reason():
    bench = FakeBench(disturbed=[None, "the chip got hot", None])
    record = run(bench, CompareOptions(null_control=False))
    reasons = [block.discarded for block in record.cases[0].blocks]
    assert reasons == [None, "the chip got hot", None, None, None]
    assert len(record.cases[0].contrasts) == 4
    assert len(record.cases[0].profiles) == 4


def test_too_many_disturbed_blocks_end_it_undecided():
    bench = FakeBench(disturbed=["swapping"] * 20)
    record = run(bench, CompareOptions(null_control=False, discards=2))
    assert len(record.cases[0].blocks) == 3
    assert record.cases[0].notes == (
        "stopped after 0 blocks: 3 blocks were disturbed, the last because swapping",
    )
    assert outcome(record) is Outcome.INCONCLUSIVE


def test_one_disturbed_block_is_told_as_one():
    record = run(FakeBench(disturbed=["swapping"]), CompareOptions(null_control=False, discards=0))
    (note,) = record.cases[0].notes
    assert note == "stopped after 0 blocks: 1 block was disturbed, because swapping"


def test_the_end_of_time_leaves_what_is_known():
    options = CompareOptions(null_control=False, guards="off", budget_s=7.0)
    record = run(FakeBench({"seconds": 1.0}, {"seconds": 1.0}), options)
    assert len(record.cases[0].blocks) == 2
    assert "the time given is over (7.00 s)" in record.cases[0].notes[0]
    assert outcome(record) is Outcome.INCONCLUSIVE


def test_a_null_control_that_leaves_no_time_to_compare_is_left_out_and_said_to_be():
    """Four blocks of the control are expected to take 32 seconds of fake rounds."""
    options = CompareOptions(guards="off", budget_s=14.0)
    record = run(FakeBench({"seconds": 1.0}, {"seconds": 1.0}), options)
    assert len(record.cases[0].blocks) == 4
    assert record.control == ()
    assert record.notes == (
        "no null control: it takes about 32.0 s, and too little of the 14.0 s that were given "
        "would be left to compare; about 64.0 s are enough for both",
    )
    ample = run(FakeBench(), dataclasses.replace(options, budget_s=64.0))
    assert len(ample.control) == 4
    assert ample.notes == ()


def test_a_null_control_that_takes_longer_than_expected_ends_where_half_is_left():
    slow = FakeBench({"seconds": 8.0, "latency": 0.5}, {"seconds": 1.0})
    record = run(slow, CompareOptions(guards="off", budget_s=80.0, rounds=1))
    assert len(record.control) < 4
    assert record.notes == ("no null control: half of the time that was left was over",)
    assert record.cases[0].blocks


def interrupted_after(rounds, seconds=0.5):
    yield from itertools.repeat(seconds, rounds)
    raise KeyboardInterrupt


def test_an_interrupt_keeps_what_was_measured_and_ends_the_workers():
    bench = FakeBench({"seconds": 1.0}, {"seconds": interrupted_after(7)})
    record = run(bench)
    assert record.was_interrupted
    assert len(record.cases[0].blocks) == 3
    assert len(record.cases[0].images) == 2
    verdict = judge_comparison(record).cases[0]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.line.startswith("B is 50.0 % faster")
    assert bench.journal[-2:] == ["a1 close", "b2 close"]


def test_a_side_that_dies_is_named_and_all_workers_end():
    def dying():
        yield from itertools.repeat(1.0, 5)
        raise WorkerError("a worker died", got="exit code -9")

    bench = FakeBench({"seconds": 1.0}, {"seconds": dying()})
    with pytest.raises(SideError, match=r"side B \(b\): a worker died; got: exit code -9") as error:
        run(bench)
    assert error.value.side == "B"
    assert isinstance(error.value.cause, WorkerError)
    assert bench.journal[-2:] == ["a1 close", "b2 close"]


def test_a_machine_that_is_not_fit_is_refused_under_strict_guards():
    bench = FakeBench(unfit=True)
    with pytest.raises(UnfitError):
        run(bench, CompareOptions(null_control=False, guards="strict"))
    assert bench.journal[-2:] == ["a1 close", "b2 close"]


def test_sides_that_do_not_fit_alternate():
    bench = FakeBench({"seconds": 1.0, "rss": 5 * GIB}, {"seconds": 1.0}, ram_bytes=8 * GIB)
    record = run(bench)
    assert "do not fit" in record.cases[0].notes[0]
    resident = set()
    for entry in bench.journal:
        name, _, what = entry.partition(" ")
        if what == "load":
            resident.add(name)
        elif what == "close":
            resident.discard(name)
        assert len(resident) <= 1
    assert outcome(record) is Outcome.PASS


def test_a_heavy_b_is_found_out_after_loading_it():
    bench = FakeBench({"rss": GIB}, {"rss": 9 * GIB}, ram_bytes=8 * GIB)
    record = run(bench, CompareOptions(guards="off"))
    assert "do not fit" in record.cases[0].notes[0]
    assert outcome(record) is Outcome.HEAVIER


def test_three_that_do_not_fit_send_b_away_during_the_control():
    bench = FakeBench({"rss": 3 * GIB}, {"rss": 3 * GIB}, ram_bytes=8 * GIB)
    record = run(bench, CompareOptions(guards="off"))
    assert record.cases[0].notes == ()
    third = bench.journal.index("a3 load")
    assert "b2 close" in bench.journal[:third]
    assert outcome(record) is Outcome.PASS


def test_images_are_scored_prompt_by_prompt_and_kept():
    same = compare(side("a"), side("b"), PLAIN, QUICK, bench=FakeBench())
    assert all(pair.b.scores[0].identical for pair in same.record.cases[0].images)
    assert set(same.pngs) == {pair.a.sha256 for pair in same.record.cases[0].images}
    record = run(FakeBench(b={"noise": 40.0}))
    assert outcome(record) is Outcome.DEGRADED
    record = run(FakeBench(b={"pixels": np.zeros((64, 64, 3), np.uint8)}))
    assert outcome(record) is Outcome.BROKEN
    record = run(FakeBench(b={"nonfinite": True}))
    assert outcome(record) is Outcome.BROKEN


def test_sixteen_bits_are_held_to_what_was_measured_for_them():
    b = side("b", variant_changes={"precision": "fp16"})
    loose = Floors(ssim=0.1, worst_tile_ssim=0.0, entropy_drop_bits=8.0, evidence="")
    record = run(FakeBench(b={"noise": 8.0}, floors={"fp16": loose}), b=b)
    assert record.cases[0].variant_b.precision == "fp16"
    assert outcome(record) is Outcome.PASS
    record = run(FakeBench(b={"noise": 8.0}), b=b)
    assert outcome(record) is Outcome.NO_BASELINE
    options = CompareOptions(null_control=False, guards="off", min_ssim=0.999)
    assert outcome(run(FakeBench(b={"noise": 8.0}), options, b=b)) is Outcome.DEGRADED


def test_energy_is_watched_in_mirrored_order_where_it_is_known():
    bench = FakeBench({"joules": 10.0}, {"joules": 9.0})
    record = run(bench)
    assert record.cases[0].energy.a_j == (10.0, 10.0)
    assert [entry for entry in bench.journal if "watch" in entry] == [
        "a1 watch",
        "b2 watch",
        "b2 watch",
        "a1 watch",
    ]
    bench = FakeBench()
    assert run(bench).cases[0].energy is None
    assert bench.journal.count("b2 watch") == 0


def test_revisions_of_which_nothing_takes_part_are_refused():
    a, b = side("a", code=("/a",), revision="a" * 40), side("b", code=("/b",))
    bench = FakeBench()
    with pytest.raises(ConfigurationError, match="nothing of this repository takes part"):
        run(bench, a=a, b=b)
    assert bench.journal[-2:] == ["a1 close", "b2 close"]
    record = run(FakeBench({"modules": {"mine": "1"}}, {"modules": {"mine": "2"}}), a=a, b=b)
    assert record.a.modules == {"mine": "1"}
    assert record.notes == ()
    record = run(FakeBench({"modules": {"mine": "1"}}, {"modules": {"mine": "1"}}), a=a, b=b)
    assert record.notes == ("every module that took part is the same in both revisions",)


@pytest.mark.parametrize(
    ("case", "image_s", "plan"),
    [
        (MatrixCase(), 5.0, BlockPlan(1, 1)),
        (MatrixCase(), 0.9, BlockPlan(1, 2)),
        (MatrixCase(), 0.01, BlockPlan(25, 5)),
        (MatrixCase("throughput", batch=4), 0.2, BlockPlan(1, 2)),
        (MatrixCase("stage", stage="denoise"), 5.0, BlockPlan(5, 5)),
    ],
)
def test_a_block_of_short_generations_has_many_short_turns(case, image_s, plan):
    assert plan_block(case, image_s) == plan


@pytest.mark.parametrize(("spread", "times"), [(0.0, 1), (0.5, 1), (1.0, 2), (1.2, 3), (50.0, 3)])
def test_blocks_are_longer_the_noisier_the_null_control_was(spread, times):
    limit = math.log1p(0.03)
    contrasts = np.array([1.0, -1.0, 1.0, -1.0]) * spread * limit * math.sqrt(3 / 4)
    assert choose_lengthening(contrasts.tolist(), limit) == times


def test_too_few_blocks_of_a_control_lengthen_nothing():
    assert choose_lengthening([0.5, -0.5], math.log1p(0.03)) == 1


@pytest.mark.parametrize(("rounds", "cycles", "told"), [(None, 3, True), (1, 1, False)])
def test_a_noisy_null_control_lengthens_all_blocks_that_follow(rounds, cycles, told):
    noisy = itertools.cycle([1.04, 1.04, 0.96, 0.96])
    bench = FakeBench({"seconds": 1.0, "latency": 3.0}, {"seconds": 1.0, "latency": 3.0})
    bench.second_a = {"seconds": noisy}
    cases = (MatrixCase(), MatrixCase("throughput", batch=2))
    record = run(bench, CompareOptions(guards="off", rounds=rounds), cases)
    assert [len(block.order) for block in record.control] == [4] * 4
    for case in record.cases:
        assert {len(block.order) for block in case.blocks} == {4 * cycles}
    assert (record.notes == ("the null control was noisy: blocks are 3 times as long",)) is told
    assert outcome(record) is Outcome.PASS


def test_an_execution_is_the_median_of_its_rounds():
    seconds = itertools.cycle([1.0, 9.0, 1.1])
    bench = FakeBench({"seconds": 1.0, "latency": 0.1}, {"seconds": seconds, "latency": 0.1})
    execution = run(bench).cases[0].blocks[0].executions[0]
    assert execution.rounds_s == (1.0, 9.0, 1.1)
    assert execution.duration_s == 1.1


def test_a_subject_of_the_working_tree_is_no_subject_of_a_revision(tmp_path):
    repository, tree = tmp_path / "project", tmp_path / "worktree"
    revision = side("old", revision="a" * 40, code=(str(tree),), repository=repository)
    refuse_stray_subject(revision, "A", str(tree / "mine.py"))
    refuse_stray_subject(revision, "A", str(tmp_path / "elsewhere" / "mine.py"))
    refuse_stray_subject(revision, "A", str(repository / ".venv/site-packages/mine.py"))
    refuse_stray_subject(side("now", repository=repository), "B", str(repository / "mine.py"))
    with pytest.raises(SideError, match=r"side A \(old\): the revision does not hold") as error:
        refuse_stray_subject(revision, "A", str(repository / "tools" / "mine.py"))
    assert error.value.got == "tools/mine.py of the working tree"


class Watcher:
    def __init__(self):
        self.seen = []

    def announce(self, what):
        self.seen.append(what)

    def show(self, progress):
        self.seen.append(progress)

    def finish(self):
        self.seen.append("finished")


def test_who_watches_sees_the_interval_shrink_and_the_time_left():
    view = Watcher()
    run(FakeBench({"seconds": 1.0}, {"seconds": 0.5}), view=view)
    shown = [one for one in view.seen if not isinstance(one, str)]
    assert [one.blocks for one in shown] == [1, 2, 3, 4]
    assert [one.is_look for one in shown] == [False, False, False, True]
    assert shown[0].bounds is None
    widths = [one.bounds.upper - one.bounds.lower for one in shown[1:]]
    assert widths == sorted(widths, reverse=True)
    assert shown[0].left_s == pytest.approx(11 * 3.0)
    assert shown[-1].left_s == 0
    assert view.seen[-1] == "finished"
