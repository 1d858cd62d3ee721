"""Engines by name: what is installed, what is native, and what a user reads where one is not."""

import pytest

from sdperf.engines.catalogue import (
    ENGINES,
    EngineChoice,
    explain_absence,
    explain_skip,
    list_versions,
    parse_engines,
)
from tests.support.toy_engine import toy_choice

ONNX = {"onnx": "1.23", "onnxscript": "0.7"}
CPU_BUILD = {"onnxruntime": "1.32", **ONNX}
CUDA_BUILD = {"onnxruntime-gpu": "1.32", **ONNX}


def test_names_are_read_in_order_and_once():
    assert parse_engines("onnx, torch,onnx") == ("onnx", "torch")


def test_auto_is_every_engine_that_keeps_the_weights():
    names = parse_engines("auto")
    assert names[0] == "torch"
    assert {"onnx", "openvino"} <= set(names)
    assert "onnx-int8" not in names


@pytest.mark.parametrize("text", ["", "onnx,", "tensorrt", "auto,onnx"])
def test_other_names_are_refused_with_those_that_there_are(text):
    with pytest.raises(ValueError, match="one of auto, torch, onnx"):
        parse_engines(text)


def test_a_mistyped_engine_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"not 'openvin' \(openvino is the nearest\)"):
        parse_engines("openvin")


def test_what_is_missing_is_named_with_the_extra():
    assert explain_absence(ENGINES["onnx"], "cpu", {}.get) == (
        "the engine onnx is not installed for cpu (onnxruntime, onnx, onnxscript missing): "
        "pip install 'sdperf[onnx]'"
    )
    assert explain_absence(ENGINES["onnx"], "cpu", CPU_BUILD.get) is None
    assert explain_absence(ENGINES["torch"], "cpu", {}.get) is None


def test_cuda_needs_the_build_for_it_and_its_extra():
    assert explain_absence(ENGINES["onnx"], "cuda", CUDA_BUILD.get) is None
    for installed in (CPU_BUILD, {"onnxruntime": "1.32", "onnx": "1.23"}):
        missing = explain_absence(ENGINES["onnx"], "cuda", installed.get)
        assert "(onnxruntime-gpu" in missing
        assert missing.endswith("pip install 'sdperf[onnx-gpu]'")
    assert "onnxscript missing" in missing


def test_openvino_is_native_on_the_cpu_alone():
    found = {"openvino": "2026.4.1"}.get
    assert explain_skip(ENGINES["openvino"], "cpu", found) is None
    assert "cannot run on cuda" in explain_skip(ENGINES["openvino"], "cuda", found)
    assert "not native on mps" in explain_skip(ENGINES["openvino"], "mps", found)


def test_auto_skips_with_a_reason_and_says_how_to_force():
    choice = toy_choice(
        packages=(("toy",),),
        refusals={"cuda": "it is too small"},
        foreign={"mps": "it runs on the CPU there"},
    )
    found = {"toy": "1"}.get
    assert explain_skip(choice, "cpu", found) is None
    assert explain_skip(choice, "cuda", found) == (
        "the engine toy cannot run on cuda: it is too small"
    )
    assert explain_skip(choice, "mps", found) == (
        "the engine toy is not native on mps: it runs on the CPU there; force with --sd-engine toy"
    )
    assert "pip install 'sdperf[toy]'" in explain_skip(choice, "cpu", {}.get)


def test_the_engines_own_version_comes_first():
    assert next(iter(list_versions(ENGINES["onnx"], CUDA_BUILD.get))) == "onnxruntime-gpu"
    assert list_versions(EngineChoice("bare", "")) == {}


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_can_be_told_apart_and_installed(name):
    choice = ENGINES[name]
    assert choice.name == name
    assert choice.precisions
    assert not set(choice.refusals) & set(choice.foreign)
    assert (choice.module == "") == (name == "torch")
    assert bool(choice.extra) == (name != "torch")
