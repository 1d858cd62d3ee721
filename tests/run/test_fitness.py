"""Rounds in which the machine did not hold still do not count, and are measured again."""

import itertools
from types import SimpleNamespace

import pytest

from sdperf.errors import UnfitError
from sdperf.measure.fitness.conditions import Conditions
from sdperf.measure.fitness.guard_changes import compute_other_work
from sdperf.measure.resources.host import HostProbe
from sdperf.measure.resources.linux.linux_parsers import CpuTimes
from sdperf.measure.resources.probe import Reading
from sdperf.record.guard import Guard
from sdperf.run.fitness import GuardedRounds, check_fit, make_log
from sdperf.run.machine import AT_REST_ONLY, LiveMachine
from sdperf.run.pool import PoolRound
from tests.support.systems import FakeSystem


def conditions(**changes):
    return Conditions(**{"platform": "linux", "device_kind": "cpu"} | changes)


def guarded(readings, budget=5):
    numbers = itertools.count(1)
    rounds = GuardedRounds(iter(readings).__next__, budget)
    return rounds, lambda: PoolRound(float(next(numbers)), ())


def swapped(*totals):
    return [conditions(swapped_out_bytes=total) for total in totals]


def test_a_quiet_machine_measures_each_round_once():
    rounds, run = guarded(swapped(0, 0, 0))
    assert [rounds.measure(run).duration_s for _ in range(2)] == [1.0, 2.0]
    assert rounds.excluded == rounds.during == []


def test_a_disturbed_round_is_excluded_with_its_reason_and_measured_again():
    rounds, run = guarded(swapped(0, 4096, 4096, 4096))
    assert [rounds.measure(run).duration_s for _ in range(2)] == [2.0, 3.0]
    (excluded,) = rounds.excluded
    assert excluded.duration_s == 1.0
    assert "4.00 KiB were swapped out" in excluded.reason


def test_a_warning_keeps_the_round_and_is_kept_with_it_once():
    readings = [conditions(swapped_in_bytes=total) for total in (0, 4096, 8192)]
    rounds, run = guarded(readings)
    assert [rounds.measure(run).duration_s for _ in range(2)] == [1.0, 2.0]
    (warning,) = rounds.during
    assert (warning.name, warning.state) == ("swap", "warn")


def count_ticks(*busy, total=1000):
    """Readings of two processors, 1000 ticks apart, so many of them busy in each step."""
    return [
        conditions(cpu_times=CpuTimes(total * number, 0, total * number - sum(busy[:number])))
        for number in range(len(busy) + 1)
    ]


def occupied(readings, worker_cpu_s, own_s=0.0, duration_s=5.0):
    """Rounds whose worker counts so many processor seconds each, and pytest's process so many."""
    spent = itertools.count(0.0, own_s)
    rounds = GuardedRounds(iter(readings).__next__, 5, own_cpu_s=lambda: next(spent))
    result = SimpleNamespace(cpu_s=worker_cpu_s)
    for _ in readings[1:]:
        rounds.measure(lambda: PoolRound(duration_s, (result,)))
    return rounds


@pytest.mark.parametrize(
    ("busy", "worker_cpu_s", "own_s", "taken"),
    [
        ((900, 900), 9.0, 0.0, None),  # all of it the worker's
        ((900, 900), 5.0, 0.0, "40.0 %"),
        ((500, 900), 5.0, 0.0, "20.0 %"),  # a neighbour that began in the second round
        ((900, 900), 5.0, 4.0, None),  # pytest's own process
        ((590, 590), 5.0, 0.0, None),  # what a quiet machine does besides
        ((900, 900), None, 0.0, None),  # a worker that cannot count
    ],
)
def test_other_work_that_begins_during_rounds_is_a_warning(busy, worker_cpu_s, own_s, taken):
    rounds = occupied(count_ticks(*busy), worker_cpu_s, own_s)
    found = make_log("warn", (), rounds, ()).during
    assert rounds.excluded == []
    if taken is None:
        assert found == ()
    else:
        (guard,) = found
        assert (guard.name, guard.state, guard.value) == ("load", "warn", f"{taken} in rounds")
        assert f"other work took {taken} of the processors' time" in guard.sentence


def test_what_a_worker_prepares_between_rounds_is_no_work_of_others():
    # A stage alone of ten milliseconds, and seconds of drawing what it takes.
    rounds = occupied(count_ticks(900, 900), 0.02, duration_s=0.01)
    assert make_log("warn", (), rounds, ()).during == ()


def test_a_few_ticks_say_nothing_of_others():
    assert make_log("warn", (), occupied(count_ticks(90, total=100), 0.0), ()).during == ()


def test_what_the_hypervisor_took_is_no_work_of_others():
    before = conditions(cpu_times=CpuTimes(0, 0, 0))
    after = conditions(cpu_times=CpuTimes(1000, 400, 500))
    assert compute_other_work(before, after, 1.0) == (0.0, 10.0)


