"""What a session is told of the runs that it is compared with."""

from pathlib import Path

import pytest

from sdperf.judging.session.comparison import (
    ComparedSession,
    describe_elsewhere,
    describe_renamed,
)
from sdperf.record.workload import Variant
from sdperf.store.images import ImageStore
from sdperf.store.runs import SavedCase
from tests.support.measurements import measurement

PLAIN = "bench.py::test_latency[fp32-sync-1w]"
NAMED = "bench.py::test_latency[fp32-sync-1w-none]"


def session(source, **cases):
    held = {name: SavedCase(name, one, rounds_s=(1.0,)) for name, one in cases.items()}
    return ComparedSession(source, held, ImageStore(Path(source)))


def test_a_case_whose_axis_is_named_now_is_found_by_what_it_measures():
    saved = session("0001_one.json", **{PLAIN: measurement()})
    told = describe_renamed([saved], {NAMED: measurement()})
    assert told is not None
    assert told.startswith("0001_one.json holds 1 case of now under another id, because another")
    assert "latency[fp32-sync-1w] is latency[fp32-sync-1w-none]" in told
    back = describe_renamed(
        [session("0002_two.json", **{NAMED: measurement()})], {PLAIN: measurement()}
    )
    assert back is not None


@pytest.mark.parametrize(
    ("name", "one"),
    [
        (PLAIN, measurement()),
        (NAMED, measurement(variant=Variant("fp32", optimisations=("attention_slicing",)))),
        (NAMED.replace("latency", "batch"), measurement()),
        ("bench.py::test_latency[wide]", measurement()),
    ],
)
def test_other_work_and_other_parameters_are_no_other_name(name, one):
    assert describe_renamed([session("a.json", **{PLAIN: measurement()})], {name: one}) is None
    assert describe_renamed([], {name: one}) is None


def test_a_saved_run_that_helps_is_named_with_what_to_type():
    accepted = session("baseline 0001", **{PLAIN: measurement()})
    saved = session("0002_full.json", **{PLAIN: measurement(), NAMED: measurement()})
    (told,) = describe_elsewhere([accepted], [saved], [PLAIN, NAMED])
    assert told == (
        "no baseline has latency[fp32-sync-1w-none], but the saved run 0002_full.json does: "
        "--benchmark-compare=0002 compares with that run alone"
    )
    assert describe_elsewhere([accepted], [saved], [PLAIN]) == []
    assert describe_elsewhere([accepted], [], [PLAIN, NAMED]) == []
