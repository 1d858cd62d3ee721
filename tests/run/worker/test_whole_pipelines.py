"""Any pipeline in stages: divided by hooks, from noise drawn once, judged by components."""

import functools
import itertools

import numpy as np
import pytest
import torch

from evidence.mapped_pipelines.recent import RECENT
from sdperf.errors import UnsupportedError
from sdperf.images.png import encode_png
from sdperf.judging.inside.parity import judge_components
from sdperf.pipeline.borders import find_borders
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.own_noise import run_to_denoiser
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.stages import Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.observation import ComponentParity
from sdperf.record.workload import ImageRequest, Workload
from sdperf.run.quality.bench import measure_components
from sdperf.run.worker.counting import count_image
from sdperf.run.worker.executed import count_execution, describe_execution
from sdperf.run.worker.profiler import profile_image
from sdperf.run.worker.recording import generate_batch, record, replay
from sdperf.run.worker.synchronous import generate_sync
from tests.support.tiny_pipelines import take, tiny_folder  # noqa: F401

IMAGE = ImageRequest("red apple", 0)
FAMILIES = ("sd", "sdxl", "sd3", "flux")
MODERN = tuple(RECENT)


def workload_of(**changes):
    fields = {"num_inference_steps": 2, "guidance_scale": 3.0, "height": 32, "width": 32}
    return Workload("tiny", ("red apple", "a blue car"), **fields | changes)


@pytest.fixture(scope="module")
def bind(tiny_folder):  # noqa: F811
    """Bind a pipeline that the test may change."""

    def make(name, torch_dtype=torch.float32, **changes):
        if name == "flux2-klein":
            changes = {"guidance_scale": 1.0, **changes}
        stages = Stages(take(tiny_folder(name), torch_dtype), workload_of(**changes))
        stages.learn(["red apple"])
        return stages

    return make


@pytest.fixture(scope="module")
def kept(bind):
    """Bind a pipeline once for all tests that leave it as it is."""
    return functools.cache(bind)


@pytest.fixture(scope="module")
def recorded(kept):
    """Record the image of a pipeline that is as it was, once."""
    return functools.cache(lambda name: record(kept(name), IMAGE))


def ticking():
    ticks = itertools.count()
    return lambda: float(next(ticks))


def profiled(stages):
    ahead = TokenizeAhead(stages.pipeline)
    with ahead:
        return profile_image(stages, ahead, IMAGE, synchronize=lambda: None, clock=ticking())


def flops(stages):
    ahead = TokenizeAhead(stages.pipeline)
    with ahead:
        ahead.prime([IMAGE.prompt])
        return {cost.stage: cost.flop for cost in count_image(stages, ahead, IMAGE)}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checked_family_divides_both_ways_alike(kept, name):
    whole = kept(name)
    known = stages_for(whole.pipeline, whole.workload)
    assert type(known) is not Stages
    by_hooks, by_parts = flops(whole), flops(known)
    for stage in ("encode_prompt", "denoise", "decode_latents"):
        assert by_hooks[stage] == by_parts[stage] > 0
    pixels = whole.run_whole([IMAGE.prompt], whole.draw_noise([IMAGE]))
    latents = known.denoise(known.encode_prompt([IMAGE.prompt]), known.draw_noise([IMAGE]))
    assert np.array_equal(pixels, known.decode_latents(latents))


@pytest.mark.parametrize("name", MODERN)
def test_a_profiled_image_of_any_pipeline_has_stages_and_steps(kept, name):
    times = profiled(kept(name))
    assert times.whole_s is None
    assert None not in (times.encode_prompt_s, times.denoise_s, times.decode_latents_s)
    assert len(times.steps_s) == 2


@pytest.mark.parametrize("name", MODERN)
def test_nothing_is_left_on_the_pipeline(kept, name):
    stages = kept(name)
    borders = find_borders(stages.pipeline)
    profiled(stages)
    record(stages, IMAGE)
    replaced = {"encode_prompt", "prepare_latents", "decode", "forward"}
    parts = (stages.pipeline, borders.denoiser, borders.vae)
    assert [replaced & set(vars(part)) for part in parts] == [set(), set(), set()]
    assert not borders.denoiser._forward_pre_hooks
    assert not borders.denoiser._forward_hooks


@pytest.mark.parametrize("name", [*FAMILIES, *MODERN])
def test_handed_noise_is_the_noise_that_the_pipeline_would_draw(kept, name, tiny_folder):  # noqa: F811
    stages = kept(name)
    plain = Stages(stages.pipeline, stages.workload)
    unaided = plain.draw_noise([IMAGE])
    assert unaided.latents is None
    noise = stages.draw_noise([IMAGE])
    assert noise.latents is not None
    assert np.array_equal(
        stages.run_whole([IMAGE.prompt], noise), plain.run_whole([IMAGE.prompt], unaided)
    )


@pytest.mark.parametrize("name", MODERN)
def test_two_precisions_start_from_the_same_noise(kept, name):
    full = kept(name).draw_noise([IMAGE]).latents
    half = kept(name, torch.float16).draw_noise([IMAGE]).latents
    assert torch.equal(full.to(half.dtype), half)


def test_noise_that_the_call_would_change_is_left_to_the_pipeline(bind):
    stages = bind("z-image")
    pipeline = stages.pipeline
    plain = type(pipeline).prepare_latents

    class Stubborn(type(pipeline)):
        def prepare_latents(self, *args, **keywords):
            made = plain(self, *args, **keywords)
            return made + 1 if keywords.get("latents", args[-1]) is None else made * 0

    pipeline.__class__ = Stubborn
    again = Stages(pipeline, stages.workload)
    again.learn(["red apple"])
    assert again.draw_noise([IMAGE]).latents is None


