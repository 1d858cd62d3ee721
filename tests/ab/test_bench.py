from sdperf.ab.bench import GuardedBlocks
from sdperf.measure.conditions import Conditions


def conditions(**changes):
    return Conditions("linux", "cpu", **changes)


def test_blocks_in_which_a_guard_changed_do_not_count():
    readings = iter([conditions(power_source="ac")] * 3 + [conditions(power_source="battery")])
    watch = GuardedBlocks(lambda: next(readings))
    watch.begin()
    assert watch.end() is None
    watch.begin()
    assert "battery" in watch.end()
