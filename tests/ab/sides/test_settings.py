import dataclasses
import re
from pathlib import Path

import pytest
from PIL import Image

from sdperf.ab.sides.settings import OF_A_SIDE, SideSettings, list_keys, parse_settings
from sdperf.cli.ab import _EPILOG
from sdperf.errors import ConfigurationError
from sdperf.record.workload import DEFAULT_PROMPTS, Variant, Workload
from sdperf.store.profile import Profile, format_profile


def test_every_field_of_a_variant_and_a_workload_is_a_setting():
    fields = {item.name for one in (Variant, Workload) for item in dataclasses.fields(one)}
    assert {name for one in OF_A_SIDE for name in one.fields} == fields
    assert {"steps", "guidance", "size", "subject", "device"} <= set(list_keys())


def test_settings_are_read_field_by_field(tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a, b\nc\n")
    found = parse_settings(
        [
            "precision=fp16,mode=async,workers=2,optimisations=compile+channels_last",
            f"size=64x32,steps=8,guidance=2.5,seed=0,scheduler=auto,prompts={prompts}",
            "negative_prompt=ugly, blurred,subject=mine:make,device=cpu",
        ]
    )
    assert found.variant == {
        "precision": "fp16",
        "mode": "async",
        "workers": 2,
        "optimisations": ("channels_last", "compile"),
    }
    assert found.make_workload() == Workload(
        "embedded", ("a, b", "c"), 8, 2.5, "ugly, blurred", 0, 32, 64, None
    )
    assert (found.subject, found.device) == ("mine:make", "cpu")


def test_a_profile_stands_for_its_settings_and_later_ones_win(tmp_path):
    file = tmp_path / "sdperf-tuned.toml"
    file.write_text(format_profile(Profile("embedded", 9, 2.5, mode="async", width=64, height=32)))
    found = parse_settings([f"profile={file},steps=11"])
    assert found.variant == {
        "precision": "fp32",
        "mode": "async",
        "workers": 1,
        "optimisations": (),
        "engine": "torch",
    }
    assert found.make_workload() == Workload(
        "embedded", DEFAULT_PROMPTS, 11, 2.5, width=64, height=32
    )
    file.write_text("format_version = 7")
    with pytest.raises(ConfigurationError, match="another format"):
        parse_settings([f"profile={file}"])


@pytest.mark.parametrize(
    ("texts", "got"),
    [
        (["precision=fp32", "precision=bf16"], "precision=fp32 and precision=bf16"),
        (["steps=20,seed=1,steps=30"], "steps=20 and steps=30"),
        (["steps=20,num_inference_steps=20"], "steps=20 and num_inference_steps=20"),
        (["size=64x64", "width=32"], "size=64x64 and width=32"),
        (["subject=a:b", "subject=c:d"], "subject=a:b and subject=c:d"),
    ],
)
def test_a_key_that_was_typed_twice_is_refused(texts, got):
    with pytest.raises(ConfigurationError, match=f"typed twice.*; got: {got};.*; do: leave one"):
        parse_settings(texts)


def test_what_nobody_typed_is_overridden():
    found = parse_settings(["steps=30"], base="steps=20,guidance=3")
    assert found.workload == {"num_inference_steps": 30, "guidance_scale": 3.0}


def test_a_models_preset_holds_where_nothing_is_said():
    turbo = parse_settings(["model=stabilityai/sd-turbo"]).make_workload()
    assert (turbo.num_inference_steps, turbo.guidance_scale) == (1, 0.0)
    assert turbo.prompts == DEFAULT_PROMPTS
    assert parse_settings(["steps=3"]).make_workload().num_inference_steps == 3


def test_a_sides_settings_outdo_those_of_both():
    both = parse_settings(["steps=4,precision=bf16", "subject=a:b", "device=cpu"])
    side = parse_settings(["precision=fp16"]).over(both)
    assert side.variant == {"precision": "fp16"}
    assert side.workload == {"num_inference_steps": 4}
    assert (side.subject, side.device, side.text) == ("a:b", "cpu", "precision=fp16")
    assert SideSettings().over(both).variant == {"precision": "bf16"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("precision", "cannot be read"),
        ("", "cannot be read"),
        ("colour=red", "unknown; got: colour; expected: precision, mode.*; do: type one of these"),
        ("stepz=3", "unknown; got: stepz; .*; do: type steps=3$"),
        ("Guidence=none", "unknown; got: Guidence; .*; do: type guidance=none$"),
        ("fp16", "cannot be read; got: fp16; .*; do: put one of these keys and = before it"),
        ("precision=fp8", "precision cannot be used; got: fp8; expected: fp32, fp16, bf16"),
        ("optimisations=magic", "'magic' is no such name; one of none, default"),
        ("optimisations=default", "expected: optimisations by name"),
        ("mode=both", "expected: sync, async"),
        ("workers=0", "expected: a whole number, 1 to 1024"),
        ("steps=1e3", "expected: a whole number"),
        ("steps=99999999999999999999", "expected: a whole number"),
        ("guidance=nan", "expected: a number, 0 to 1000, or none"),
        ("guidance=-1", "expected: a number, 0 to 1000, or none"),
        ("size=512", "expected: WIDTHxHEIGHT"),
        ("model=", "expected: a text in one line"),
        ("device=tpu", "expected: auto, mps, cuda, cpu"),
        ("prompts=/no/such/file", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused(text, words):
    with pytest.raises(ConfigurationError, match=words):
        parse_settings([text])


@pytest.mark.parametrize("text", ["size=60x64", "seed=999999999999999999", "height=12"])
def test_what_makes_no_workload_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_settings([text, "seed=9223372036854775807"]).make_workload()


def test_a_side_draws_from_a_picture(tmp_path):
    file = tmp_path / "picture.png"
    Image.new("RGB", (16, 16), "red").save(file)
    found = parse_settings([f"task=image-to-image,input_image={file},strength=0.5"])
    chosen = found.choose_picture()
    assert found.make_workload(chosen.picture).picture == chosen.picture
    assert (chosen.picture.task, chosen.picture.strength) == ("image-to-image", 0.5)
    assert [one.sha256 for one in chosen.files] == [chosen.picture.sha256]
    base = parse_settings(["task=inpaint,strength=0.9"])
    assert found.over(base).picture == found.picture
    assert parse_settings(["steps=3"]).over(base).choose_picture().picture.task == "inpaint"
    assert parse_settings(["steps=3"]).choose_picture().picture is None


def test_every_key_stands_in_the_help_and_on_the_page():
    page = (Path(__file__).parents[3] / "docs" / "ab.md").read_text("utf-8")
    listed = page.partition("**Settings.**")[2].partition("\n\n")[0]
    told = _EPILOG.partition("settings (")[2].partition("\n\n")[0]
    for key in list_keys():
        assert re.search(rf"\b{key}\b", told), key
        if key != "profile":
            assert f"`{key}`" in listed, key
