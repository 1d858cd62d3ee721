"""What a pipeline does with pictures, and which class does what is asked for."""

import json
from pathlib import Path

import diffusers
import pytest
from PIL import Image

from sdperf.errors import ConfigurationError
from sdperf.images.input_files import default_mask, default_picture
from sdperf.models.tasks.calls import describe_call, settle_picture
from sdperf.models.tasks.choosing import (
    AskedPicture,
    choose_picture,
    find_task_class,
    read_picture_call,
    settle_workload,
)
from sdperf.models.tasks.signatures import read_mapping, read_parameters
from sdperf.record.workload import InputPicture, Workload

TEXT = Workload("embedded", ("red apple",), 20, 3.0)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 64), "red").save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "task", "arguments"),
    [
        ("StableDiffusionImg2ImgPipeline", "image-to-image", ("image", "strength")),
        ("StableDiffusionInpaintPipeline", "inpaint", ("image", "mask_image", "strength")),
        ("StableDiffusionControlNetPipeline", "control", ("image",)),
        ("StableDiffusion3ControlNetPipeline", "control", ("control_image",)),
        ("FluxControlPipeline", "control", ("control_image",)),
        ("FluxKontextPipeline", "edit", ("image", "max_area")),
        ("Flux2Pipeline", "edit", ("image",)),
        ("QwenImageEditPipeline", "edit", ("image",)),
        (
            "StableDiffusionXLControlNetImg2ImgPipeline",
            "image-to-image",
            ("image", "control_image", "strength"),
        ),
        ("StableDiffusionPipeline", None, ()),
        ("KolorsPipeline", None, ()),
    ],
)
def test_a_class_says_by_its_call_what_it_does_with_pictures(kind, task, arguments):
    call = read_picture_call(kind)
    assert (None, ()) if call is None else (call.task, call.arguments) == (task, arguments)
    assert (call is None) is (task is None)


def test_the_source_says_what_the_imported_class_says():
    import inspect

    for name in ("StableDiffusionImg2ImgPipeline", "FluxInpaintPipeline", "Flux2Pipeline"):
        imported = inspect.signature(getattr(diffusers, name).__call__).parameters
        own = [each for each in imported if each not in ("self", "kwargs")]
        assert list(read_parameters(name)) == own
    assert read_parameters("NoSuchPipeline") is None


def test_the_mappings_are_those_that_diffusers_has():
    from diffusers.pipelines import auto_pipeline

    for task in ("TEXT2IMAGE", "IMAGE2IMAGE", "INPAINT"):
        mapped = getattr(auto_pipeline, f"AUTO_{task}_PIPELINES_MAPPING")
        own = {family: kind.__name__ for family, kind in mapped.items()}
        assert read_mapping(task).items() <= own.items()
        assert len(read_mapping(task)) > 10


@pytest.mark.parametrize(
    ("own", "task", "kind"),
    [
        ("StableDiffusionPipeline", "image-to-image", "StableDiffusionImg2ImgPipeline"),
        ("StableDiffusionXLPipeline", "inpaint", "StableDiffusionXLInpaintPipeline"),
        ("FluxPipeline", "text-to-image", "FluxPipeline"),
        ("StableDiffusionImg2ImgPipeline", "text-to-image", "StableDiffusionPipeline"),
        ("Flux2Pipeline", "edit", "Flux2Pipeline"),
        ("Flux2Pipeline", "image-to-image", None),
        ("StableDiffusionPipeline", "control", None),
        ("StableDiffusionControlNetPipeline", "control", "StableDiffusionControlNetPipeline"),
    ],
)
def test_a_folder_is_opened_for_a_task_by_diffusers_own_mapping(own, task, kind):
    assert find_task_class(own, task) == kind


def test_the_embedded_model_draws_over_the_picture_that_ships():
    chosen = choose_picture("embedded", AskedPicture("image-to-image"), is_subject=False)
    assert chosen.pipeline_class == "StableDiffusionImg2ImgPipeline"
    assert chosen.files == ()
    assert chosen.picture == InputPicture(
        default_picture().sha256, None, 0.8, "image-to-image", ("image", "strength")
    )


