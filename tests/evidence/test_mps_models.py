"""The matrix of models on Macs: the page is that of the data, and its arithmetic is right."""

import copy
import json
import re

import pytest
from packaging.version import Version

from evidence.mps_models.__main__ import DATA_PATH, PAGE_PATH
from evidence.mps_models.memory import GIB, memory_need, usable_bytes
from evidence.mps_models.page import choose, format_page
from evidence.mps_models.recording import find_working_bytes
from sdperf.mps_check.calls import MpsRecording
from sdperf.mps_check.limits import load_limits
from tests.support.mps_check_making import attention, call, packed

DATA = json.loads(DATA_PATH.read_text(encoding="utf-8"))
MODELS = {model["name"]: model for model in DATA["models"]}


def test_the_page_is_made_of_the_data():
    command = "python -m evidence.mps_models"
    assert format_page(DATA) == PAGE_PATH.read_text(encoding="utf-8"), command


def test_twelve_models_and_more_are_judged_in_every_precision_by_three_versions_and_systems():
    assert len(MODELS) >= 12
    assert (len(DATA["torch"]), [each.split(".")[0] for each in DATA["macos"]]) == (
        3,
        ["14", "15", "26"],
    )
    wanted = {(p, t) for p in ("fp16", "bf16", "fp32") for t in DATA["torch"]}
    for model in DATA["models"]:
        assert {(run["precision"], run["torch"]) for run in model["runs"]} == wanted
        assert all(run["operators"] > 1000 for run in model["runs"])
        for run in model["runs"]:
            assert all(each["line"].rpartition(":")[2].isdecimal() for each in run["findings"])
            assert all(each["remedy"] and each["sources"] for each in run["findings"])


def test_hints_for_a_mac_name_limits_that_are_known():
    known = {limit.id: limit for limit in load_limits()}
    page = PAGE_PATH.read_text(encoding="utf-8")
    hints = page[page.index("Then look for your Mac") : page.index("## What is known")]
    named = set(re.findall(r"`([a-z0-9.-]+)`", hints))
    assert len(named) >= 6
    assert named <= set(known)
    assert not any(
        known[name].holds_for_torch(Version(DATA["torch"][1]))
        for name in named
        if name in ("linear-half-on-m5", "macos-27-before-2.13")
    )


def test_videos_have_their_length_beside_their_size():
    assert MODELS["Wan 2.1 1.3B"]["size"] == "832 x 480 px, 81 frames"
    assert MODELS["LTX-Video 2B"]["size"] == "704 x 512 px, 161 frames"
    assert MODELS["SDXL"]["size"] == "1024 px"


@pytest.mark.parametrize(
    ("name", "weights", "billion"),
    [
        ("Stable Diffusion 1.5", "unet", 0.86),
        ("FLUX.1 dev", "transformer", 11.9),
        ("Wan 2.1 1.3B", "transformer", 1.42),
        ("LTX-Video 2B", "transformer", 1.92),
    ],
)
def test_models_have_their_published_sizes(name, weights, billion):
    assert MODELS[name]["weights"][weights] / 1e9 == pytest.approx(billion, rel=0.01)


def test_a_model_is_given_the_newest_torch_that_does_it_no_harm():
    data = copy.deepcopy(DATA)
    model = data["models"][0]
    assert choose(data, model) == (DATA["torch"][-1], ("fp16", "bf16", "fp32"))
    for run in model["runs"]:
        if run["torch"] == DATA["torch"][-1]:
            harm = {"effect": "wrong", "certainty": "reported", "condition": ""}
            run["findings"].append(run["findings"][0] | harm)
    torch, precisions = choose(data, model)
    assert (torch, precisions) == (DATA["torch"][1], ("fp16", "bf16", "fp32"))
    for run in model["runs"]:
        run["findings"].append(run["findings"][0] | harm)
    assert choose(data, model) == (None, ())


def test_no_model_is_said_to_raise_for_tables_that_a_mac_makes_in_another_format():
    assert choose(DATA, MODELS["Lumina-Image 2.0"])[0] == DATA["torch"][-1]


def test_memory_is_weights_and_the_largest_operator():
    need = memory_need({"text": 3, "unet": 5}, "fp32", 100)
    assert (need.all_bytes, need.largest_bytes) == (132, 120)
    assert usable_bytes(32) == 32 * GIB * 2 // 3
    assert usable_bytes(64) == 48 * GIB


def test_an_operators_tensors_are_added_up_without_weights_and_with_scores_that_are_written_out():
    source, weight = packed(4, 8, dtype="float16"), packed(16, 8, dtype="float16")
    linear = call("linear", packed(4, 16, dtype="float16"), input=source, weight=weight)
    assert find_working_bytes(recording(linear), Version("2.15")) == 2 * (4 * 8 + 4 * 16)
    query = packed(1, 2, 256, 64, dtype="float16")
    attended = recording(attention(query))
    tensors, scores = 4 * 2 * 2 * 256 * 64, 4 * 2 * 256 * 256
    assert find_working_bytes(attended, Version("2.12")) == tensors + scores
    assert find_working_bytes(attended, Version("2.15")) == tensors


def recording(*calls):
    return MpsRecording(dict.fromkeys(calls, 1), "fp16", 8, 8, 1)
