"""Each planted fault is found where it is; a sound pipeline is left alone."""

import pytest
import torch
from packaging.version import Version

from evidence.mapped_pipelines.families import build_flux, build_sdxl
from sdperf.errors import GenerationError
from sdperf.models.subject import PipelineRequest
from sdperf.mps_check import standin
from sdperf.mps_check.calls import MpsRecording
from sdperf.mps_check.dispatch import load_dispatch_table
from sdperf.mps_check.judging import judge_recording
from sdperf.mps_check.limits import load_limits, load_unseen
from sdperf.mps_check.recording import record_generation
from sdperf.record.workload import Workload
from tests.support import mps_check_subjects as subjects
from tests.support.mps_check_making import call, packed

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def record(pipeline, version, precision="fp16", steps=1, guidance=1.0, **named):
    """Record without guidance, which encodes another prompt, unless it is the point."""
    workload = Workload("tiny", ("red apple",), num_inference_steps=steps, guidance_scale=guidance)
    table = load_dispatch_table(version, "0")
    return record_generation(pipeline, workload, table, precision=precision, **named), table


def judge(subject, version, *, precision="fp16", macos=None, chip=None, **named):
    pipeline = subject(PipelineRequest(None, DTYPES[precision], torch.device("cpu")))
    recording, table = record(pipeline, version, precision, **named)
    return judge_recording(
        recording,
        table,
        load_limits(),
        load_unseen(),
        model="tiny",
        macos=None if macos is None else Version(macos),
        chip=chip,
    )


def found(judgement):
    return {finding.id: finding for finding in judgement.findings}


FAULTS = [
    (subjects.float64_scheduler, "2.14", "float64", "denoise", ""),
    (subjects.unsupported, "2.14", "no-kernel", "denoise", "unet"),
    (subjects.hidden_kernel, "2.8", "no-kernel", "denoise", "unet"),
    (subjects.complex_rotation, "2.14", "complex128", "denoise", "unet"),
    (subjects.integer_product, "2.14", "integer-linear", "denoise", "unet"),
    (subjects.two_devices, "2.14", "two-devices", "denoise", "unet"),
    (subjects.second_thread, "2.14", "two-threads", "denoise", ""),
    (subjects.short_strided_attention, "2.8", "strided-query", "denoise", "unet"),
    (subjects.strided_weight, "2.8", "linear-strided-weight", "denoise", "unet"),
    (subjects.oversized_attention, "2.12", "oversized-attention", "denoise", "unet"),
    (subjects.oversized_attention, "2.14", "oversized-attention-general", "denoise", "unet"),
    (subjects.sliced_attention, "2.13", "baddbmm-beta-zero", "denoise", "unet"),
    (subjects.chunked_convolution, "2.9", "chunk-convolution", "denoise", "unet"),
    (subjects.channels_last_unet, "2.14", "channels-last", "denoise", "unet"),
    (subjects.device_noise, "2.14", "random-numbers", "denoise", "unet"),
    (
        subjects.causal_text_encoder,
        "2.10",
        "causal-half-attention",
        "encode_prompt",
        "text_encoder",
    ),
]

SINCE = [
    (subjects.transposed_bfloat16, "2.13", "27.0", "linear-transposed-bfloat16"),
    (subjects.linear_of(1, 2, 8, bias=False), "2.12", "26.1", "linear-half-on-m5"),
    (subjects.linear_of(65537, 1, 8, bias=True), "2.13", "26.1", "linear-bias-past-65536"),
    (subjects.padded_frames, "2.14", "26.1", "pad-of-five-dimensions"),
    (subjects.volume_convolution, "2.14", "26.2", "convolution-3d-before-macos-26.3"),
    (
        lambda states: subjects.attend(states, 1, 1, 8, 4, value=(1, 1, 8, 2)),
        "2.11",
        "26.1",
        "value-head-size",
    ),
    (
        lambda states: subjects.attend(states, 2, 4, 8, 64, mask=states.new_zeros(2, 1, 8, 8)),
        "2.12",
        "26.1",
        "partial-mask",
    ),
    (subjects.scaled, "2.9", "26.0", "unavailable-on-macos-26.0"),
    (subjects.scaled, "2.12", "26.3", "attention-since-macos-26.3"),
    (
        lambda states: subjects.attend(states, 1, 1, 16, 40),
        "2.14",
        "26.3",
        "attention-since-macos-26.3-general",
    ),
    (lambda states: subjects.attend(states, 1, 1, 256, 64), "2.12", "26.1", "slow-attention"),
    (
        lambda states: subjects.attend(states, 1, 1, 256, 40),
        "2.14",
        "26.1",
        "slow-attention-general",
    ),
    (subjects.multihead, "2.14", "26.1", "slow-multihead-attention"),
    (subjects.middle_product, "2.14", "26.1", "slow-product-in-some-processes"),
    (subjects.scaled, "2.10", "15.5", "slow-multiplication"),
    (subjects.scaled_by_a_table, "2.13", "26.1", "cpu-scalar-with-offset"),
    (subjects.large_cat, "2.13", "26.1", "oversized-cat"),
    (subjects.large_mixed_cat, "2.15", "26.1", "oversized-cat-strided"),
    (subjects.sum_of_many_terms, "2.14", "26.1", "long-inner-dimension-batched"),
    (subjects.linear_of(1, 16, 32767, bias=False, rows=16), "2.13", "26.1", "long-inner-dimension"),
    (subjects.product_of_many_matrices, "2.15", "26.1", "product-of-input-past-uint32"),
    (subjects.large_strided_product, "2.15", "26.1", "strided-product-past-uint32"),
    (subjects.sliced_kernel, "2.13", "26.1", "strided-convolution-weight"),
    (subjects.largest, "2.12", "27.0", "macos-27-before-2.13"),
    (subjects.unwaited_copy, "2.14", "26.1", "non-blocking-copy"),
]


