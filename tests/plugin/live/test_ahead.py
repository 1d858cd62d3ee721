"""How many processes a session wants, for its next pipeline and in all."""

import pytest

from sdperf.plugin.live.ahead import DRAWN, INSPECTED, MEASURED, ExpectedWork, Plan, find_asked
from sdperf.record.workload import Variant

FP32, BF16, ONNX = Variant("fp32"), Variant("bf16"), Variant("fp32", engine="onnx")
PLAN = Plan(
    [
        ExpectedWork("one", FP32),
        ExpectedWork("two", Variant("fp32", workers=2)),
        ExpectedWork("images", FP32, is_timed=False),
        ExpectedWork("onnx", ONNX, has_plain_side=True),
        ExpectedWork("bf16", Variant("bf16", workers=3)),
        ExpectedWork("alone", Variant("bf16", engine="onnx"), is_timed=False),
    ]
)


def never(variant):
    return False


@pytest.mark.parametrize(
    ("node_id", "count", "is_first"),
    [
        ("one", 2, True),
        ("two", 2, False),
        ("images", 2, False),
        ("onnx", 2, True),  # its own and the plain side's
        ("bf16", 3, True),
        ("alone", 2, True),  # and a fresh one
        ("not ours", 0, False),
    ],
)
def test_tests_with_equal_pipelines_share_their_processes(node_id, count, is_first):
    assert PLAN.count_now(node_id, never) == count
    assert PLAN.is_first_of_its_pipeline(node_id, never) is is_first


def test_the_session_wants_those_of_all_its_pipelines():
    assert PLAN.count_all(never) == 9
    assert PLAN.count_all(lambda one: one.precision == "bf16") == 4
    assert PLAN.count_all(lambda one: True) == 0


def test_what_is_skipped_wants_none():
    one_worker = PLAN.count_now("one", lambda one: one.workers == 2)
    assert one_worker == 2  # the fresh process of the quality suite: no second worker has been one
    assert PLAN.is_first_of_its_pipeline("two", lambda one: one == FP32)


def test_other_pipelines_are_not_asked_about_before_it_matters():
    """Whether a precision is native takes a process to know, as long as none runs."""
    asked = []
    PLAN.count_now("one", lambda one: asked.append(one.precision) or False)
    PLAN.is_first_of_its_pipeline("one", lambda one: asked.append(one.precision) or False)
    assert set(asked) == {"fp32"}


def measure(bench):
    return bench.latency()


def ask_inside(quality):
    return [quality.images() for _ in range(2)]


def test_what_is_known_to_be_skipped_wants_nothing():
    asks = frozenset({"components", "images"})
    skipped = [
        ExpectedWork("bf16", Variant("bf16", workers=3), is_skipped=True),
        ExpectedWork("quality", Variant("fp16"), is_timed=False, asks=asks, is_skipped=True),
        ExpectedWork("gain", FP32, has_plain_side=True, is_skipped=True),
    ]
    plan = Plan([*skipped, ExpectedWork("one", FP32)])
    assert plan.count_all(never) == 1
    assert plan.count_now("one", never) == 1
    assert plan.is_first_of_its_pipeline("one", never)
    assert plan.count_pictures(4, 8, never) == 0
    assert plan.list_inspected(never) == ()
    assert plan.list_variants(never) == [FP32]
    assert [one.node_id for one in plan.tests] == ["bf16", "quality", "gain", "one"]


def ask_through_a_helper(quality):
    return getattr(quality, "images")()  # noqa: B009


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (measure, {"latency"}),
        (ask_inside, {"images"}),
        (ask_through_a_helper, MEASURED | INSPECTED | DRAWN),
    ],
)
def test_what_a_test_asks_is_read_from_its_code(function, asked):
    assert find_asked(function.__code__) == asked


def test_a_test_without_code_may_ask_for_anything():
    assert find_asked(None) == MEASURED | INSPECTED | DRAWN


@pytest.mark.parametrize(
    ("wanted", "pictures"),
    [
        (ExpectedWork("plain fp32 needs none", FP32), 0),
        (ExpectedWork("latency", BF16, asks=frozenset({"latency"})), 1),
        (ExpectedWork("throughput", BF16, asks=frozenset({"throughput"})), 4),
        (ExpectedWork("quality", BF16, is_timed=False, asks=frozenset({"images"})), 8),
        (ExpectedWork("replayed", BF16, is_timed=False, asks=frozenset({"components"})), 0),
        (ExpectedWork("gain", BF16, has_plain_side=True), 0),
    ],
)
def test_pictures_are_wanted_for_what_is_held_against_them(wanted, pictures):
    plan = Plan([wanted])
    assert plan.count_pictures(4, 8, never) == pictures
    assert plan.count_pictures(4, 8, lambda _: True) == 0


def test_recordings_are_wanted_for_components_and_trajectory():
    asks = frozenset({"components"})
    plan = Plan(
        [
            ExpectedWork("timed", FP32),
            ExpectedWork("one", BF16, is_timed=False, asks=asks),
            ExpectedWork("two", BF16, is_timed=False, asks=frozenset({"trajectory"})),
            ExpectedWork("other", ONNX, is_timed=False, asks=frozenset({"images"})),
            ExpectedWork("fewer", Variant(engine="onnx-int8"), is_timed=False, asks=asks),
        ]
    )
    assert plan.list_inspected(never) == (("bf16", "torch"),)
    assert plan.list_inspected(lambda _: True) == ()


def test_only_repeatability_wants_a_fresh_process():
    for asks, count in (({"images"}, 1), ({"repeatability"}, 2)):
        plan = Plan([ExpectedWork("it", BF16, is_timed=False, asks=frozenset(asks))])
        assert plan.count_all(never) == count
