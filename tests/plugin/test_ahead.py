"""How many processes are wanted now and next."""

import pytest

from sdperf.plugin.ahead import Processes, Wanted, count_processes
from sdperf.workload import Variant

FP32, BF16, ONNX = Variant("fp32"), Variant("bf16"), Variant("fp32", engine="onnx")
PLAN = [
    Wanted("one", FP32),
    Wanted("two", Variant("fp32", workers=2)),
    Wanted("images", FP32, is_timed=False),
    Wanted("batch", FP32, is_timed=False),
    Wanted("onnx", ONNX),
    Wanted("bf16", Variant("bf16", workers=3)),
]


@pytest.mark.parametrize(
    ("node_id", "wanted"),
    [
        ("one", Processes(now=2, next=1, begins=True)),
        ("two", Processes(now=2, next=1, begins=False)),
        ("images", Processes(now=2, next=1, begins=True)),
        ("batch", Processes(now=2, next=1, begins=False)),
        ("onnx", Processes(now=1, next=3, begins=True)),
        ("bf16", Processes(now=3, next=0, begins=True)),
        ("not ours", Processes(now=1, next=0, begins=False)),
    ],
)
def test_tests_with_equal_pipelines_share_their_processes(node_id, wanted):
    assert count_processes(PLAN, node_id, lambda _: False) == wanted


def test_what_is_skipped_wants_none():
    def is_skipped(variant):
        return variant.engine == "onnx" or variant.workers == 2

    wanted = count_processes(PLAN, "images", is_skipped)
    assert wanted == Processes(now=1, next=3, begins=True)
    assert count_processes(PLAN[:3], "images", lambda one: one != FP32).next == 0
