"""The lines of ``--sd-durations``."""

from sdperf.measure.ledger import Durations
from sdperf.report.text.session.durations import format_durations


def test_each_activity_has_its_share_and_a_large_waste_is_coloured():
    durations = Durations(
        {"start-up": 10.0, "measured rounds": 60.0, "comparing": 30.0},
        {"fp32, worker 1": 2, "fp32, worker 2": 1},
        ("fp32, worker 1",),
    )
    lines = format_durations(durations)
    assert [line.text for line in lines] == [
        "durations",
        "    start-up            10.0 s  10.0 %",
        "    measured rounds     60.0 s  60.0 %",
        "    comparing           30.0 s  30.0 %",
        "    33.3 % of the time after start-up lies outside rounds (warm-up, measured, profiled)",
        "    3 model loads, again: fp32, worker 1",
    ]
    assert [line.colour for line in lines[-2:]] == ["yellow", "yellow"]


def test_little_waste_and_no_load_twice_are_plain():
    lines = format_durations(Durations({"measured rounds": 90.0, "waiting": 10.0}, {"fp32": 1}))
    assert [line.colour for line in lines[-2:]] == ["", ""]
    assert lines[-1].text == "    1 model load, none into a worker that had it"


def test_nothing_is_said_of_no_time():
    assert format_durations(Durations({})) == []
