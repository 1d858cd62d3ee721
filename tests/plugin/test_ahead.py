"""How many processes a session wants, for its next pipeline and in all."""

import pytest

from sdperf.plugin.ahead import Plan, Wanted
from sdperf.workload import Variant

FP32, BF16, ONNX = Variant("fp32"), Variant("bf16"), Variant("fp32", engine="onnx")
PLAN = Plan(
    [
        Wanted("one", FP32),
        Wanted("two", Variant("fp32", workers=2)),
        Wanted("images", FP32, is_timed=False),
        Wanted("onnx", ONNX, has_plain_side=True),
        Wanted("bf16", Variant("bf16", workers=3)),
        Wanted("alone", Variant("bf16", engine="onnx"), is_timed=False),
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
