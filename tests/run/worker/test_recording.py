"""Damage inside a generation, seen by the layer that should see it; legal noise passes them all."""

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sdperf.errors import UnsupportedError
from sdperf.images import compute_trajectory_distance
from sdperf.judging.floors import STRICTEST_TRAJECTORY_RMS
from sdperf.judging.inside.parity import judge_components, judge_trajectory
from sdperf.judging.quality import judge_sound
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.stages import Stages
from sdperf.record.floors import Floors
from sdperf.record.observation import ComponentParity, Soundness, TrajectoryParity
from sdperf.record.verdict import Outcome
from sdperf.record.workload import ImageRequest, Workload
from sdperf.run.quality.bench import QualityBench, measure_components
from sdperf.run.quality.questions import RecordImage, ReplayRecording, SoilMemory, UnderKernels
from sdperf.run.worker.recording import (
    SOILED_BLOCKS_BYTES,
    generate_batch,
    record,
    replay,
    soil_memory,
)
from tests.support.deviating_subjects import negate_step
from tests.support.measurements import image
from tests.support.tiny_pipelines import take, tiny_folder  # noqa: F401

IMAGE = ImageRequest("red apple", 0)
CALIBRATED = Floors(0.995, 0.98, 0.05, "", trajectory_rms=STRICTEST_TRAJECTORY_RMS)
FAMILIES = ("sd", "sdxl", "sd3", "flux")


def workload_of(folder, **changes):
    fields = {"num_inference_steps": 4, "guidance_scale": 5.0, "height": 32, "width": 32}
    return Workload(str(folder), ("red apple", "a blue car", "pizza"), **fields | changes)


@pytest.fixture(scope="module")
def make(tiny_folder):  # noqa: F811
    """Bind a tiny pipeline that the test may change."""

    def bind(name="sd", torch_dtype=torch.float32, **changes):
        folder = tiny_folder(name)
        return stages_for(take(folder, torch_dtype), workload_of(folder, **changes))

    return bind


@pytest.fixture(scope="module")
def kept(make):
    """Bind a pipeline once for all tests that leave it as it is."""
    return functools.cache(make)


def components(reference, current, precision="fp32"):
    recording = record(reference, IMAGE)
    replayed = replay(current, IMAGE, recording)
    seen = ComponentParity("fp32", IMAGE, measure_components(recording, replayed))
    return judge_components(seen, precision, None)


def trajectory(reference, current, floors=None):
    before, after = record(reference, IMAGE), record(current, IMAGE)
    distance = compute_trajectory_distance(before.latents, after.latents)
    return judge_trajectory(TrajectoryParity("fp32", IMAGE, distance), "fp32", floors)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_replays_itself_to_the_bit(kept, name):
    stages = kept(name)
    recording = record(stages, IMAGE)
    assert len(recording.latents) >= 4
    assert recording.calls[0].step == 0
    assert len(recording.calls) == 3
    distances = measure_components(recording, replay(stages, IMAGE, recording))
    assert all(one.identical for one in distances)
    assert {one.component for one in distances} == {"text encoder", "denoiser", "vae"}


def test_recording_leaves_the_pipeline_as_it_was(kept):
    stages = kept()
    before = stages.run_whole([IMAGE.prompt], stages.draw_noise([IMAGE]))
    recording = record(stages, IMAGE)
    after = stages.run_whole([IMAGE.prompt], stages.draw_noise([IMAGE]))
    assert np.array_equal(before, after)
    assert np.array_equal(before[0], recording.pixels)
    assert not stages.pipeline.unet._forward_hooks


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3"])
def test_bf16_passes_its_own_floors_and_fails_those_of_fp32(kept, name):
    plain, rounded = kept(name), kept(name, torch.bfloat16)
    assert components(plain, rounded, "bf16").outcome is Outcome.PASS
    assert components(plain, rounded, "fp32").outcome is Outcome.DEGRADED