@pytest.mark.parametrize(
    ("fault", "version", "macos", "expected"), SINCE, ids=[each[-1] for each in SINCE]
)
def test_each_limit_of_2026_is_found_where_it_was_planted(fault, version, macos, expected):
    judgement = judge(subjects.faulty(fault), version, macos=macos)
    finding = found(judgement)[expected]
    assert any(place.module.startswith("unet") for place in finding.places)
    limit = next(limit for limit in load_limits() if limit.id == expected)
    assert limit.reported
    assert finding.is_certain == (limit.certainty == "reported" and not limit.chips)
    assert judgement.fails(strict=False) or not (finding.is_harmful and finding.is_certain)


TESTED_BELOW = {
    "linear-in-a-virtual-machine",
    "compiled-layer-norm",
    "compiled-rms-norm",
    "group-norm-in-python",
}


def test_every_limit_with_a_date_has_a_planted_fault():
    planted = {each[2] for each in FAULTS} | {each[-1] for each in SINCE} | TESTED_BELOW
    assert {limit.id for limit in load_limits() if limit.reported} - planted == set()


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own import
@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.12", {"compiled-layer-norm"}),
        ("2.8", {"compiled-layer-norm", "compiled-rms-norm"}),
        ("2.13", set()),
    ],
)
def test_a_compiled_network_is_recorded_as_written_and_held_against_what_is_known(
    version, expected
):
    judgement = judge(subjects.compiled, version, macos="15.5")
    named = {name: one for name, one in found(judgement).items() if name.startswith("compiled")}
    assert set(named) == expected
    modules = [place.module for one in named.values() for place in one.places]
    assert all(each.startswith("unet.") and "_orig_mod" not in each for each in modules)


def test_a_chip_makes_conditions_certain_or_takes_them_away():
    pipeline = subjects.faulty(subjects.linear_of(1, 2, 8, bias=True))
    request = PipelineRequest(None, torch.float16, torch.device("cpu"))
    recording, table = record(pipeline(request), "2.14")

    def on(chip):
        judged = judge_recording(
            recording, table, load_limits(), (), model="tiny", macos=Version("26.5"), chip=chip
        )
        return found(judged).get("linear-in-a-virtual-machine")

    assert on(None) is None  # a Mac of one's own is meant where nothing is said
    assert on("Apple M1 (Virtual)").is_certain
    assert on("Apple M1 (Virtual)").effect == "wrong"
    assert on("Apple M1") is None


@pytest.mark.parametrize(
    ("subject", "version", "expected", "stage", "module"),
    FAULTS,
    ids=[f"{expected}-{version}" for _, version, expected, *_ in FAULTS],
)
def test_a_planted_fault_is_found_where_it_is(subject, version, expected, stage, module):
    judgement = judge(subject, version, macos="26.1")
    finding = found(judgement)[expected]
    assert {place.stage for place in finding.places} == {stage}
    assert all(place.module.startswith(module) for place in finding.places)
    assert all(place.line.rpartition(":")[2].isdecimal() for place in finding.places)
    assert finding.remedy
    assert finding.sources
    assert judgement.fails(strict=True) or not finding.is_harmful
    assert judgement.fails(strict=False) or not (finding.is_harmful and finding.is_certain)


def test_group_norm_is_named_as_slow_where_python_takes_it_apart_and_its_pieces_are_judged():
    pipeline = subjects.sound(PipelineRequest(None, torch.float16, torch.device("cpu")))
    recording, table = record(pipeline, "2.12")
    judged = judge_recording(recording, table, load_limits(), (), model="tiny")
    finding = found(judged)["group-norm-in-python"]
    assert finding.effect == "slow"
    assert finding.operator == "aten::native_group_norm"
    assert not finding.is_harmful
    assert {place.module.partition(".")[0] for place in finding.places} == {"unet", "vae"}
    norm = next(call for call in recording.calls if call.name == "native_group_norm")
    inside = {call.name for call in recording.calls if call.module == norm.module}
    assert inside >= {"rsqrt", "sub", "mul", "native_group_norm"}


