"""The stages of every family give the bytes of the plain diffusers call."""

import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)

from evidence.mapped_pipelines import families, parts
from sdperf.errors import ConfigurationError, GenerationError
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.loader import prepare_pipeline
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.pixels import count_nonfinite, to_uint8
from sdperf.pipeline.scheduling import apply_scheduler
from sdperf.pipeline.separable import SeparableStages
from sdperf.pipeline.stages import Stages
from sdperf.record.workload import Workload
from tests.support import tiny_pipelines

FAMILIES = list(families.FAMILIES)
PROMPTS = ("red apple", "a blue car")


def workload(**overrides):
    settings = {
        "model": "tiny",
        "prompts": PROMPTS,
        "num_inference_steps": 2,
        "guidance_scale": 5.0,
        "height": 32,
        "width": 40,
        "seed": 7,
    }
    return Workload(**{**settings, **overrides})


def bound(pipeline, images=1, **overrides):
    stages = stages_for(pipeline, workload(**overrides))
    requests = [stages.workload.image(index) for index in range(images)]
    return stages, [request.prompt for request in requests], stages.draw_noise(requests)


def staged(stages, prompts, noise, on_step=None):
    return stages.decode_latents(stages.denoise(stages.encode_prompt(prompts), noise, on_step))


@pytest.fixture(scope="module", params=FAMILIES)
def pipeline(request, tiny_folder):
    return tiny_pipelines.take(tiny_folder(request.param))


@pytest.fixture(scope="module")
def sd(tiny_folder):
    return tiny_pipelines.take(tiny_folder("sd"))


def test_no_image_looks_through_all_modules_for_the_pipelines_device(pipeline, monkeypatch):
    stages, prompts, _ = bound(pipeline)
    asked = []

    def ask(self):
        asked.append(self)
        return torch.device("cpu")

    monkeypatch.setattr(DiffusionPipeline, "_execution_device", property(ask))
    stages.draw_noise([stages.workload.image(0)])
    stages.encode_prompt(prompts)
    assert not asked
    stages.denoise(stages.encode_prompt(prompts), stages.draw_noise([stages.workload.image(0)]))
    assert asked  # the pipeline's own call does, so that the property is the one in use


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_stages_give_the_bytes_of_the_plain_call(pipeline, guidance_scale):
    stages, prompts, noise = bound(pipeline, guidance_scale=guidance_scale)
    with known_warnings_ignored():
        plain = pipeline(
            prompt=prompts[0],
            latents=noise.latents,
            num_inference_steps=2,
            guidance_scale=guidance_scale,
            height=32,
            width=40,
        ).images[0]

    whole = to_uint8(stages.run_whole(prompts, noise))
    divided = to_uint8(staged(stages, prompts, noise))

    assert whole.shape == (1, 32, 40, 3)
    assert whole[0].tobytes() == divided[0].tobytes() == np.asarray(plain).tobytes()
    assert whole.std() > 10


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3"])
def test_a_negative_prompt_reaches_both_ways_of_running(name, tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder(name))
    stages, prompts, noise = bound(pipeline, images=2, negative_prompt="blurry")
    plain, plain_prompts, _ = bound(pipeline, images=2)

    pixels = stages.run_whole(prompts, noise)

    assert np.array_equal(pixels, staged(stages, prompts, noise))
    assert not np.array_equal(pixels, plain.run_whole(plain_prompts, noise))


def test_flux_refuses_a_negative_prompt_that_it_would_ignore(tiny_folder):
    with pytest.raises(ConfigurationError, match="ignores a negative prompt"):
        stages_for(tiny_pipelines.take(tiny_folder("flux")), workload(negative_prompt="blurry"))


def test_an_image_does_not_depend_on_its_batch(pipeline):
    stages, prompts, noise = bound(pipeline, images=2)
    together = stages.run_whole(prompts, noise)
    for index in range(2):
        alone = stages.draw_noise([stages.workload.image(index)])
        assert torch.equal(alone.latents[0], noise.latents[index])
        single = stages.run_whole([prompts[index]], alone)
        np.testing.assert_allclose(single[0], together[index], atol=2e-3)


def test_seeds_and_prompts_decide_the_image(sd):
    stages, prompts, noise = bound(sd)
    first = stages.run_whole(prompts, noise)
    other_noise = stages.draw_noise([stages.workload.image(1)])

    assert np.array_equal(first, stages.run_whole(prompts, noise))
    assert not np.array_equal(first, stages.run_whole(prompts, other_noise))
    assert not np.array_equal(first, stages.run_whole(["pizza"], noise))


