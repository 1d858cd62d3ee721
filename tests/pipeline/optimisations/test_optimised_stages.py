"""Each exact optimisation leaves the image as it is; each can be switched on alone."""

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from evidence.mapped_pipelines.parts import NOISE_SCHEDULE
from sdperf.errors import ConfigurationError
from sdperf.images.png import decode_png
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.optimisations.networks import find_denoiser, optimise_networks
from sdperf.pipeline.optimisations.optimised_stages import optimise_stages
from tests.pipeline.optimisations.test_cuda_graphs import Recorder
from tests.pipeline.test_stages import bound, workload
from tests.support import tiny_pipelines


def load(tiny_folder, name, dtype=torch.float32):
    pipeline = tiny_pipelines.take(tiny_folder(name), torch_dtype=dtype)
    if name in ("sd", "sdxl"):
        pipeline.scheduler = DPMSolverMultistepScheduler(**NOISE_SCHEDULE)
    return pipeline


def generate(pipeline, names=(), record=None):
    optimise_networks(pipeline, names)
    stages = optimise_stages(stages_for(pipeline, workload(num_inference_steps=3)), names, record)
    requests = [stages.workload.image(index) for index in range(2)]
    noise = stages.draw_noise(requests)
    return stages.run_whole([request.prompt for request in requests], noise)


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize(
    "names", [("channels_last", "channels_last_vae"), ("fused_projections",), ("sdpa_math",)]
)
def test_changed_networks_make_the_same_image(tiny_folder, family, names):
    plain = generate(load(tiny_folder, family))
    np.testing.assert_allclose(generate(load(tiny_folder, family), names), plain, atol=2e-3)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
@pytest.mark.parametrize("names", [("device_loop",), ("embed_cache",), ("device_loop", "batch2")])
def test_changed_stages_make_the_same_bytes(tiny_folder, family, names):
    plain = generate(load(tiny_folder, family))
    assert np.array_equal(generate(load(tiny_folder, family), names), plain)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_the_whole_loop_is_recorded_once_and_replayed(tiny_folder, family):
    pipeline, record = load(tiny_folder, family), Recorder()
    stages, prompts, noise = bound(pipeline, images=2, num_inference_steps=3)
    own = optimise_stages(stages, ["loop_graph"], record)
    other = stages.draw_noise([stages.workload.image(index) for index in (5, 6)])

    for drawn in (noise, other, noise):
        assert np.array_equal(own.run_whole(prompts, drawn), stages.run_whole(prompts, drawn))
    assert record.recorded == 1
    assert not own.has_steps


def test_asked_for_its_steps_the_loop_runs_them_one_by_one(tiny_folder):
    record, seen = Recorder(), []
    stages, prompts, noise = bound(load(tiny_folder, "sd"), num_inference_steps=3)
    own = optimise_stages(stages, ["loop_graph"], record)
    own.run_whole(prompts, noise, lambda step, _: seen.append(step))
    assert seen == [0, 1, 2]
    assert record.recorded == 0


def test_a_prompt_that_comes_again_is_not_encoded_again(tiny_folder):
    pipeline = load(tiny_folder, "sd")
    stages = stages_for(pipeline, workload())
    encoded = []
    pipeline.text_encoder.register_forward_pre_hook(lambda *_: encoded.append(1))
    own = optimise_stages(stages, ["embed_cache"])
    first = own.encode_prompt(["red apple", "pizza"]).arguments
    count = len(encoded)
    again = own.encode_prompt(["pizza", "red apple", "pizza"]).arguments
    assert len(encoded) == count
    assert torch.equal(again["prompt_embeds"][1], first["prompt_embeds"][0])
    assert torch.equal(again["prompt_embeds"][2], first["prompt_embeds"][1])
    own.encode_prompt(["house"])
    assert len(encoded) > count


def test_embeddings_that_a_call_does_without_stay_missing(tiny_folder):
    stages, prompts, noise = bound(load(tiny_folder, "sd"), guidance_scale=1.0)
    own = optimise_stages(stages, ["embed_cache"])
    assert own.encode_prompt(prompts).arguments["negative_prompt_embeds"] is None
    assert np.array_equal(own.run_whole(prompts, noise), stages.run_whole(prompts, noise))


def test_a_resident_vae_decodes_as_the_one_that_is_cast_each_time(tiny_folder):
    plain = generate(load(tiny_folder, "sdxl", torch.float16))
    pipeline = load(tiny_folder, "sdxl", torch.float16)
    assert np.array_equal(generate(pipeline, ("resident_vae",)), plain)
    assert pipeline.vae.dtype == torch.float32


def test_attention_by_a_chosen_kernel_is_really_chosen(tiny_folder):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    pipeline, seen = load(tiny_folder, "sd"), []
    block = pipeline.unet.mid_block
    block.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cuda.flash_sdp_enabled()))
    generate(pipeline)
    with sdpa_kernel(SDPBackend.MATH):
        assert not torch.backends.cuda.flash_sdp_enabled()
    generate(pipeline, ("sdpa_math",))
    assert seen == [True] * 3 + [False] * 3


def test_compiled_networks_are_called_through_the_compiler(tiny_folder, monkeypatch):
    compiled = []

    def pretend(function, **options):
        compiled.append((function.__self__.__class__.__name__, options))
        return function

    monkeypatch.setattr(torch, "compile", pretend)
    pipeline = load(tiny_folder, "sd")
    plain = generate(load(tiny_folder, "sd"))
    assert np.array_equal(generate(pipeline, ("compile", "compile_vae", "device_loop")), plain)
    assert [name for name, _ in compiled] == ["UNet2DConditionModel", "Decoder"]
    assert all(options == {"dynamic": False} for _, options in compiled)
    compiled.clear()
    generate(load(tiny_folder, "sd"), ("compile", "device_loop", "step_cache2"))
    assert [name for name, _ in compiled][-2:] == ["SplitUnet"] * 2


def test_regional_compilation_takes_the_repeated_blocks(tiny_folder, monkeypatch):
    pipeline, compiled = load(tiny_folder, "sd"), []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **_: compiled.append(type(self).__name__)
    )
    optimise_networks(pipeline, ("compile_blocks",))
    assert set(compiled) == {"BasicTransformerBlock"}


def test_stored_files_hold_the_same_pixels(tiny_folder):
    stages = stages_for(load(tiny_folder, "sd"), workload())
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    plain = stages.encode_png(image)
    stored = optimise_stages(stages, ["stored_png"]).encode_png(image)
    assert stored != plain
    assert np.array_equal(decode_png(stored), image)


def test_a_pipeline_without_a_known_denoiser_is_refused():
    with pytest.raises(ConfigurationError, match="no denoiser that can be optimised"):
        find_denoiser(object())
    with pytest.raises(ConfigurationError, match="no VAE"):
        optimise_networks(object(), ("channels_last_vae",))