@pytest.mark.parametrize("kernels", ["without oneDNN", "plain attention"])
def test_other_kernels_are_legal_noise(make, kernels):
    stages = make()
    plain = record(stages, IMAGE)
    workload = stages.workload
    replayed = UnderKernels(ReplayRecording(workload, IMAGE, 1, plain), kernels).answer(stages)
    again = UnderKernels(RecordImage(workload, IMAGE, 1), kernels).answer(stages)
    seen = ComponentParity("itself", IMAGE, measure_components(plain, replayed))
    distance = compute_trajectory_distance(plain.latents, again.latents)
    assert judge_components(seen, "fp32", None).outcome is Outcome.PASS
    parity = TrajectoryParity("itself", IMAGE, distance)
    assert judge_trajectory(parity, "fp32", None).outcome is Outcome.PASS


def test_another_thread_count_is_legal_noise(kept):
    stages, threads = kept(), torch.get_num_threads()
    plain = record(stages, IMAGE)
    torch.set_num_threads(threads + 1)
    try:
        again = record(stages, IMAGE)
    finally:
        torch.set_num_threads(threads)
    distance = compute_trajectory_distance(plain.latents, again.latents)
    parity = TrajectoryParity("itself", IMAGE, distance)
    assert judge_trajectory(parity, "fp32", None).outcome is Outcome.PASS


@pytest.mark.parametrize("wrong", [0, 2, 4])
def test_one_wrong_denoising_step_is_named(make, kept, wrong):
    damaged = make()
    negate_step(damaged.pipeline, wrong)
    finding = trajectory(kept(), damaged, CALIBRATED)
    assert finding.outcome is Outcome.DEGRADED
    assert f"the latents part at step {wrong + 1} of 5" in finding.reason


def test_a_denoiser_that_differs_is_told_from_the_rest(make, kept):
    damaged = make()
    with torch.no_grad():
        damaged.pipeline.unet.conv_out.weight.mul_(1.02)
    finding = components(kept(), damaged)
    assert finding.outcome is Outcome.DEGRADED
    assert finding.reason.startswith("denoiser (step ")
    assert "also below" not in finding.reason


def test_a_vae_in_the_wrong_scale_is_told_from_the_rest(make, kept):
    damaged = make()
    config = damaged.pipeline.vae.config
    damaged.pipeline.vae.register_to_config(scaling_factor=config.scaling_factor * 1.5)
    finding = components(kept(), damaged)
    assert finding.outcome is Outcome.DEGRADED
    assert finding.reason.startswith("vae (pixels)")
    assert "also below" not in finding.reason
    assert trajectory(kept(), damaged).outcome is Outcome.PASS


def test_a_swapped_prompt_is_told_at_the_text_encoder(kept):
    recording = record(kept(), IMAGE)
    replayed = replay(kept(), ImageRequest("a blue car", 0), recording)
    seen = ComponentParity("fp32", IMAGE, measure_components(recording, replayed))
    finding = judge_components(seen, "fp32", None)
    assert finding.outcome is Outcome.DEGRADED
    assert finding.reason.startswith("text encoder (prompt_embeds)")


def test_nan_latents_are_broken_from_the_step_where_they_began(make, kept):
    damaged = make()
    step, made = damaged.pipeline.scheduler.step, []

    def broken(*arguments, **named):
        made.append(1)
        latents = step(*arguments, **named)
        if len(made) == 3:
            latents[0][0, 0, 0, 0] = float("nan")
        return latents

    damaged.pipeline.scheduler.step = broken
    finding = trajectory(kept(), damaged)
    assert finding.outcome is Outcome.BROKEN
    assert "from step 3 of 5 on" in finding.reason
    made.clear()
    recording = record(damaged, IMAGE)
    (finding,) = judge_sound(Soundness((image(),), IMAGE, 5, recording.nonfinite_step))
    assert finding.outcome is Outcome.BROKEN


