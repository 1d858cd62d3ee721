"""A pipeline cut into parts and put together again makes the same image, bit for bit."""

import dataclasses

import numpy as np
import pytest
import torch

from sdperf.engines.parity import FP32_PARITY_DB, measure_parity
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import PreparedPart
from sdperf.engines.standins import replace_networks
from sdperf.errors import EngineError, GenerationError
from sdperf.pipeline.families import family_of, stages_for
from sdperf.record.workload import Workload
from tests.support.tiny_pipelines import take, tiny_folder
from tests.support.toy_engine import run_eagerly

__all__ = ["tiny_folder"]

WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple", "a blue car"),
    num_inference_steps=2,
    guidance_scale=3.0,
    negative_prompt="blurred",
)


def split(pipeline, **changes):
    asked = {"family": family_of(pipeline), "height": 32, "width": 32, "guided": True} | changes
    return split_pipeline(pipeline, **asked)


def make_images(pipeline, workload):
    stages = stages_for(pipeline, workload)
    requests = [workload.image(index) for index in range(2)]
    noise = stages.draw_noise(requests)
    prompts = [request.prompt for request in requests]
    whole = stages.run_whole(prompts, noise)
    latents = stages.denoise(stages.encode_prompt(prompts), noise)
    return whole, stages.decode_latents(latents)


@pytest.mark.parametrize("guidance_scale", [3.0, 0.0], ids=["guided", "unguided"])
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_stand_ins_make_the_image_of_the_networks(tiny_folder, family, guidance_scale):
    workload = dataclasses.replace(WORKLOAD, guidance_scale=guidance_scale)
    pipeline = take(tiny_folder(family))
    expected, _ = make_images(pipeline, workload)
    parts = split(pipeline, guided=guidance_scale > 1)
    assert next(part.rows for part in parts if part.name == "unet") == (2 if guidance_scale else 1)
    replace_networks(pipeline, parts, {part.name: run_eagerly(part) for part in parts})
    assert not list(pipeline.unet.parameters())
    whole, staged = make_images(pipeline, workload)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(staged, expected)


def test_a_vae_that_overflows_in_half_precision_is_taken_in_single(tiny_folder):
    pipeline = take(tiny_folder("sdxl"), torch.float16)
    expected, _ = make_images(pipeline, WORKLOAD)
    parts = split(pipeline)
    dtypes = {part.name: part.network.dtype for part in parts}
    assert dtypes == {
        "text_encoder": torch.float16,
        "text_encoder_2": torch.float16,
        "unet": torch.float16,
        "vae_decoder": torch.float32,
    }
    replace_networks(pipeline, parts, {part.name: run_eagerly(part) for part in parts})
    whole, staged = make_images(pipeline, WORKLOAD)
    np.testing.assert_allclose(whole, expected, atol=2e-3)  # latents are unscaled in 16 bits
    np.testing.assert_array_equal(staged, whole)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_other_families_are_refused_in_one_message(tiny_folder, family):
    with pytest.raises(EngineError, match="other engines cannot run this") as caught:
        split(take(tiny_folder(family)))
    assert family in caught.value.got
    assert caught.value.hint == "--sd-engine torch"


def give_guidance_input(pipeline):
    pipeline.unet.register_to_config(time_cond_proj_dim=8)


def take_another_class(pipeline):
    pipeline.vae = torch.nn.Identity()


def ask_for_a_mask(pipeline):
    pipeline.text_encoder.config.use_attention_mask = True


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (give_guidance_input, "time_cond_proj_dim 8"),
        (take_another_class, "Identity as its vae"),
        (ask_for_a_mask, "attention mask"),
    ],
)
def test_another_build_is_refused_by_what_it_has(tiny_folder, change, named):
    pipeline = take(tiny_folder("sd"))
    change(pipeline)
    with pytest.raises(EngineError) as caught:
        split(pipeline, family="sd")
    assert named in caught.value.got


def test_an_input_that_the_part_lacks_is_refused(tiny_folder):
    pipeline = take(tiny_folder("sd"))
    parts = split(pipeline)
    replace_networks(pipeline, parts, {part.name: run_eagerly(part) for part in parts})
    inputs = next(part.inputs for part in parts if part.name == "unet")
    with pytest.raises(GenerationError, match="no such input"):
        pipeline.unet(**inputs, cross_attention_kwargs={"scale": 0.5})
    with pytest.raises(GenerationError, match="attention mask"):
        pipeline.text_encoder(parts[0].inputs["input_ids"], attention_mask=torch.ones(2, 24))


def prepare(parts, change=lambda tensor: tensor):
    return {part.name: PreparedPart(run_eagerly(part, change)) for part in parts}


def test_parity_is_exact_where_torch_runs_the_parts_and_sees_a_thousandth(tiny_folder):
    parts = split(take(tiny_folder("sdxl")))
    distances = measure_parity(parts, prepare(parts))
    assert [(one.component, one.output) for one in distances] == [
        ("text_encoder", "penultimate"),
        ("text_encoder_2", "text_embeds"),
        ("text_encoder_2", "penultimate"),
        ("unet", "noise"),
        ("vae_decoder", "image"),
    ]
    assert all(one.identical for one in distances)
    worse = measure_parity(parts, prepare(parts, lambda tensor: tensor * 1.01))
    assert all(one.psnr_db < FP32_PARITY_DB for one in worse)


def test_parity_in_16_bits_is_held_against_single(tiny_folder):
    single = split(take(tiny_folder("sd")))
    half = split(take(tiny_folder("sd"), torch.float16))
    references = {part.name: part.module for part in single}
    distances = measure_parity(half, prepare(half), references)
    assert all(35 < one.psnr_db < 90 for one in distances)
