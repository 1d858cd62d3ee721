"""The divided UNet is the UNet; in between, only its outermost layers run."""

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from evidence.mapped_pipelines.parts import NOISE_SCHEDULE
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.caches.step_cache import SplitUnet
from sdperf.pipeline.optimisations.optimised_stages import optimise_stages
from tests.pipeline.test_stages import bound
from tests.support import tiny_pipelines


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def pipeline(request, tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder(request.param))
    pipeline.scheduler = DPMSolverMultistepScheduler(**NOISE_SCHEDULE)
    return pipeline


def run(stages, embeds, noise, names):
    calls = []
    block = stages.pipeline.unet.mid_block
    hook = block.register_forward_hook(lambda *_: calls.append(1))
    try:
        return optimise_stages(stages, names).denoise(embeds, noise), len(calls)
    finally:
        hook.remove()


def test_the_divided_call_is_the_unets_own(pipeline):
    unet = pipeline.unet
    sample, timestep, text = torch.randn(2, 4, 8, 10), torch.tensor(7), torch.randn(2, 24, 40)
    added = {"text_embeds": torch.randn(2, 24), "time_ids": torch.ones(2, 6)}
    if unet.config.addition_embed_type is None:
        text, added = text[..., :16], None
    split = SplitUnet(unet)
    with torch.no_grad():
        plain = unet(sample, timestep, text, added_cond_kwargs=added, return_dict=False)[0]
        full, deep = split.run_full(sample, timestep, text, added)
        shallow = split.run_shallow(sample, timestep, text, added, deep)
    assert torch.equal(full, plain)
    assert torch.equal(shallow, plain)  # on its own deep features


def test_deep_layers_run_every_few_steps_only(pipeline):
    stages, prompts, noise = bound(pipeline, num_inference_steps=6)
    embeds = stages.encode_prompt(prompts)
    plain, calls = run(stages, embeds, noise, ["device_loop"])
    assert calls == 6
    latents, calls = run(stages, embeds, noise, ["device_loop", "step_cache3"])
    assert calls == 2
    assert not torch.equal(latents, plain)
    error = (latents - plain).norm() / plain.norm()
    assert error < 0.5
    closer, calls = run(stages, embeds, noise, ["device_loop", "step_cache2"])
    assert calls == 3
    assert (closer - plain).norm() < (latents - plain).norm()


def test_images_do_not_hang_on_the_one_before(pipeline):
    stages, prompts, noise = bound(pipeline, num_inference_steps=4)
    own = optimise_stages(stages, ["device_loop", "step_cache3"])
    embeds = own.encode_prompt(prompts)
    first = own.denoise(embeds, noise)
    other = stages.draw_noise([stages.workload.image(1)])
    own.denoise(embeds, other)
    assert torch.equal(own.denoise(embeds, noise), first)


def test_a_unet_of_another_build_is_refused(pipeline):
    unet = pipeline.unet
    unet.up_blocks.append(unet.up_blocks[0])
    try:
        with pytest.raises(ConfigurationError, match="step caching does not know this UNet"):
            SplitUnet(unet)
    finally:
        del unet.up_blocks[-1]