def test_a_spent_budget_is_an_error_and_no_number():
    rounds, run = guarded(swapped(*range(0, 4096 * 9, 4096)), budget=2)
    with pytest.raises(UnfitError, match=r"3 invalid rounds.*swapped out.*--sd-guards off"):
        rounds.measure(run)
    assert len(rounds.excluded) == 3


def test_the_budget_is_shared_by_all_rounds_of_a_case():
    rounds, run = guarded(swapped(0, 1, 1, 2, 2, 3), budget=2)
    assert rounds.measure(run).duration_s == 2.0
    assert rounds.measure(run).duration_s == 4.0
    with pytest.raises(UnfitError):
        rounds.measure(run)


def test_only_strict_refuses_an_unfit_machine():
    bad = Guard("power source", "fail", "battery", "clocks follow the battery", "plug it in")
    warned = Guard("clock governor", "warn", "schedutil", "clocks follow the load")
    check_fit([bad], "warn")
    check_fit([warned], "strict")
    with pytest.raises(UnfitError, match=r"not fit.*battery.*plug it in.*sdperf doctor"):
        check_fit([warned, bad], "strict")


def test_strict_takes_unknown_for_no_answer_unless_it_is_allowed_by_name():
    load = Guard("load", "unknown", None, "cannot be read", "mount /proc")
    steal = Guard("steal", "unknown", None, "not counted", "mount /proc")
    check_fit([load, steal], "warn")
    with pytest.raises(UnfitError) as refused:
        check_fit([load, steal], "strict", frozenset({"steal"}))
    message = str(refused.value)
    assert message.startswith("it cannot be known whether this machine is fit")
    assert "load unknown: cannot be read" in message
    assert "steal unknown" not in message
    assert "mount /proc" in message
    assert "--sd-guards strict,allow=load,allow=steal" in message
    check_fit([load, steal], "strict", frozenset({"load", "steal"}))


def test_what_fails_is_refused_even_where_it_may_be_unknown():
    bad = Guard("load", "fail", "3.00 per core", "other work takes processors")
    with pytest.raises(UnfitError, match="not fit to be measured on"):
        check_fit([bad], "strict", frozenset({"load"}))


def test_the_log_of_guards_that_are_off_is_empty():
    log = make_log("off", (), None, ())
    assert (log.policy, log.before, log.after, log.excluded) == ("off", (), (), ())


def linux(load, *, swapped_out=0):
    return FakeSystem(
        platform="linux",
        files={"/proc/loadavg": f"{load:.2f} 0.00 0.00 1/1 1\n"}
        | {
            "/sys/devices/system/cpu/online": "0-1\n",
            "/proc/vmstat": f"pswpin 0\npswpout {swapped_out}\n",
        },
    )


def test_what_only_means_something_at_rest_is_taken_from_before_the_first_worker():
    machine = LiveMachine(system=linux(0.1))
    machine.look_at_rest()
    machine.system = linux(8.0)
    before = {guard.name: guard.state for guard in machine.judge_before("cpu")}
    after = {guard.name for guard in machine.judge_after("cpu")}
    assert before["load"] == "ok"
    assert not after & AT_REST_ONLY
    assert "swap" in after
    machine.look_at_rest()  # a second look, under load, changes nothing
    assert {guard.name: guard.state for guard in machine.judge_before("cpu")} == before
    machine.close()


def test_a_loaded_machine_is_seen_at_rest():
    machine = LiveMachine(system=linux(8.0))
    assert {g.name: g.state for g in machine.judge_before("cpu")}["load"] == "fail"
    machine.close()


class CountingProbe:
    name = "counting"
    period_s = 0.0

    def __init__(self):
        self.read_times = self.closed = 0

    def begin(self):
        pass

    def read(self):
        self.read_times += 1
        return Reading({"tree_rss_bytes": 1.0})

    def close(self):
        self.closed += 1


def test_what_takes_no_part_is_left_out_of_the_tree():
    source = SimpleNamespace()
    machine = LiveMachine(system=linux(0.1), find_probes=lambda _: [probe, CountingProbe()])
    probe = HostProbe(source)
    machine.watch(frozenset({7}))
    assert probe.apart == {7}
    machine.watch()
    assert probe.apart == frozenset()


def test_probes_stay_open_between_cases_and_are_closed_once():
    opened = []

    def find_probes(_system):
        opened.append(CountingProbe())
        return opened

    machine = LiveMachine(system=linux(0.1), find_probes=find_probes)
    for _ in range(2):
        with machine.watch() as sampler:
            pass
        assert sampler.stop(images=3).images == 3
    (probe,) = opened
    assert probe.read_times >= 4
    machine.close()
    machine.close()
    assert probe.closed == 1