@pytest.mark.parametrize("name", MODERN)
def test_an_image_of_a_batch_is_the_image_alone(kept, name):
    stages = kept(name)
    requests = [stages.workload.image(index) for index in range(2)]
    alone = [made.pixels for made in generate_sync(stages, requests, ticking())]
    together = stages.run_whole([one.prompt for one in requests], stages.draw_noise(requests))
    for one, both in zip(alone, together, strict=True):
        assert np.abs(one[0] - both).max() < 1e-4
    assert len(generate_batch(stages, requests)) == 2


@pytest.mark.parametrize("name", MODERN)
def test_components_run_on_recorded_inputs(kept, recorded, name):
    recording = recorded(name)
    assert len(recording.latents) == 2
    assert recording.embeds
    assert recording.calls
    assert recording.decoded is not None
    distances = measure_components(recording, replay(kept(name), IMAGE, recording))
    assert {each.component for each in distances} == {"text encoder", "denoiser", "vae"}
    assert all(each.identical or each.psnr_db > 80 for each in distances)


def test_how_far_a_rounded_time_step_moves_a_denoiser_is_asked_where_it_is_far(kept, recorded):
    """FLUX.2 turns its time step, of 0 to 1, into bf16 and then into one of 1000."""
    far, near = kept("flux2-klein"), kept("z-image")
    rounded = {}
    for stages, name in ((far, "flux2-klein"), (near, "z-image")):
        recording = recorded(name)
        distances = measure_components(
            recording, replay(kept(name, torch.bfloat16), IMAGE, recording)
        )
        rounded[name] = [one.rounding_db for one in distances if one.component == "denoiser"]
        again = measure_components(recording, replay(stages, IMAGE, recording))
        assert {one.rounding_db for one in again} == {None}
    assert rounded["z-image"] == [None, None]
    assert rounded["flux2-klein"][0] is None, "a time step of 1 is no rounding"
    assert 10 < rounded["flux2-klein"][1] < 30


@pytest.mark.parametrize("name", MODERN)
@pytest.mark.parametrize("part", ["denoiser", "vae"])
def test_a_damaged_component_is_named(bind, recorded, name, part):
    recording, damaged = recorded(name), bind(name)
    with torch.no_grad():
        network = getattr(find_borders(damaged.pipeline), part)
        for weight in network.parameters():
            weight.add_(0.05)
    seen = ComponentParity(
        "fp32", IMAGE, measure_components(recording, replay(damaged, IMAGE, recording))
    )
    finding = judge_components(seen, "fp32", None)
    assert finding.outcome.is_failure
    assert part in finding.reason


def test_a_pipeline_without_a_denoiser_is_whole_and_cannot_be_asked_by_parts(bind, recorded):
    stages, recording = bind("z-image"), recorded("z-image")
    stages.pipeline.transformer = None
    assert find_borders(stages.pipeline) is None
    assert run_to_denoiser(stages.pipeline, lambda: None) is None
    with pytest.raises(UnsupportedError, match="cannot be run by components"):
        replay(stages, IMAGE, recording)


def test_qwen_images_guidance_is_the_true_one(kept):
    guided, plain = kept("qwen-image"), kept("qwen-image", guidance_scale=1.0)
    assert guided.guidance_argument == "true_cfg_scale"
    assert len(record(guided, IMAGE).calls) > 0
    drawn = [each.run_whole([IMAGE.prompt], each.draw_noise([IMAGE])) for each in (guided, plain)]
    assert not np.array_equal(*drawn)


def test_a_denoiser_that_is_called_twice_a_step_is_guided(kept):
    for scale, is_guided in ((3.0, True), (1.0, False)):
        stages = kept("qwen-image", guidance_scale=scale)
        with count_execution(stages.pipeline) as counted:
            (made,) = generate_sync(stages, [IMAGE], ticking())
        png = encode_png(to_uint8(made.pixels)[0])
        executed = describe_execution(counted, stages.pipeline, stages, (), png, is_recorded=False)
        assert (executed.guided, executed.denoiser_batch) == (is_guided, 1)


@pytest.mark.long
def test_ideograms_scale_takes_the_place_of_its_schedule(bind):
    plain = bind("Ideogram4Pipeline", num_inference_steps=48, guidance_scale=None)
    assert "guidance_schedule" not in plain._sampling(plain.draw_noise([IMAGE]), None)
    weak, strong = (bind("Ideogram4Pipeline", guidance_scale=scale) for scale in (1.0, 7.0))
    drawn = [each.run_whole([IMAGE.prompt], each.draw_noise([IMAGE])) for each in (weak, strong)]
    assert not np.array_equal(*drawn)


def test_a_nonfinite_latent_is_seen(bind):
    stages = bind("z-image")
    with torch.no_grad():
        next(stages.pipeline.transformer.parameters()).fill_(float("nan"))
    recording = record(stages, IMAGE)
    assert recording.nonfinite_step == 0


class Cache:
    """What a call of Qwen-Image 2.1 makes anew for its denoiser."""

    def __init__(self, layers):
        self.layers = layers


@pytest.mark.parametrize(("other", "is_handed_over"), [([None], True), ([1], False)])
def test_noise_is_handed_over_where_a_call_makes_an_object_of_its_own(
    bind, monkeypatch, other, is_handed_over
):
    stages = bind("z-image")
    assert stages._noise_plan is not None
    caches = itertools.chain([Cache([None])], itertools.repeat(Cache(other)))

    def add(_network, arguments, keywords):
        return arguments, keywords | {"cache": next(caches)}

    stages.pipeline.transformer.register_forward_pre_hook(add, with_kwargs=True)
    stages.learn(["red apple"])
    assert (stages._noise_plan is not None) is is_handed_over