def test_an_operator_in_python_that_no_limit_explains_is_slow_and_says_where_it_is_registered():
    table = load_dispatch_table("2.12", "0")
    lu_solve = call("linalg_lu_solve.out", packed(4), LU=packed(4, 4))
    judged = judge_recording(
        MpsRecording({lu_solve: 1}, "fp32", 8, 8, 1), table, load_limits(), (), model="tiny"
    )
    (finding,) = judged.findings
    assert (finding.id, finding.effect) == ("registered-in-python", "slow")
    assert "torch/_refs/linalg/__init__.py:436" in finding.note
    assert "use torch 2.14.0 or later" in finding.remedy


def test_attention_by_a_kernel_of_torch_is_not_that_of_macos_26_3():
    """Since 2.13 a head of 64 numbers takes a kernel that macOS' update did not change."""
    wanted = {"attention-since-macos-26.3", "attention-since-macos-26.3-general"}
    subject = subjects.faulty(lambda states: subjects.attend(states, 1, 1, 16, 64))

    def lines(version):
        named = found(judge(subject, version, macos="26.3"))
        places = [place for one in wanted & named.keys() for place in named[one].places]
        return {place.line.partition(":")[0] for place in places}

    here = "tests/support/mps_check_subjects.py"
    assert here in lines("2.12")
    assert here not in lines("2.13")


def test_a_later_version_does_not_have_it():
    assert "baddbmm-beta-zero" not in found(judge(subjects.sliced_attention, "2.14"))


def test_a_number_of_a_table_is_named_by_its_scheduler_from_the_second_step_on():
    """diffusers#14368: sigmas[i] meets the sample as it is; i is 0 in the first step."""

    def named(steps, version="2.13"):
        judgement = judge(subjects.flow_unipc, version, steps=steps)
        finding = found(judgement).get("cpu-scalar-with-offset")
        return {place.line.partition(":")[0] for place in finding.places} if finding else set()

    scheduler = "diffusers/schedulers/scheduling_unipc_multistep.py"
    assert named(1) == set()
    assert named(2) == {scheduler}
    assert named(2, "2.14") == set()


def test_a_sound_pipeline_is_left_alone():
    judgement = judge(subjects.sound, "2.14", macos="26.1", chip="Apple M4", steps=2, guidance=7.5)
    assert judgement.findings == ()
    assert not judgement.fails(strict=True)
    assert not judgement.unjudged
    assert judgement.operators > 100


@pytest.mark.parametrize("build", [build_sdxl, build_flux])
def test_other_sound_families_are_left_alone(build):
    recording, table = record(build().to(torch.float16), "2.14", guidance=7.5)
    judgement = judge_recording(
        recording, table, load_limits(), (), model="tiny", macos=Version("26.1"), chip="Apple M4"
    )
    assert not [finding for finding in judgement.findings if finding.is_harmful]
    assert not judgement.unjudged


def test_a_system_that_cannot_do_it_is_certain_another_is_not_and_an_unknown_one_a_condition():
    pipeline = subjects.sound(PipelineRequest(None, torch.bfloat16, torch.device("cpu")))
    recording, table = record(pipeline, "2.8", "bf16")

    def on(macos):
        version = None if macos is None else Version(macos)
        judged = judge_recording(recording, table, load_limits(), (), model="tiny", macos=version)
        return found(judged).get("bfloat16-before-macos-14")

    assert on("13.6").is_certain
    assert on("14.0") is None
    assert on(None).condition == "on macOS <14"
    assert not on(None).is_certain


def test_a_number_that_depends_on_a_network_needs_values(monkeypatch):
    monkeypatch.setattr(standin, "MOST_VALUES", 64)
    with pytest.raises(GenerationError, match="--values"):
        judge(subjects.needs_values, "2.14")
    judgement = judge(subjects.needs_values, "2.14", keeps_values=True)
    assert judgement.has_values
    assert not judgement.fails(strict=True)


def test_values_make_no_difference_to_what_is_asked():
    request = PipelineRequest(None, torch.float32, torch.device("cpu"))
    plain, _ = record(subjects.sound(request), "2.14", "fp32")
    computed, _ = record(subjects.sound(request), "2.14", "fp32", keeps_values=True)

    def asked(recording):
        return {(call.operator, call.module, call.line): n for call, n in recording.calls.items()}

    assert asked(plain) == asked(computed)


def test_a_pipeline_that_fails_is_reported_with_its_own_words():
    def broken(request):
        def fault(states):
            raise ValueError("no such head")

        return subjects.with_processor(request, subjects.Faulty(fault))

    with pytest.raises(GenerationError, match="ValueError: no such head"):
        judge(broken, "2.14")