def test_every_step_is_reported_with_its_latents(pipeline):
    stages, prompts, noise = bound(pipeline, num_inference_steps=3)
    steps = []
    latents = stages.denoise(
        stages.encode_prompt(prompts), noise, lambda step, state: steps.append((step, state))
    )
    # PNDM, the scheduler of the SD shape, takes one step more than asked.
    taken = 4 if stages.family == "sd" else 3
    assert [step for step, _ in steps] == list(range(taken))
    assert torch.equal(steps[-1][1], latents)
    watched = []
    stages.run_whole(prompts, noise, lambda step, _: watched.append(step))
    assert watched == list(range(taken))


def test_noise_is_drawn_in_float32_for_every_precision(sd, tiny_folder):
    half = tiny_pipelines.take(tiny_folder("sd"), torch.bfloat16)
    _, _, full_noise = bound(sd)
    stages, prompts, half_noise = bound(half)

    assert torch.equal(full_noise.latents.to(torch.bfloat16), half_noise.latents)
    assert np.array_equal(
        stages.run_whole(prompts, half_noise), staged(stages, prompts, half_noise)
    )


def test_ancestral_noise_comes_from_the_images_own_seed(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    apply_scheduler(pipeline, "EulerAncestralDiscreteScheduler")
    stages, prompts, noise = bound(pipeline, images=2)
    torch.manual_seed(1)
    first = stages.run_whole(prompts, noise)
    torch.manual_seed(2)
    assert np.array_equal(first, staged(stages, prompts, noise))
    alone = stages.run_whole([prompts[1]], stages.draw_noise([stages.workload.image(1)]))
    np.testing.assert_allclose(alone[0], first[1], atol=2e-3)


def test_sdxl_decodes_in_float32_where_float16_overflows():
    pipeline = prepare_pipeline(families.build_sdxl()).to(torch.float16)
    stages, prompts, noise = bound(pipeline)
    latents = stages.denoise(stages.encode_prompt(prompts), noise)
    seen = []
    hook = pipeline.vae.decoder.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].dtype)
    )
    divided = stages.decode_latents(latents)
    assert np.array_equal(divided, stages.run_whole(prompts, noise))
    hook.remove()
    assert latents.dtype == torch.float16
    assert seen == [torch.float32] * 2
    assert pipeline.vae.dtype == torch.float16


def test_sdxl_gives_the_vae_back_in_float16_when_decoding_fails():
    pipeline = prepare_pipeline(families.build_sdxl()).to(torch.float16)
    stages, prompts, noise = bound(pipeline)
    latents = stages.denoise(stages.encode_prompt(prompts), noise)
    pipeline.vae.decoder.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="damaged"):
        stages.decode_latents(latents)
    assert pipeline.vae.dtype == torch.float16


def fail(*_):
    raise RuntimeError("damaged")


def test_sdxl_undoes_the_latents_mean_and_deviation_of_its_vae():
    pipeline = prepare_pipeline(
        families.build_sdxl(latents_mean=[0.1, -0.2, 0.3, 0.4], latents_std=[1.5, 1.2, 0.8, 0.9])
    )
    stages, prompts, noise = bound(pipeline)
    assert np.array_equal(stages.run_whole(prompts, noise), staged(stages, prompts, noise))


