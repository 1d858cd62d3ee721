"""What may be combined, where it works, and what its images are held to."""

import pytest

from sdperf.errors import ConfigurationError
from sdperf.pipeline.families import _FAMILIES
from sdperf.pipeline.optimisations.catalogue import (
    ALL_DEVICES,
    DIFFUSERS_CACHES,
    OPTIMISATIONS,
    QUANTISATIONS,
    check_supported,
    choose_ssim_floor,
    count_images_per_call,
    default_for,
    find_cache_interval,
    find_conflict,
    is_recorded,
    parse_optimisations,
    refuse_unsuited,
)
from sdperf.pipeline.optimisations.entries import UNET_CLASSES, UNET_FAMILIES


def test_a_set_has_one_spelling_whatever_its_order():
    assert parse_optimisations("loop_graph+channels_last") == ("channels_last", "loop_graph")
    assert parse_optimisations("channels_last + loop_graph") == ("channels_last", "loop_graph")
    assert parse_optimisations("none") == ()
    assert parse_optimisations("default") == ("default",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "channels_first",
            "channels_last is the nearest to 'channels_first'; one of none, default, ch",
        ),
        ("", "the name is empty; one of none, default"),
        ("chanels_last", "channels_last is the nearest to 'chanels_last'; one of"),
        ("magic", "'magic' is no such name; one of none, default"),
        ("compile+compile", "each name once"),
        ("none+compile", "none stands for the plain pipeline, alone"),
        ("compile+compile_blocks", "compile_blocks or compile, not both|compile or compile_blocks"),
        ("batch2+batch4", "not both"),
        ("device_loop+loop_graph", "not both"),
        ("sdpa_flash+sdpa_math", "not both"),
        ("step_cache3", "step_cache3 only with device_loop or loop_graph"),
        ("int8_weights+float8", "int8_weights or float8, not both"),
        ("int8_dynamic+loop_graph", "int8_dynamic is recorded only with compile or compile_blocks"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_optimisations(text)


@pytest.mark.parametrize("name", [*DIFFUSERS_CACHES, "real_rotary", "fused_gelu"])
def test_what_a_unet_cannot_have_is_known_by_the_name_of_its_class(name):
    with pytest.raises(ConfigurationError, match=f"{name} cannot .* got: a UNet2DConditionModel"):
        refuse_unsuited([("stored_png",), ("default",), (name,)], "UNet2DConditionModel")
    refuse_unsuited([(name,)], None)
    kinds = OPTIMISATIONS[name].denoisers or ("FluxTransformer2DModel",)
    refuse_unsuited([(name,)], kinds[0])


def test_a_refusal_says_why_where_and_what_to_do():
    with pytest.raises(ConfigurationError) as caught:
        check_supported(("loop_graph",), "cpu", "sd", "StableDiffusionPipeline")
    assert "loop_graph cannot be used on cpu: it is a feature of CUDA devices" in str(caught.value)
    assert "one of cuda" in str(caught.value)
    assert "leave loop_graph out" in str(caught.value)
    with pytest.raises(ConfigurationError, match="pytorch issue 180984"):
        check_supported(("channels_last",), "mps", "sd", "StableDiffusionPipeline")
    with pytest.raises(ConfigurationError, match="FluxPipeline"):
        check_supported(("device_loop",), "cpu", "flux", "FluxPipeline")
    check_supported(("channels_last", "loop_graph"), "cuda", "sdxl", "StableDiffusionXLPipeline")
    check_supported(("channels_last",), "cpu", "whole", "AnyPipeline")


def test_what_a_gpu_has_no_instructions_for_is_refused():
    for name, capability in (("float8", (8, 0)), ("int4_weights", (7, 5))):
        with pytest.raises(
            ConfigurationError, match=f"{name} cannot be used on this GPU"
        ) as caught:
            check_supported((name,), "cuda", "sd", "StableDiffusionPipeline", capability)
        assert f"compute capability {capability[0]}.{capability[1]}" in str(caught.value)
    check_supported(("float8",), "cuda", "sd", "StableDiffusionPipeline", (9, 0))
    with pytest.raises(ConfigurationError, match="float8 cannot be used on cpu: torchao"):
        check_supported(("float8",), "cpu", "sd", "StableDiffusionPipeline")
    with pytest.raises(ConfigurationError, match="no int4 kernel there"):
        check_supported(("int4_weights",), "mps", "sd", "StableDiffusionPipeline")


def test_quantised_weights_combine_with_recording_and_compiling():
    recorded = ("cuda_graphs", "loop_graph")
    for name in QUANTISATIONS:
        assert find_conflict((name, "compile", *recorded)) is None
        assert find_conflict((name, "compile_blocks", *recorded)) is None
        assert choose_ssim_floor((name,)) == 0.90
    assert find_conflict(("int8_weights", *recorded)) is None


@pytest.mark.parametrize("kind", ALL_DEVICES)
@pytest.mark.parametrize(
    ("family", "pipeline_class"),
    [
        ("sd", "StableDiffusionPipeline"),
        ("sdxl", "StableDiffusionXLPipeline"),
        ("sd3", "StableDiffusion3Pipeline"),
        ("flux", "FluxPipeline"),
        ("whole", "Flux2KleinPipeline"),
        ("whole", "StableDiffusionImg2ImgPipeline"),
    ],
)
def test_defaults_are_exact_quick_to_start_and_go_together(kind, family, pipeline_class):
    names = default_for(kind, pipeline_class)
    assert find_conflict(names) is None
    check_supported(names, kind, family, pipeline_class)
    assert all(OPTIMISATIONS[name].sort == "exact" for name in names)
    assert not any(OPTIMISATIONS[name].first_call for name in names)


def test_nothing_is_on_by_default_where_nobody_measured():
    assert default_for("mps", "StableDiffusionPipeline") == ()
    assert default_for("mps", "Flux2KleinPipeline") == ()
    assert default_for("cpu", "Flux2KleinPipeline") == ()


def test_the_classes_of_the_default_with_a_loop_are_those_of_its_families():
    families = {name: kind.family for name, kind in _FAMILIES.items()}
    assert {name for name, family in families.items() if family in UNET_FAMILIES} == {*UNET_CLASSES}


def test_what_names_say_of_images_and_calls():
    assert choose_ssim_floor(("channels_last",)) == 0.98
    assert choose_ssim_floor(("device_loop", "step_cache3")) == 0.90
    assert find_cache_interval(("device_loop", "step_cache3")) == 3
    assert find_cache_interval(("device_loop",)) is None
    assert count_images_per_call(("channels_last", "batch8")) == 8
    assert count_images_per_call(()) == 1
    assert is_recorded(("loop_graph",))
    assert is_recorded(("cuda_graphs",))
    assert not is_recorded(("compile",))
