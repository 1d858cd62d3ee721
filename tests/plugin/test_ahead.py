"""How many processes are wanted now and next."""

import pytest

from sdperf.plugin.ahead import Plan, Wanted
from sdperf.workload import Variant

FP32, BF16, ONNX = Variant("fp32"), Variant("bf16"), Variant("fp32", engine="onnx")
PLAN = Plan(
    [
        Wanted("one", FP32),
        Wanted("two", Variant("fp32", workers=2)),
        Wanted("images", FP32, is_timed=False),
        Wanted("batch", FP32, is_timed=False),
        Wanted("onnx", ONNX),
        Wanted("bf16", Variant("bf16", workers=3)),
    ]
)


def never(variant):
    return False


@pytest.mark.parametrize(
    ("node_id", "now", "after", "is_first"),
    [
        ("one", 2, 1, True),
        ("two", 2, 1, False),
        ("images", 2, 1, True),
        ("batch", 2, 1, False),
        ("onnx", 1, 3, True),
        ("bf16", 3, 0, True),
        ("not ours", 0, 0, False),
    ],
)
def test_tests_with_equal_pipelines_share_their_processes(node_id, now, after, is_first):
    assert PLAN.count_now(node_id, never) == now
    assert PLAN.count_next(node_id, never) == after
    assert PLAN.is_first_of_its_kind(node_id, never) is is_first


@pytest.mark.parametrize(
    ("node_id", "count"),
    [
        ("one", 2),
        ("two", 0),
        ("images", 2),
        ("batch", 0),
        ("onnx", 1),
        ("bf16", 3),
        ("not ours", 0),
    ],
)
def test_the_first_of_each_kind_has_processes_started(node_id, count):
    assert PLAN.count_ahead(node_id, never) == count


def test_what_is_skipped_wants_none():
    def is_skipped(variant):
        return variant.engine == "onnx" or variant.workers == 2

    assert PLAN.count_now("one", is_skipped) == 1
    assert PLAN.count_next("images", is_skipped) == 3
    assert PLAN.count_next("images", lambda one: one != FP32) == 0
    assert PLAN.is_first_of_its_kind("two", lambda one: one == FP32)


def test_other_pipelines_are_not_asked_about_before_it_matters():
    """Whether a precision is native takes a process of its own to know, as long as none runs."""
    asked = []
    PLAN.count_now("one", lambda one: asked.append(one.precision) or False)
    PLAN.is_first_of_its_kind("one", lambda one: asked.append(one.precision) or False)
    assert set(asked) == {"fp32"}
