"""What of an automatic choice the memory does not hold is left out, and said in one sentence."""

from types import SimpleNamespace

import pytest

from sdperf.plugin.live.skipping import find_batch_reason, find_skip_reason
from sdperf.record.workload import Variant
from sdperf.run.memory import Room
from sdperf.run.profiles import SessionProfiles

GIB = 2**30
AUTO = SimpleNamespace(
    precision_is_auto=True,
    workers_are_auto=True,
    optimisations=None,
    engines=("torch",),
    engine_is_auto=False,
    subject=None,
)
NEEDS = {"fp32": 20 * GIB, "fp16": 10 * GIB, "bf16": 10 * GIB}


class Machine:
    """A suite on a machine of 24 GiB with a model of 5 billion weights."""

    cpu_threads = 8

    def __init__(self, total_bytes=24 * GIB, weights=5 * GIB):
        self.room, self.weights = Room(total_bytes, 0.7), weights
        self.profiles = SessionProfiles()
        self.asked = 0

    def describe_device(self):
        return SimpleNamespace(kind="cpu", native_precisions=("fp32", "fp16", "bf16"))

    def find_room(self):
        self.asked += 1
        return self.room

    def find_need_bytes(self, variant):
        return NEEDS[variant.precision] if self.weights else None


def find(variant, machine=None, beside=(), **typed):
    settings = SimpleNamespace(**{**vars(AUTO), **typed})
    return find_skip_reason(settings, machine or Machine(), None, variant, beside)


def test_a_precision_that_does_not_fit_is_left_out_with_both_figures():
    assert find(Variant("fp16")) is None
    assert find(Variant("fp32")) == (
        "fp32 takes 20.0 GiB or more in the 16.8 GiB that may be filled of 24.0 GiB; "
        "force with --sd-precision fp32"
    )


def test_workers_that_do_not_fit_beside_each_other_are_left_out():
    assert find(Variant("fp16", workers=2)) == (
        "2 workers of 10.0 GiB in the 16.8 GiB that may be filled of 24.0 GiB; "
        "force with --sd-workers 2"
    )
    assert find(Variant("fp16", workers=2), Machine(32 * GIB)) is None


def test_a_precision_that_ran_is_not_left_out_for_what_it_took():
    machine = Machine()
    assert find(Variant("fp32"), machine).startswith("fp32 takes")
    machine.profiles.peaks[Variant("fp32").pipeline] = 20 * GIB
    assert find(Variant("fp32"), machine) is None
    assert find(Variant("fp32", workers=2), machine).startswith("2 workers of 20.0 GiB")


def test_what_was_typed_is_run_as_typed():
    assert find(Variant("fp32"), precision_is_auto=False) is None
    assert find(Variant("fp16", workers=2), workers_are_auto=False) is None
    assert "2 workers" in find(Variant("fp32", workers=2), precision_is_auto=False)


@pytest.mark.parametrize(
    ("variant", "flag"),
    [
        (Variant("fp16"), "--sd-optimisations none"),
        (Variant("fp16", optimisations=("channels_last",)), "--sd-optimisations channels_last"),
    ],
)
def test_a_gain_needs_room_for_its_plain_side_too(variant, flag):
    reason = find(variant, beside=(Variant("fp16"),))
    assert reason == (
        "10.0 GiB and the plain pipeline's 10.0 GiB beside it in the 16.8 GiB that may be filled "
        f"of 24.0 GiB; force with {flag}"
    )
    assert find(variant, beside=(Variant("fp16"),), optimisations=(variant.optimisations,)) is None


def test_nobody_is_asked_about_a_small_model_and_nothing_said_of_an_unknown_one(monkeypatch):
    monkeypatch.setitem(NEEDS, "fp16", GIB // 8)
    machine = Machine(GIB)
    assert find(Variant("fp16", workers=4), machine) is None
    assert machine.asked == 0
    assert find(Variant("fp32"), Machine(weights=None)) is None


def test_images_at_a_time_are_left_out_by_what_one_took_beside_the_weights():
    machine = Machine(weights=2 * GIB)
    assert find_batch_reason(machine, Variant("fp16"), 3) is None  # nothing was seen yet
    machine.profiles.peaks[Variant("fp16").pipeline] = 8 * GIB
    assert find_batch_reason(machine, Variant("fp16"), 3) is None  # 4 + 3 * 4
    machine.profiles.peaks[Variant("fp16").pipeline] = 9 * GIB
    assert find_batch_reason(machine, Variant("fp16"), 3) == (
        "3 images at a time take about 19.0 GiB: the 16.8 GiB that may be filled of 24.0 GiB"
    )
