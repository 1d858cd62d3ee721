"""Imprints of real tiny pipelines: equal where nothing changed, and parting where damage lies."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sdperf.pipeline.families import stages_for
from sdperf.record.imprint import PictureImprint, estimate_relative_rms, find_parting
from sdperf.record.json import format_record, parse_record
from sdperf.record.workload import ImageRequest, Workload
from sdperf.run.worker.imprinting import make_imprint, take_imprint
from tests.support.deviating_subjects import negate_step
from tests.support.tiny_pipelines import take, tiny_folder  # noqa: F401

IMAGE = ImageRequest("red apple", 0)
OTHER = ImageRequest("a blue car", 0)


@pytest.fixture(scope="module")
def make(tiny_folder):  # noqa: F811
    """Bind a tiny pipeline that the test may change."""

    def bind(name="sd", **changes):
        folder = tiny_folder(name)
        fields = {"num_inference_steps": 4, "guidance_scale": 5.0, "height": 32, "width": 32}
        workload = Workload(str(folder), ("red apple",), **fields | changes)
        return stages_for(take(folder), workload)

    return bind


@pytest.fixture(scope="module")
def kept(make):
    """Bind a pipeline once for all tests that leave it as it is."""
    return functools.cache(make)


def part(plain, damaged):
    return find_parting(take_imprint(plain, IMAGE), take_imprint(damaged, IMAGE))


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_every_family_shows_all_of_its_components_and_repeats_itself(make, kept, name):
    stages = kept(name)
    first = take_imprint(stages, IMAGE)
    assert len(first.latents) == len(stages.pipeline.scheduler.timesteps)
    assert len(first.denoiser) >= len(first.latents)
    assert first.text
    assert find_parting(first, take_imprint(make(name), IMAGE)) is None
    assert parse_record(PictureImprint, format_record(first)) == first


def test_imprinting_leaves_the_pipeline_and_its_pictures_as_they_were(kept):
    stages = kept()
    before = stages.run_whole([IMAGE.prompt], stages.draw_noise([IMAGE]))
    imprint = take_imprint(stages, IMAGE)
    after = stages.run_whole([IMAGE.prompt], stages.draw_noise([IMAGE]))
    assert np.array_equal(before, after)
    assert imprint.pixels == make_imprint(before)
    assert not stages.pipeline.unet._forward_hooks
    assert "encode_prompt" not in vars(stages.pipeline)


def test_another_prompt_parts_at_the_text_encoder(kept):
    stages = kept()
    other = dataclasses.replace(take_imprint(stages, OTHER), prompt=IMAGE.prompt)
    found = find_parting(take_imprint(stages, IMAGE), other)
    assert (found.component, found.step) == ("text encoder", None)
    assert found.farthest_rms > 0


def test_another_seed_parts_at_the_denoiser_in_the_first_step(kept):
    stages = kept()
    other = take_imprint(stages, ImageRequest(IMAGE.prompt, 1))
    found = find_parting(take_imprint(stages, IMAGE), other)
    assert (found.component, found.step) == ("denoiser", 0)
    assert found.relative_rms > 0


@pytest.mark.parametrize("wrong", [0, 2, 4])
def test_one_wrong_step_of_the_scheduler_is_named(make, kept, wrong):
    damaged = make()
    negate_step(damaged.pipeline, wrong)
    found = part(kept(), damaged)
    assert (found.component, found.step) == ("scheduler", wrong)


def test_a_vae_in_another_scale_parts_last(make, kept):
    damaged = make()
    damaged.pipeline.vae.register_to_config(scaling_factor=0.2)
    found = part(kept(), damaged)
    assert (found.component, found.step, found.farthest_rms) == ("vae", None, 0.0)
    assert found.relative_rms > 0


def test_latents_that_are_not_finite_are_no_distance(make, kept):
    damaged = make()
    step = damaged.pipeline.scheduler.step

    def broken(output, *arguments, **named):
        return step(output * float("nan"), *arguments, **named)

    damaged.pipeline.scheduler.step = broken
    with np.errstate(invalid="ignore"):
        found = part(kept(), damaged)
    assert (found.component, found.step, found.is_finite) == ("scheduler", 0, False)


def test_other_steps_and_other_sizes_are_said(kept):
    plain = kept()
    assert part(plain, kept(num_inference_steps=3)).mismatch == "5 steps in the baseline, 4 now"
    assert "latents of 1 x" in part(plain, kept(height=64)).mismatch


FLOATS = st.floats(-100, 100, width=32)


@given(arrays.arrays(np.float32, st.integers(1, 400), elements=FLOATS))
def test_equal_values_have_equal_imprints_and_a_changed_one_has_not(values):
    assert make_imprint(values) == make_imprint(values.copy())
    changed = values.copy()
    changed[-1] += 1
    assert make_imprint(changed).hash != make_imprint(values).hash


@pytest.mark.parametrize("size", [1e-4, 1e-2, 0.125, 0.5])
def test_a_sketch_tells_the_distance_nearly_always_within_a_factor_of_three(size):
    """Two estimates of 16 sums each part by more than that once in some 30,000 outputs."""
    ratios = []
    for seed in range(250):
        generator = np.random.default_rng(seed)
        before = generator.normal(size=(4, 16, 16)).astype(np.float32)
        after = before + size * generator.normal(size=before.shape).astype(np.float32)
        together = np.sqrt((np.sum(before**2) + np.sum(after**2)) / 2)
        estimated = estimate_relative_rms(make_imprint(before), make_imprint(after))
        ratios.append(estimated / (np.linalg.norm(after - before) / together))
    assert 1 / 3 < min(ratios) < max(ratios) < 3
    assert 0.9 < np.median(ratios) < 1.1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_a_hash_and_no_sketch(wrong):
    imprint = make_imprint(np.array([1.0, wrong], np.float32))
    assert imprint.sketch is None
    assert estimate_relative_rms(imprint, make_imprint(np.ones(2, np.float32))) is None
    assert estimate_relative_rms(imprint, imprint) == 0.0


def test_sums_beyond_float32_have_no_sketch():
    assert make_imprint(np.full(4096, 3e38, np.float32)).sketch is None
