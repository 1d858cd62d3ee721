import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.errors import ConfigurationError
from sdperf.record.workload import ImageRequest, InputPicture, Variant, Workload, read_prompts

PICTURE = InputPicture("ab" * 32, strength=0.6, task="image-to-image")


def workload(**changes):
    defaults = {"model": "embedded", "prompts": ("red apple", "house")}
    return Workload(**defaults | {"num_inference_steps": 20, "guidance_scale": 5.0} | changes)


def test_images_cycle_through_the_prompts_and_count_up_the_seed():
    batch = [workload(seed=7).image(index) for index in range(3)]
    assert batch == [
        ImageRequest("red apple", 7),
        ImageRequest("house", 8),
        ImageRequest("red apple", 9),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": ()},
        {"prompts": ("apple", "  ")},
        {"num_inference_steps": 0},
        {"seed": -1},
        {"seed": 2**63},
        {"height": 100},
        {"width": 0},
        {"picture": PICTURE, "num_inference_steps": 1},
    ],
)
def test_a_workload_that_cannot_be_run_is_refused(changes):
    with pytest.raises(ConfigurationError):
        workload(**changes)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Workload)])
def test_the_fingerprint_sees_every_field_but_the_model(field):
    other = {
        "model": "elsewhere",
        "prompts": ("pear",),
        "num_inference_steps": 21,
        "guidance_scale": 5.5,
        "negative_prompt": "blurry",
        "seed": 1,
        "height": 64,
        "width": 64,
        "scheduler": "DDIMScheduler",
        "picture": PICTURE,
        "lora": "style.safetensors",
    }
    changed = workload(**{field: other[field]}).fingerprint() != workload().fingerprint()
    assert changed is (field not in ("model", "lora")), "what both name has hashes of its own"


def test_a_workload_without_a_picture_is_what_it_was_before_there_were_any():
    asked = workload(prompts=("red apple", "a blue car"), guidance_scale=3.0, seed=3, height=64)
    assert asked.fingerprint() == "73152a2417ffca78"
    assert asked.image_key(asked.image(1)) == "e36cd83591eb39c7"


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "cd" * 32},
        {"mask_sha256": "cd" * 32},
        {"strength": 0.7},
        {"task": "inpaint"},
        {"arguments": ("image",)},
    ],
)
def test_all_of_a_picture_is_part_of_the_identity(changes):
    one = workload(picture=PICTURE)
    other = workload(picture=dataclasses.replace(PICTURE, **changes))
    assert one.fingerprint() != other.fingerprint()
    assert one.image_key(one.image(0)) != other.image_key(other.image(0))


@pytest.mark.parametrize(
    "changes", [{"sha256": "short"}, {"mask_sha256": "x" * 64}, {"strength": 0}, {"strength": 1.01}]
)
def test_a_picture_that_cannot_be_is_refused(changes):
    with pytest.raises(ConfigurationError):
        dataclasses.replace(PICTURE, **changes)


def test_a_strength_leaves_the_first_steps_out():
    assert workload(picture=PICTURE).fewest_drawn_steps == 12
    assert workload().fewest_drawn_steps == 20
    assert workload(picture=PICTURE).describe_sampling() == (
        "20 steps, guidance 5, strength 0.6, image-to-image from picture abababab"
    )
    names = {PICTURE.sha256: "my\x1b[2Jhouse.png"}
    assert workload(picture=PICTURE).describe_sampling("docs/x.md", names) == (
        "20 steps, guidance 5 (docs/x.md), strength 0.6, "
        "image-to-image from picture my?[2Jhouse.png (abababab)"
    )
    with pytest.raises(ConfigurationError, match=r"leaves no step.*--sd-steps 2"):
        workload(picture=PICTURE, num_inference_steps=1)


def test_an_image_has_one_key_in_any_batch():
    one, many = workload(prompts=("house",), seed=1), workload()
    assert one.image_key(one.image(0)) == many.image_key(many.image(1))
    assert many.image_key(many.image(0)) != many.image_key(many.image(2))


def test_variant_ids_name_the_cell():
    assert Variant("fp16", "async", 2, ("compile",)).id == "fp16-async-2w-compile"


@pytest.mark.parametrize(
    ("guidance", "is_guided", "words"),
    [
        (3.0, True, "20 steps, guidance 3"),
        (1.0, False, "20 steps, guidance 1"),
        (None, False, "20 steps, the pipeline's own guidance"),
    ],
)
def test_sampling_in_words(guidance, is_guided, words):
    asked = workload(num_inference_steps=20, guidance_scale=guidance)
    assert asked.is_guided is is_guided
    assert asked.describe_sampling() == words


def test_prompts_files_skip_blank_lines_and_comments(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff# mine\n\n red apple \nH\u00e4user\n".encode())
    assert read_prompts(path) == ("red apple", "H\u00e4user")


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"\xff\xfe\x00", b"x" * (2**20 + 1)])
def test_a_useless_prompts_file_is_one_message_that_names_it(tmp_path, content):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"prompts\.txt"):
        read_prompts(path)


def test_a_missing_prompts_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="absent"):
        read_prompts(tmp_path / "absent.txt")


@given(st.integers(0, 2**40), st.integers(0, 100))
def test_seeds_of_a_batch_never_repeat(seed, index):
    batch = workload(seed=seed)
    assert batch.image(index).seed != batch.image(index + 1).seed
