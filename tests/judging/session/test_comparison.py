"""What a session is told of the runs that it is compared with."""

from pathlib import Path

import pytest

from sdperf.judging.session.comparison import (
    ComparedSession,
    compare_with_saved,
    describe_elsewhere,
    describe_renamed,
    explain_absence,
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


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ((5, 7), "limit +3.0 % a case, held to the spread between sessions"),
        (
            (1, 5),
            "only +25.0 % fails in 1 of 2 cases; 4 more sessions for the limit of +3.0 % to bind",
        ),
        ((1, 2), "only +25.0 % fails; 4 more sessions for the limit of +3.0 % to bind"),
    ],
)
def test_the_limit_that_binds_is_told_by_the_sessions_of_each_case(tmp_path, counts, line):
    stats = {"extra_info": {}, "stats": {"data": [1.0]}}
    saved = {
        f"{number:04}.json": {
            name: stats for name, count in zip(("a", "b"), counts, strict=True) if count > number
        }
        for number in range(max(counts))
    }
    compared = compare_with_saved(saved, tmp_path, 0.03, 0.25, ["a", "b", "new"])
    assert compared.lines[1] == line


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


@pytest.mark.parametrize(
    ("then", "now", "reason", "step"),
    [
        (
            None,
            2,
            "measured with 2 threads; a.json has it with 4, the automatic number",
            "pytest without",
        ),
        (
            1,
            2,
            "measured with 2 threads; a.json has it with 1 thread",
            "pytest benchmarks --sd-threads 1",
        ),
        (
            1,
            None,
            "measured with 4, the automatic number; a.json has it with 1",
            "pytest benchmarks --sd-threads 1",
        ),
    ],
)
def test_a_case_without_a_baseline_says_that_the_baseline_has_other_threads(
    then, now, reason, step
):
    def case(threads):
        one = measurement(variant=Variant("fp32", threads=threads), worker_threads=threads or 4)
        return f"bench.py::test_latency[{one.variant.id}]", one

    (saved, held), (name, measured) = case(then), case(now)
    told, do = explain_absence([session("a.json", **{saved: held})], name, measured)
    assert told.startswith(reason)
    assert do.startswith(step)
    other = "bench.py::test_batch[fp32-sync-1w]"
    assert explain_absence([session("a.json", **{other: held})], name, measured) == (
        "no compared run holds this case",
        "pytest benchmarks --benchmark-autosave",
    )


def test_a_case_without_a_baseline_says_that_the_baseline_has_another_id():
    saved = session("baseline 0003", **{PLAIN: measurement()})
    other = session("baseline 0004", **{"bench.py::test_batch[x]": measurement()})
    told = explain_absence([saved, other], NAMED, measurement())
    assert told == (
        "baseline 0003 has it under another id, latency[fp32-sync-1w]",
        "name the axes as then",
    )
    assert explain_absence([], NAMED, measurement())[0] == "there is no run to compare with"


@pytest.mark.parametrize(
    ("now", "threads"),
    [("wide", None), ("wide", 2), ("wide-fp32-sync-1w-2t", 2)],
)
def test_a_case_with_another_parameter_is_no_case_with_other_threads(now, threads):
    saved = session("a.json", **{"bench.py::test_latency[narrow-fp32-sync-1w]": measurement()})
    one = measurement(variant=Variant("fp32", threads=threads))
    told, _ = explain_absence([saved], f"bench.py::test_latency[{now}]", one)
    assert told == "no compared run holds this case"
