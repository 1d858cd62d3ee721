"""Profiling, counting, tracing and single stages on every family, with a fake clock."""

import itertools
import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from evidence.mapped_pipelines.families import FAMILIES
from evidence.random_pipelines import shapes
from sdperf.device.cpu import CpuDevice
from sdperf.errors import GenerationError
from sdperf.pipeline.families import is_separable, stages_for
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.stages import SEPARATE_STAGES
from sdperf.record.workload import Workload
from sdperf.run.worker import counting
from sdperf.run.worker.counting import count_image, count_work, measure_operator_s, measure_peak
from sdperf.run.worker.profiler import profile_image, trace_image
from sdperf.run.worker.separate import SeparateStages
from sdperf.run.worker.stagewise import generate_stagewise
from sdperf.run.worker.synchronous import generate_sync

WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple",),
    num_inference_steps=2,
    guidance_scale=5.0,
    height=32,  # Flux' own size takes a second for each image
    width=32,
)
IMAGE = WORKLOAD.image(0)
INSIDE = ("tokenise", "encode_prompt", "denoise", "decode_latents")


class Ticks:
    """A clock that goes on by one second each time it is read."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        self.now_s += 1.0
        return self.now_s


@pytest.fixture(scope="module")
def bound():
    """Return the stages and the taught tokenizers of a family, built once."""
    made = {}

    def bind(name):
        if name not in made:
            pipeline = FAMILIES[name]()
            pipeline.set_progress_bar_config(disable=True)
            stages, ahead = stages_for(pipeline, WORKLOAD), TokenizeAhead(pipeline)
            with ahead, ahead.learning([IMAGE.prompt]):
                stages.encode_prompt([IMAGE.prompt])
            made[name] = stages, ahead
        return made[name]

    return bind


def with_a_call_of_its_own(bound, *, hidden):
    """The tiny SD pipeline with another call; its decoder may go by a name that nobody knows."""
    stages, _ = bound("sd")

    class Own(type(stages.pipeline)):
        def __call__(self, *arguments, **named):
            object.__setattr__(self, "vae", self.components["vae"])
            try:
                return super().__call__(*arguments, **named)
            finally:
                if hidden:
                    object.__setattr__(self, "vae", None)

        @property
        def components(self):
            return parts

    parts = stages.pipeline.components
    pipeline = Own(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    if hidden:
        object.__setattr__(pipeline, "vae", None)
    assert not is_separable(pipeline)
    return stages_for(pipeline, WORKLOAD), TokenizeAhead(pipeline)


@pytest.mark.parametrize("family", FAMILIES)
def test_stages_and_rest_sum_to_the_whole_on_every_family(bound, family):
    stages, ahead = bound(family)
    borders = itertools.count()
    with ahead:
        times = profile_image(
            stages, ahead, IMAGE, synchronize=lambda: next(borders), clock=Ticks()
        )
    by_name = times.by_name()
    assert list(by_name) == ["draw_noise", *INSIDE, "deliver"]
    assert sum(by_name.values()) + times.rest_s == times.total_s
    # One tick passes between two stages: nothing else is left unexplained.
    assert times.rest_s == len(by_name) - 1
    steps = len(times.steps_s)
    assert steps == (3 if family == "sd" else 2)  # PNDM takes one step more
    assert sum(times.steps_s) == times.denoise_s - 1
    assert next(borders) == 2 * len(by_name) + steps


def test_a_pipeline_that_cannot_be_divided_is_timed_whole(bound):
    stages, ahead = with_a_call_of_its_own(bound, hidden=True)
    times = profile_image(stages, ahead, IMAGE, synchronize=lambda: None, clock=Ticks())
    assert list(times.by_name()) == ["draw_noise", "whole", "deliver"]
    assert times.steps_s == ()
    assert times.denoise_s is None
    assert [cost.stage for cost in count_image(stages, ahead, IMAGE)] == list(times.by_name())


def test_a_call_of_ones_own_is_divided_by_hooks(bound):
    stages, ahead = with_a_call_of_its_own(bound, hidden=False)
    times = profile_image(stages, ahead, IMAGE, synchronize=lambda: None, clock=Ticks())
    assert list(times.by_name()) == [
        "draw_noise",
        "encode_prompt",
        "denoise",
        "decode_latents",
        "deliver",
    ]
    assert sum(times.by_name().values()) + times.rest_s == times.total_s
    assert len(times.steps_s) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_stagewise_delivers_the_bytes_of_the_plain_call(bound, family):
    stages, ahead = bound(family)
    with ahead:
        png = generate_stagewise(stages, ahead, IMAGE, lambda _stage: nullcontext())
    (plain,) = generate_sync(stages, [IMAGE], Ticks())
    assert png == plain.png


@pytest.mark.parametrize("family", FAMILIES)
def test_counting_finds_work_in_every_network_and_leaves_the_image_alone(bound, family):
    stages, ahead = bound(family)
    with ahead:
        costs = {cost.stage: cost for cost in count_image(stages, ahead, IMAGE)}
        again = {cost.stage: cost for cost in count_image(stages, ahead, IMAGE)}
    assert costs == again
    for stage in ("encode_prompt", "denoise", "decode_latents"):
        assert costs[stage].flop > 0
        assert costs[stage].operators > 20
    assert costs["deliver"].flop == 0


def test_steps_and_guidance_multiply_the_denoisers_work(bound):
    pipeline = bound("sd")[0].pipeline

    def count(**changes):
        fields = {"num_inference_steps": 2, "guidance_scale": 5.0} | changes
        stages = stages_for(pipeline, Workload(model="tiny", prompts=("x",), **fields))
        ahead = TokenizeAhead(pipeline)
        costs = count_image(stages, ahead, IMAGE)
        return next(cost.flop for cost in costs if cost.stage == "denoise")

    plain = count()
    assert count(num_inference_steps=5) == 2 * plain  # 6 forwards against 3: PNDM
    assert count(guidance_scale=1.0) * 2 == plain


@torch.no_grad()
def test_known_counts_of_stable_diffusion_1_5_at_512_pixels():
    with torch.device("meta"):
        unet = shapes.UNet2DConditionModel(**shapes._SD15_UNET)
        vae = shapes.AutoencoderKL(**shapes.VAE)
        text_encoder = shapes.CLIPTextModel(shapes.text_config(shapes.CLIP_L))
        latents, embeds = torch.empty(1, 4, 64, 64), torch.empty(1, 77, 768)
        ids, step = torch.zeros(1, 77, dtype=torch.long), torch.empty(())

    def giga(work):
        return count_work(work)[1] / 1e9

    assert giga(lambda: unet(latents, step, embeds)) == pytest.approx(803, abs=0.5)
    assert giga(lambda: text_encoder(ids)) == pytest.approx(13.3, abs=0.05)
    assert giga(lambda: vae.decode(latents)) == pytest.approx(2515, abs=0.5)


def test_attention_counts_the_same_on_the_fused_cpu_kernel_as_written_out():
    query, key, value = torch.randn(3, 2, 4, 32, 16).unbind()
    fused = count_work(lambda: torch.nn.functional.scaled_dot_product_attention(query, key, value))[
        1
    ]
    written = count_work(lambda: torch.softmax(query @ key.mT / 4, -1) @ value)[1]
    assert fused == written == 2 * 2 * 2 * 4 * 32 * 32 * 16


def test_heads_that_share_a_key_cost_what_heads_of_their_own_cost():
    query, key = torch.randn(1, 4, 16, 8), torch.randn(1, 2, 16, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    shared = count_work(lambda: attend(query, key, key, enable_gqa=True))[1]
    own = count_work(lambda: attend(query, key.repeat(1, 2, 1, 1), key.repeat(1, 2, 1, 1)))[1]
    assert shared == own == 2 * 2 * 4 * 16 * 16 * 8


def test_the_trace_names_the_stages_and_is_a_chrome_trace(bound, tmp_path):
    stages, ahead = bound("sd")
    path = tmp_path / "trace.json"
    with ahead:
        trace_image(stages, ahead, IMAGE, synchronize=lambda: None, device_kind="cpu", path=path)
    events = json.loads(path.read_text())["traceEvents"]
    names = [event.get("name") for event in events]
    for stage in ("draw_noise", *INSIDE, "deliver"):
        assert stage in names
    assert any("aten::" in str(name) for name in names)


@pytest.mark.parametrize("name", ["absent/trace.json", "absent/trace.json.gz"])
def test_a_trace_that_cannot_be_written_is_an_error(bound, tmp_path, name):
    stages, ahead = bound("sd")
    with ahead, pytest.raises(GenerationError, match="trace cannot be written"):
        trace_image(
            stages,
            ahead,
            IMAGE,
            synchronize=lambda: None,
            device_kind="cpu",
            path=tmp_path / name,
        )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stage", SEPARATE_STAGES)
def test_a_stage_alone_gives_the_known_image(bound, family, stage):
    stages, _ = bound(family)
    separate = SeparateStages(stages, IMAGE)
    (plain,) = generate_sync(stages, [IMAGE], Ticks())
    interval = separate.run(stage, synchronize=lambda: None, clock=Ticks())
    (generated,) = interval.result
    assert interval.duration_s == generated.latency_s == 1.0
    assert generated.png == plain.png


@pytest.mark.parametrize(
    ("stage", "broken"),
    [("encode_prompt", "encode_prompt"), ("denoise", "denoise"), ("decode_latents", "pixels")],
)
def test_a_stage_that_changed_its_result_changes_the_image(bound, stage, broken, monkeypatch):
    stages, _ = bound("sd")
    separate = SeparateStages(stages, IMAGE)
    before = separate.run(stage, synchronize=lambda: None, clock=Ticks()).result[0]
    if broken == "encode_prompt":
        other = stages.encode_prompt(["another prompt altogether"])
        monkeypatch.setattr(stages, "encode_prompt", lambda prompts: other)
    elif broken == "denoise":
        own = stages.denoise
        monkeypatch.setattr(stages, "denoise", lambda *arguments: own(*arguments) * 0.5)
    else:
        own = stages.decode_latents
        monkeypatch.setattr(stages, "decode_latents", lambda latents: 1 - own(latents))
    after = separate.run(stage, synchronize=lambda: None, clock=Ticks()).result[0]
    assert after.png != before.png
    assert not np.array_equal(after.pixels, before.pixels)


def test_a_peak_is_the_best_of_the_sizes(monkeypatch):
    monkeypatch.setitem(counting.PEAK_SIZES, "cpu", (8, 16))
    peak = measure_peak(CpuDevice(), "fp32", clock=Ticks())
    assert (peak.format, peak.size, peak.flop_per_s) == ("fp32", 16, 2 * 16**3)
    assert peak.threads == torch.get_num_threads()


def test_an_operator_costs_the_networks_time_over_its_operators():
    seconds = measure_operator_s(CpuDevice(), "fp32", clock=Ticks())
    operators = 1 / seconds / counting.OPERATOR_REPEATS
    assert operators == pytest.approx(round(operators))
    assert operators >= 6
