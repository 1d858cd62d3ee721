"""An input picture in a pipeline's call: its noise, its size, its steps, and what is refused."""

import functools
import itertools

import numpy as np
import pytest
import torch

from evidence.mapped_pipelines.families import build_sd
from sdperf.errors import ConfigurationError
from sdperf.images.input_files import InputFile, compute_pixels_sha256, default_picture
from sdperf.models.loader import load_pipeline
from sdperf.models.tasks.choosing import AskedPicture, choose_picture
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.input_pictures import find_picture_call, plan_drawn_steps
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.workload import ImageRequest, InputPicture, Workload
from sdperf.run.worker.profiler import profile_image
from tests.support.tiny_pipelines import duplicate, open_as

IMAGES = [ImageRequest("red apple", 0), ImageRequest("a blue car", 1)]
TASKS = ("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")


def workload_of(picture=None, **changes):
    fields = {"num_inference_steps": 4, "guidance_scale": 3.0, "height": 32, "width": 32}
    return Workload("tiny", ("red apple", "a blue car"), **fields | changes, picture=picture)


@functools.cache
def load_as(folder, pipeline_class):
    """Load a pipeline once; a test takes a copy."""
    model = open_as(folder, pipeline_class)
    return load_pipeline(model, torch_dtype=torch.float32, device="cpu")


@pytest.fixture(params=TASKS)
def stages(request, tiny_folder):
    return stages_for(duplicate(load_as(tiny_folder("sd"), request.param)), workload_of())


def draw(stages, images):
    return stages.run_whole([one.prompt for one in images], stages.draw_noise(images))


def test_a_folder_is_opened_for_the_task_with_the_same_weights(tiny_folder):
    own = open_as(tiny_folder("sd"), None)
    other = open_as(tiny_folder("sd"), TASKS[0])
    assert own.model_hash == other.model_hash
    assert (own.pipeline_class, other.pipeline_class) == ("StableDiffusionPipeline", TASKS[0])


def test_in_fp32_the_image_is_that_of_the_plain_call(stages):
    plain = stages.pipeline(
        prompt=["red apple"],
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(0)],
        output_type="np",
        **stages.bound.arguments,
    )
    assert np.array_equal(draw(stages, IMAGES[:1]), plain.images)


def test_an_image_of_a_batch_is_the_image_alone(stages):
    alone = np.concatenate([draw(stages, [one]) for one in IMAGES])
    assert np.abs(draw(stages, IMAGES) - alone).max() < 1e-4


def test_two_precisions_start_from_the_same_noise(tiny_folder):
    images = []
    for torch_dtype in (torch.float32, torch.bfloat16):
        model = open_as(tiny_folder("sd"), TASKS[0])
        pipeline = load_pipeline(model, torch_dtype=torch_dtype, device="cpu")
        images.append(draw(stages_for(pipeline, workload_of()), IMAGES[:1]))
    assert np.abs(images[0] - images[1]).mean() < 0.01


def test_nothing_is_left_on_what_draws(stages):
    from diffusers.models.autoencoders import vae
    from diffusers.utils.torch_utils import randn_tensor

    draw(stages, IMAGES[:1])
    assert vae.randn_tensor is randn_tensor


def test_the_picture_matters_and_so_does_its_strength(stages):
    black = InputFile(*pack_black())
    before = draw(stages, IMAGES[:1])
    for picture, files in (
        (InputPicture(black.sha256), [black]),
        (InputPicture(default_picture().sha256, strength=0.3), []),
    ):
        other = stages_for(stages.pipeline, workload_of(picture), files)
        assert not np.array_equal(draw(other, IMAGES[:1]), before)


def pack_black():
    import io

    from PIL import Image

    image, buffer = Image.new("RGB", (16, 16)), io.BytesIO()
    image.save(buffer, format="PNG")
    return compute_pixels_sha256(image), buffer.getvalue()


def test_pixels_that_are_not_here_are_asked_for(stages):
    with pytest.raises(ConfigurationError, match="not here; got: abababababababab"):
        stages_for(stages.pipeline, workload_of(InputPicture("ab" * 32)))


def test_a_pipeline_that_draws_from_text_refuses_a_picture():
    with pytest.raises(ConfigurationError, match="takes no picture"):
        stages_for(build_sd(), workload_of(InputPicture("ab" * 32)))


def test_the_size_that_is_left_open_is_the_model_s_own(stages):
    own = stages_for(stages.pipeline, workload_of(height=None, width=None))
    assert (own.height, own.width) == (32, 32)
    assert draw(own, IMAGES[:1]).shape == (1, 32, 32, 3)


@pytest.mark.parametrize(
    ("steps", "strength", "drawn"), [(10, 0.6, 6), (10, 0.65, 6), (4, 1.0, 4), (10, None, 10)]
)
def test_the_steps_that_are_drawn_are_known_before(tiny_folder, steps, strength, drawn):
    pipeline = duplicate(load_as(tiny_folder("sdxl"), "StableDiffusionXLImg2ImgPipeline"))
    assert plan_drawn_steps(pipeline, workload_of(num_inference_steps=steps), strength) == drawn


def test_what_cannot_be_planned_is_not_guessed():
    assert plan_drawn_steps(object(), workload_of(), 0.5) is None


def test_a_profiled_image_has_the_stage_of_its_picture(stages):
    ticks = itertools.count()
    ahead = TokenizeAhead(stages.pipeline)
    with ahead:
        times = profile_image(
            stages, ahead, IMAGES[0], synchronize=lambda: None, clock=lambda: float(next(ticks))
        )
    assert None not in (times.encode_prompt_s, times.encode_image_s, times.denoise_s)
    assert list(times.by_name())[1:4] == ["encode_prompt", "encode_image", "denoise"]
    assert len(times.steps_s) == stages.pipeline._num_timesteps
    assert "encode" not in vars(stages.pipeline.vae)


def test_a_call_of_one_s_own_is_described_as_that_below_it(tiny_folder):
    from diffusers import StableDiffusionImg2ImgPipeline

    class Own(StableDiffusionImg2ImgPipeline):
        def __call__(self, *arguments, **named):
            return super().__call__(*arguments, **named)

    class Closed(StableDiffusionImg2ImgPipeline):
        def __call__(self, prompt, num_inference_steps):
            return None

    model = open_as(tiny_folder("sd"), TASKS[0])
    parts = load_pipeline(model, torch_dtype=torch.float32, device="cpu").components
    own = Own(**parts, requires_safety_checker=False)
    call = find_picture_call(own)
    assert (call.task, call.is_needed) == ("image-to-image", False)
    assert stages_for(own, workload_of()).bound is None  # it may bring its picture itself
    closed = Closed(**parts, requires_safety_checker=False)
    assert find_picture_call(closed) is None


def test_the_choice_and_the_loaded_pipeline_agree(stages):
    task = "inpaint" if "Inpaint" in type(stages.pipeline).__name__ else "image-to-image"
    chosen = choose_picture("embedded", AskedPicture(task), is_subject=False)
    assert stages.bound.picture == chosen.picture