def test_a_mask_alone_asks_for_inpainting(picture):
    chosen = choose_picture("embedded", AskedPicture(mask=picture_mask(picture)), is_subject=False)
    assert chosen.pipeline_class == "StableDiffusionInpaintPipeline"
    assert chosen.picture.sha256 == default_picture().sha256
    assert [one.sha256 for one in chosen.files] == [chosen.picture.mask_sha256]


def picture_mask(picture):
    mask = picture.with_name("mask.png")
    Image.new("L", (64, 64), 255).save(mask)
    return mask


def test_a_picture_alone_asks_for_image_to_image(picture):
    asked = AskedPicture(picture=picture, strength=0.5)
    chosen = choose_picture("embedded", asked, is_subject=False)
    assert (chosen.picture.task, chosen.picture.strength) == ("image-to-image", 0.5)
    assert chosen.picture.sha256 == chosen.files[0].sha256 != default_picture().sha256


def test_nothing_asked_for_reads_no_model():
    chosen = choose_picture("no/such-model", AskedPicture(), is_subject=False)
    assert (chosen.picture, chosen.pipeline_class) == (None, None)


def test_a_class_that_needs_a_picture_is_given_the_default_one():
    assert settle_workload(TEXT, "StableDiffusionPipeline") is TEXT
    assert settle_workload(TEXT, "Flux2Pipeline") is TEXT  # which can do without
    settled = settle_workload(TEXT, "StableDiffusionInpaintPipeline").picture
    assert settled.sha256 == default_picture().sha256
    assert settled.mask_sha256 == default_mask().sha256


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (AskedPicture("edit"), "cannot be opened for edit.*text-to-image, image-to-image, inpaint"),
        (AskedPicture("control"), "cannot be opened for control"),
        (AskedPicture("text-to-image", strength=0.5), "from the prompt alone.*--sd-strength 0.5"),
        (AskedPicture("image-to-image", picture=Path("absent.png")), "absent.png is no file"),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_name(asked, message):
    with pytest.raises(ConfigurationError, match=message):
        choose_picture("embedded", asked, is_subject=False)


def test_a_mask_that_a_class_does_not_take_is_refused_by_name(picture):
    asked = AskedPicture("image-to-image", mask=picture_mask(picture))
    with pytest.raises(ConfigurationError, match="takes no mask; got: --sd-mask"):
        choose_picture("embedded", asked, is_subject=False)
    call = read_picture_call("FluxKontextPipeline")
    with pytest.raises(ConfigurationError, match=r"takes no strength; got: --sd-strength 0.5"):
        settle_picture(InputPicture("ab" * 32, strength=0.5), call)


def test_a_pipeline_without_pictures_and_one_of_another_task_are_refused():
    with pytest.raises(ConfigurationError, match="takes no picture; got: --sd-input-image"):
        settle_picture(InputPicture("ab" * 32), None)
    call = describe_call("FluxKontextPipeline", {"image": None})
    with pytest.raises(ConfigurationError, match=r"another task.*--sd-task inpaint.*edit"):
        settle_picture(InputPicture("ab" * 32, task="inpaint"), call)


def test_what_a_subject_is_asked_for_waits_for_its_pipeline(picture):
    asked = AskedPicture("image-to-image", picture=picture)
    chosen = choose_picture("embedded", asked, is_subject=True)
    assert chosen.pipeline_class == "StableDiffusionImg2ImgPipeline"  # what its load() gives
    assert (chosen.picture.strength, chosen.picture.arguments) == (None, ())
    edited = choose_picture("embedded", AskedPicture("edit"), is_subject=True)
    assert (edited.pipeline_class, edited.picture.task) == (None, "edit")
    with pytest.raises(ConfigurationError, match="from the prompt alone"):
        choose_picture("embedded", AskedPicture("text-to-image", picture=picture), is_subject=True)


def test_a_class_that_nobody_knows_is_asked_about(tmp_path, picture):
    index = {"_class_name": "NoSuchImg2ImgPipeline"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigurationError, match="not known how a NoSuchImg2ImgPipeline takes"):
        choose_picture(str(tmp_path), AskedPicture(picture=picture), is_subject=False)
