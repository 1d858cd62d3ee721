"""The loop without round trips gives the latents of diffusers' own, and asks the device nothing."""

from types import SimpleNamespace

import diffusers
import pytest
import torch

from evidence.mapped_pipelines.parts import NOISE_SCHEDULE
from sdperf.errors import ConfigurationError
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.pipeline.optimisations.denoising import (
    DenoisingLoop,
    check_scheduler,
)
from sdperf.pipeline.optimisations.entries import LOOP_SCHEDULERS
from sdperf.pipeline.optimisations.optimised_stages import optimise_stages
from tests.pipeline.test_stages import bound
from tests.support import tiny_pipelines


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def pipeline(request, tiny_folder):
    return tiny_pipelines.take(tiny_folder(request.param))


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("scheduler", LOOP_SCHEDULERS)
def test_latents_are_those_of_the_plain_loop(pipeline, scheduler, guidance_scale):
    with known_warnings_ignored():
        pipeline.scheduler = getattr(diffusers, scheduler)(**NOISE_SCHEDULE)
    stages, prompts, noise = bound(
        pipeline, images=2, num_inference_steps=6, guidance_scale=guidance_scale
    )
    embeds = stages.encode_prompt(prompts)
    plain_steps, steps = [], []
    plain = stages.denoise(embeds, noise, lambda _, latents: plain_steps.append(latents))
    own = optimise_stages(stages, ["device_loop"])

    latents = own.denoise(embeds, noise, lambda _, latents: steps.append(latents))

    assert torch.equal(latents, plain)
    assert len(steps) == len(plain_steps) >= 6
    assert all(map(torch.equal, steps, plain_steps))
    assert torch.equal(own.denoise(embeds, noise), plain)  # and once more, from the first step


def loop_of(scheduler):
    """A loop whose UNet computes nothing that matters, to run it where there are no values."""
    unet = SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=None))
    with known_warnings_ignored():
        made = scheduler(**NOISE_SCHEDULE)
    pipeline = SimpleNamespace(scheduler=made, unet=unet)
    loop = DenoisingLoop(pipeline, 5, 5.0)
    loop.predict = lambda _step, sample, timestep, _conditioning: sample * timestep
    return loop


@pytest.mark.parametrize("name", LOOP_SCHEDULERS)
def test_nothing_is_read_back_from_the_device(name):
    loop = loop_of(getattr(diffusers, name))
    latents = loop.run({}, torch.ones(1, 4, 8, 8, device="meta"))  # reading a value there raises
    assert latents.device.type == "meta"
    assert latents.shape == (1, 4, 8, 8)


def test_diffusers_own_way_would_read_from_the_device():
    loop = loop_of(diffusers.DPMSolverMultistepScheduler)
    scheduler = loop.pipeline.scheduler
    with known_warnings_ignored():
        scheduler.set_timesteps(5, device="cpu")
    latents = torch.ones(1, 4, 8, 8, device="meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        scheduler.step(latents, scheduler.timesteps[0].to("meta"), latents)


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        (diffusers.EulerAncestralDiscreteScheduler, {}),
        (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    ],
)
def test_a_scheduler_that_draws_noise_is_refused(scheduler, options):
    with known_warnings_ignored():
        drawing = scheduler(**NOISE_SCHEDULE, **options)
    with pytest.raises(ConfigurationError, match="add no noise") as caught:
        check_scheduler(drawing)
    assert "--sd-scheduler DPMSolverMultistepScheduler" in str(caught.value)


def test_a_scheduler_that_cannot_be_recorded_is_refused_by_the_graph_alone(pipeline):
    with known_warnings_ignored():
        pipeline.scheduler = diffusers.UniPCMultistepScheduler(**NOISE_SCHEDULE)
    stages, _, _ = bound(pipeline, images=1, num_inference_steps=2, guidance_scale=5.0)
    optimise_stages(stages, ["device_loop"])
    with pytest.raises(ConfigurationError, match="CUDA can record") as caught:
        optimise_stages(stages, ["loop_graph"])
    assert "UniPCMultistepScheduler" in str(caught.value)


def test_a_denoiser_that_takes_the_guidance_scale_is_refused():
    unet = SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=256))
    scheduler = diffusers.DDIMScheduler(**NOISE_SCHEDULE)
    with pytest.raises(ConfigurationError, match="takes the guidance scale"):
        DenoisingLoop(SimpleNamespace(scheduler=scheduler, unet=unet), 4, 1.0)