def test_the_pipelines_own_size_is_taken_where_none_is_asked(pipeline):
    stages, _, noise = bound(pipeline, height=None, width=None)
    size = 128 * 4 if stages.family == "flux" else 32
    assert (stages.height, stages.width) == (size, size)
    assert noise.latents[0].numel() == 4 * (size // 4) ** 2


def test_a_size_that_does_not_pack_is_refused_before_anything_runs(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("flux"))
    pipeline.vae_scale_factor = 8
    with pytest.raises(ConfigurationError, match=r"width.*multiple of 16.*--sd-size 32x"):
        stages_for(pipeline, workload(height=32, width=40))


def test_not_a_number_in_the_latents_is_counted_and_becomes_some_byte(sd):
    stages, prompts, noise = bound(sd)
    latents = stages.denoise(stages.encode_prompt(prompts), noise)
    assert count_nonfinite(latents) == 0
    latents[0, 0, 0, 0] = float("nan")
    latents[0, 0, 0, 1] = float("inf")
    assert count_nonfinite(latents) == 2
    pixels = stages.decode_latents(latents)
    assert count_nonfinite(pixels) > 0
    assert to_uint8(pixels).dtype == np.uint8


class PlainPipeline(DiffusionPipeline):
    """A pipeline of no known family, which draws its own latents."""

    def __init__(self, unet):
        super().__init__()
        self.register_modules(unet=unet)

    def __call__(self, prompt, num_inference_steps, generator, output_type):
        drawn = [torch.rand(8, 8, 3, generator=each).numpy() for each in generator]
        return type("Output", (), {"images": np.stack(drawn)})()


class Overridden(StableDiffusionPipeline):
    """A subclass with a call of its own."""

    def __call__(self, *args, **keywords):
        return super().__call__(*args, **keywords)


class Derived(StableDiffusionPipeline):
    """A subclass that leaves the call alone."""


def plain_pipeline():
    unet = parts.random_weights().build(
        lambda: UNet2DConditionModel(
            block_out_channels=(8,),
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
            norm_num_groups=4,
        )
    )
    return PlainPipeline(unet)


def test_an_unknown_pipeline_runs_whole_from_each_images_seed():
    stages, prompts, noise = bound(
        plain_pipeline(), images=2, height=None, width=None, guidance_scale=None
    )
    assert type(stages) is Stages
    assert stages.family == "whole"
    pixels = stages.run_whole(prompts, noise)
    assert np.array_equal(pixels, stages.run_whole(prompts, noise))
    alone = stages.draw_noise([stages.workload.image(1)])
    assert np.array_equal(stages.run_whole(prompts[1:], alone)[0], pixels[1])


@pytest.mark.parametrize(
    ("asked", "flag"),
    [({"height": 32, "width": None}, "size"), ({"negative_prompt": "x"}, "negative-prompt")],
)
def test_what_a_whole_pipeline_cannot_be_told_is_refused(asked, flag):
    overrides = {"height": None, "width": None, "guidance_scale": None, **asked}
    with pytest.raises(ConfigurationError, match=f"leave --sd-{flag} out"):
        stages_for(plain_pipeline(), workload(**overrides))


def test_guidance_that_a_pipeline_would_drop_is_refused():
    asked = workload(height=None, width=None, guidance_scale=2.0)
    with pytest.raises(ConfigurationError, match=r"takes no guidance scale.*--sd-guidance none"):
        stages_for(plain_pipeline(), asked)


def test_a_pipeline_that_makes_another_number_of_images_is_an_error():
    pipeline = plain_pipeline()
    stages, prompts, noise = bound(pipeline, images=2, height=None, width=None, guidance_scale=None)
    with pytest.raises(GenerationError, match="makes 2 images where it was asked for 1"):
        stages.run_whole(prompts[:1], noise)


def test_a_pipeline_that_returns_no_images_is_an_error(monkeypatch):
    pipeline = plain_pipeline()
    stages, prompts, noise = bound(pipeline, images=2, height=None, width=None, guidance_scale=None)
    monkeypatch.setattr(type(pipeline), "__call__", lambda *_, **__: None)
    with pytest.raises(GenerationError, match="returned no images; got: NoneType"):
        stages.run_whole(prompts, noise)


@pytest.mark.parametrize(("kind", "expected"), [(Overridden, Stages), (Derived, SeparableStages)])
def test_a_subclass_is_divided_only_while_its_call_is_the_familys(sd, kind, expected):
    pipeline = kind(**sd.components, requires_safety_checker=False)
    stages, prompts, _ = bound(pipeline)
    assert isinstance(stages, SeparableStages) == (expected is SeparableStages)
    whole = stages.run_whole(prompts, stages.draw_noise([stages.workload.image(0)]))
    assert whole.shape == (1, 32, 40, 3)


class TwoHalves(DiffusionPipeline):
    """Takes what it does not name, as Wuerstchen does, and a scale of guidance for each half."""

    def __call__(self, prompt, num_inference_steps=2, decoder_guidance_scale=0.0, **more):
        raise AssertionError("not asked")


def test_guidance_is_refused_by_a_pipeline_that_has_a_scale_for_each_half():
    plain = workload(height=None, width=None)
    with pytest.raises(ConfigurationError, match=r"TwoHalves takes no guidance scale"):
        Stages(TwoHalves(), plain)
    unasked = Stages(TwoHalves(), workload(height=None, width=None, guidance_scale=None))
    assert unasked.guidance_argument is None
