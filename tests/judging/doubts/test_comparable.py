"""Why two measurements of one name are not compared, in words and naming only what differs."""

import dataclasses

import pytest

from sdperf.judging.doubts.comparable import Difference, explain_difference
from sdperf.record.workload import DEFAULT_MASK_SHA256, DEFAULT_PICTURE_SHA256, InputPicture
from tests.support.measurements import WORKLOAD, measurement

HOUSE = InputPicture(DEFAULT_PICTURE_SHA256, None, 0.8, "image-to-image", ("image", "strength"))
OWN = dataclasses.replace(HOUSE, sha256="ab" * 32)


def drawn(picture=None, **changes):
    return measurement(workload=dataclasses.replace(WORKLOAD, picture=picture, **changes))


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (
            None,
            OWN,
            "it was drawn from the prompt alone, and now from picture abababab, strength 0.8, "
            "image-to-image",
        ),
        (
            HOUSE,
            None,
            "it was drawn from the default picture, strength 0.8, image-to-image, and now from "
            "the prompt alone",
        ),
        (HOUSE, OWN, "picture was the default picture and is abababab"),
        (OWN, dataclasses.replace(OWN, strength=0.5), "strength was 0.8 and is 0.5"),
        (
            OWN,
            dataclasses.replace(OWN, mask_sha256=DEFAULT_MASK_SHA256, task="inpaint"),
            "mask was none and is default mask, task was image-to-image and is inpaint",
        ),
        (
            OWN,
            dataclasses.replace(OWN, arguments=("image",)),
            "picture arguments was image, strength and is image",
        ),
    ],
)
def test_pictures_are_told_in_words(before, now, words):
    assert explain_difference(drawn(before), drawn(now)).reason == f"another workload: {words}"


def test_other_fields_are_told_without_tuples_and_none():
    one, other = drawn(prompts=("a", "b")), drawn(prompts=("a",))
    assert explain_difference(one, other).reason.endswith("prompts was 'a', 'b' and is 'a'")
    one, other = drawn(height=None), drawn(height=64)
    assert explain_difference(one, other).reason.endswith("height was left open and is 64")


def test_a_field_is_named_as_the_setting_that_a_person_types():
    one, other = drawn(), drawn(num_inference_steps=WORKLOAD.num_inference_steps + 1)
    steps = WORKLOAD.num_inference_steps
    assert explain_difference(one, other).reason.endswith(f"steps was {steps} and is {steps + 1}")
    one, other = drawn(), drawn(negative_prompt="dull")
    assert explain_difference(one, other).reason.endswith("negative prompt was '' and is 'dull'")


def test_the_next_step_is_of_the_workload_only_where_that_differs():
    step = explain_difference(drawn(), drawn(HOUSE)).suggest("another machine")
    assert step.startswith("ask for the workload of then, or accept a baseline")
    # A person's words tell nothing: a machine may be called "another workload: ".
    assert Difference("measured on another workload: M1").suggest("another") == "another"
