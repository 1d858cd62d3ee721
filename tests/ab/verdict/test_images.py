import dataclasses

import pytest

from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.ab.verdict.images import Drawing, choose_floors
from sdperf.judging.floors import SAME_PATH_FLOORS
from sdperf.record.floors import Floors
from sdperf.record.workload import Variant
from tests.support.ab_fakes import WORKLOAD

FP32 = Drawing(WORKLOAD, "hash", Variant())
MEASURED = Floors(0.9, 0.8, 0.1, "measured", components={}, trajectory_rms=0.1)


def floors_of(precision):
    return MEASURED if precision == "fp16" else None


def drawing(precision="fp32", **changes):
    return Drawing(dataclasses.replace(WORKLOAD, **changes), "hash", Variant(precision))


def optimised(precision, name):
    return Drawing(WORKLOAD, "hash", Variant(precision, optimisations=(name,)))


@pytest.mark.parametrize(
    ("b", "ssim", "reason"),
    [
        (FP32, SAME_PATH_FLOORS.ssim, None),
        (drawing(model="elsewhere"), SAME_PATH_FLOORS.ssim, None),
        (drawing("fp16"), 0.9, None),
        (optimised("fp32", "channels_last"), 0.98, None),
        (optimised("fp16", "channels_last"), 0.95, None),
        (optimised("fp32", "step_cache2"), 0.9, None),
        (drawing("bf16"), None, "no floors were measured for this model in bf16"),
        (drawing(num_inference_steps=3), None, "other steps"),
        (drawing(seed=1, width=64, height=64), None, "other seed, height, width"),
        (Drawing(WORKLOAD, "another", Variant()), None, "other weights"),
    ],
)
def test_images_are_held_to_what_ought_to_hold(b, ssim, reason):
    for one, other in ((FP32, b), (b, FP32)):
        floors, why = choose_floors(one, other, CompareOptions(), floors_of)
        assert (None if floors is None else floors.ssim) == ssim
        assert why == reason


def test_between_two_reduced_precisions_nothing_was_measured_and_given_floors_hold_always():
    pair = drawing("fp16"), drawing("bf16")
    assert choose_floors(*pair, CompareOptions(), floors_of)[1].startswith("no floors between bf16")
    floors, why = choose_floors(*pair, CompareOptions(min_tile_ssim=0.7), floors_of)
    assert (floors.ssim, floors.worst_tile_ssim, why) == (-1.0, 0.7, None)
