"""Planted contradictions are named with both figures; figures that agree are left alone."""

import dataclasses

import pytest

from sdperf.judging.doubts.contradictions import find_contradictions
from sdperf.judging.settling import Typed
from sdperf.record.guard import Guard
from sdperf.record.measurement import Gain, GuardLog
from sdperf.record.workload import Variant
from tests.support.measurements import ENVIRONMENT, measurement


def make(kind="latency", seconds=1.0, busy=2.0, variant=None, **changes):
    variant = Variant("bf16") if variant is None else variant
    fields = {"worker_threads": 2, "images_per_round": 4 if kind == "throughput" else 1}
    rounds_s = (seconds * fields["images_per_round"],) * 3
    cpu_s = () if busy is None else tuple(busy * one for one in rounds_s)
    fields |= {"kind": kind, "variant": variant, "rounds_s": rounds_s, "rounds_cpu_s": cpu_s}
    return measurement(**fields | changes)


def stage(name, seconds, busy=None):
    return make("stage", seconds, busy, stage=name)


SOUND = {
    "latency": make(),
    "throughput": make("throughput", 1.02, 1.9),
    "encode": stage("encode_prompt", 0.02, 1.0),
    "denoise": stage("denoise", 0.85, 1.98),
    "decode": stage("decode_latents", 0.09, 1.3),
    "deliver": stage("deliver", 0.02, 1.0),
}


def name(cases):
    return {one.case: one.sentence for one in find_contradictions(cases)}


def test_figures_that_agree_are_left_alone():
    assert name(SOUND) == {}


def test_a_second_team_is_named_in_each_case_that_it_slows_down():
    """The figures of the session in which a second OpenMP team was first seen."""
    later = Variant("bf16", "async")
    cases = {
        "latency-sync": make(seconds=0.385, busy=1.98),
        "latency-async": make(seconds=0.815, busy=1.14, variant=later),
        "throughput-async": make("throughput", 0.72, 1.2, variant=later),
        "denoise": stage("denoise", 0.827, 1.16),
    }
    named = [one.case for one in find_contradictions(cases) if "cores" in one.sentence]
    assert named == ["latency-async", "throughput-async", "denoise"]
    sentence = name({one: cases[one] for one in ("latency-sync", "latency-async")})
    assert sentence["latency-async"].startswith(
        "kept 1.14 cores busy, latency-sync of the same precision kept 1.98"
    )


def test_the_command_measures_that_case_only_and_as_it_was_measured():
    """Words for ``-k`` took other cases too, and left out the options of the session."""
    cases = {"first": make(), "late": make(busy=1.0, variant=Variant("bf16", "async"))}
    ids = {"late": "benchmarks/test_latency.py::test_latency[bf16-async-1w]"}
    typed = Typed(options=("--sd-engine=onnx", "--sd-steps=2"))
    (one,) = find_contradictions(cases, ids, typed)
    assert one.hint == (
        "pytest 'benchmarks/test_latency.py::test_latency[bf16-async-1w]' --sd-engine=onnx "
        "--sd-steps=2 measures it without the others"
    )
    (saved,) = find_contradictions(cases, ids)
    assert "--sd-precision bf16" in saved.hint


@pytest.mark.parametrize(
    "other",
    [
        make(busy=1.0, variant=Variant("bf16", workers=2), worker_threads=1),
        make(busy=1.0, variant=Variant("fp32")),
        make(busy=1.0, worker_threads=1),
        make(busy=None),
        make(busy=1.0, environment=dataclasses.replace(ENVIRONMENT, device_kind="cuda")),
        make(busy=1.0, gain=Gain(Variant("bf16"), 1.1, 1.0, 1.2, 0.9, (1.0,), 1)),
        stage("deliver", 0.02, 1.0),
    ],
    ids=["two workers", "precision", "threads", "unknown", "a GPU", "a gain", "one-core stage"],
)
def test_cases_that_may_keep_fewer_cores_are_not_named(other):
    assert not [text for text in name({"first": make(), "other": other}).values() if "kept" in text]


def test_a_stage_longer_than_the_image_that_contains_it_is_named():
    cases = {"latency": make(seconds=0.5), "denoise": stage("denoise", 0.827)}
    assert name(cases) == {
        "denoise": "denoise alone takes 827 ms, the whole image of latency that contains it 500 ms"
    }
    cases["denoise"] = stage("denoise", 0.54)
    assert name(cases) == {}


@pytest.mark.parametrize(("denoise_s", "is_named"), [(0.85, False), (0.6, True), (1.09, True)])
def test_stages_that_do_not_add_up_are_named(denoise_s, is_named):
    cases = SOUND | {"denoise": stage("denoise", denoise_s)}
    assert ("add up" in name(cases).get("latency", "")) is is_named


def test_a_batch_slower_than_single_images_is_named_unless_a_guard_gives_the_reason():
    slow = make("throughput", 1.3)
    assert "takes 1.30 s an image" in name(SOUND | {"throughput": slow})["throughput"]
    steal = Guard("steal", "warn", "9 %", "the hypervisor took 9 % of the time")
    excused = dataclasses.replace(slow, guards=GuardLog("warn", during=(steal,)))
    assert name(SOUND | {"throughput": excused}) == {}
    order = dataclasses.replace(steal, name="order")
    no_excuse = dataclasses.replace(slow, guards=GuardLog("warn", after=(order,)))
    assert "throughput" in name(SOUND | {"throughput": no_excuse})