def test_a_component_that_overflows_alone_is_broken(make, kept):
    damaged = make()
    with torch.no_grad():
        damaged.pipeline.vae.decoder.conv_out.bias.fill_(float("inf"))
    recording = record(kept(), IMAGE)
    replayed = replay(damaged, IMAGE, recording)
    assert np.isfinite(replayed.pixels).all()  # the processor clamps infinity away
    with torch.no_grad():
        damaged.pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    finding = components(kept(), damaged)
    assert finding.outcome is Outcome.BROKEN
    assert finding.reason.startswith("vae (pixels)")


def test_a_batch_holds_the_images_that_each_noise_gives_alone(kept):
    stages = kept()
    requests = tuple(stages.workload.image(index) for index in range(3))
    batch = generate_batch(stages, requests)
    alone = [generate_batch(stages, [request])[0] for request in requests]
    assert [image.nonfinite for image in batch] == [False] * 3
    assert len({image.png for image in alone}) == 3
    assert [len(image.png) for image in batch] == pytest.approx(
        [len(image.png) for image in alone], rel=0.05
    )


def test_a_pipeline_that_is_called_whole_is_asked_by_its_calls(kept):
    stages = kept()
    whole = Stages(stages.pipeline, stages.workload)
    recording = record(whole, IMAGE)
    assert list(recording.embeds) == ["0.0", "0.1"]
    assert len(recording.latents) == 5
    distances = measure_components(recording, replay(whole, IMAGE, recording))
    assert [one.component for one in distances if not one.identical] == []
    with pytest.raises(UnsupportedError, match=r"cannot be run by components.*could be recorded"):
        replay(whole, IMAGE, dataclasses.replace(recording, calls=()))


def test_soiled_memory_is_nan_in_every_format(monkeypatch):
    made, full = [], torch.full

    def keep(*arguments, **named):
        made.append(full(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(torch, "full", keep)
    assert soil_memory(torch.device("cpu")) == sum(SOILED_BLOCKS_BYTES) < 2**28
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert made[0].view(dtype).isnan().all()


def test_memory_that_runs_out_while_it_is_soiled_is_no_failure(monkeypatch):
    full = torch.full

    def refuse(size, *arguments, **named):
        if size[0] > 2**12:
            raise torch.OutOfMemoryError("no more")
        return full(size, *arguments, **named)

    monkeypatch.setattr(torch, "full", refuse)
    assert soil_memory(torch.device("cpu")) == 2**13 - 2**9


def test_an_operator_that_reads_what_was_left_in_memory_is_seen(make, monkeypatch):
    stages = make()
    left, full, forward = [0.0], torch.full, stages.pipeline.unet.forward

    def leave(size, value, **named):
        left[0] = float(value)
        return full(size, value, **named)

    def stale(sample, *arguments, **named):
        return forward(sample + left[0], *arguments, **named)

    workload, request = stages.workload, (IMAGE,)
    clean = generate_batch(stages, [IMAGE])
    SoilMemory(workload, request, 1).answer(stages)
    assert generate_batch(stages, [IMAGE]) == clean
    monkeypatch.setattr(stages.pipeline.unet, "forward", stale)
    assert generate_batch(stages, [IMAGE]) == clean
    monkeypatch.setattr(torch, "full", leave)
    SoilMemory(workload, request, 1).answer(stages)
    assert generate_batch(stages, [IMAGE]) != clean


def test_the_repeated_image_is_made_in_soiled_memory(monkeypatch):
    done = []
    pool = SimpleNamespace(
        is_in_process=True, ask=lambda question: done.append(type(question).__name__)
    )
    suite = SimpleNamespace(
        pool=pool,
        workload=workload_of("tiny"),
        threads_per_worker=lambda _: 1,
        acquire=lambda *_, **__: None,
    )

    def generate(*_):
        done.append("generate")
        return ["image"]

    bench = QualityBench(suite)
    monkeypatch.setattr(bench, "_make_images", lambda _: ["first"])
    monkeypatch.setattr(bench, "_generate", generate)
    monkeypatch.setattr(bench, "_compared", lambda image, *_: image)
    bench.observe_repeats("fp32")
    assert done == ["SoilMemory", "generate"]
