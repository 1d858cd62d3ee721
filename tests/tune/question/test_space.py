import dataclasses
import random

import pytest

from sdperf.ab.sides.settings import parse_settings
from sdperf.device import DeviceInfo
from sdperf.errors import ConfigurationError, RecordError
from sdperf.pipeline.optimisations.catalogue import (
    DIFFUSERS_CACHES,
    OPTIMISATIONS,
    find_c_library,
    find_conflict,
    list_of_torch,
)
from sdperf.record.json import format_record, parse_record
from sdperf.record.workload import Variant, Workload
from sdperf.run.memory import Room
from sdperf.tune.question.making_space import make_space
from sdperf.tune.question.setting import TrialSetting, make_setting
from sdperf.tune.question.space import Space
from sdperf.tune.study.sampling import find_parameters, find_point, make_distribution
from tests.support.tune_fakes import ABILITIES, DEFAULT, WORKLOAD

CUDA = dataclasses.replace(
    ABILITIES, device=DeviceInfo("cuda", "H100", ("fp32", "fp16", "bf16"), 132, 80 * 2**30)
)


HOSTED = dataclasses.replace(ABILITIES, engines=("torch", "onnx", "openvino"))
"""A CPU on which two engines are installed beside torch."""


def by_name(space):
    return {one.name: one.choices for one in space.dimensions}


def test_a_cpu_searches_fp32_and_what_runs_there():
    found = by_name(make_space(WORKLOAD, DEFAULT, ABILITIES))
    assert found["precision"] == ("fp32",)
    assert (found["steps"][0], found["steps"][-1]) == (4, 20)
    assert {1.0, 3.0} <= set(found["guidance"])
    assert found["batch"] == (1, 2)
    assert found["workers"] == (1, 2)
    assert found["mode"] == ("sync", "async")
    assert found["scheduler"] == ("auto", "DDIMScheduler")
    assert found["channels_last"] == ("none", "channels_last")
    assert "device_loop+step_cache2" in found["loop"]
    assert not {"cuda_graphs", "cudnn_benchmark", "embed_cache", "compile"} & set(found)


def test_cuda_searches_its_precisions_and_switches():
    found = by_name(make_space(WORKLOAD, DEFAULT, CUDA))
    assert found["precision"] == ("fp32", "fp16", "bf16")
    assert "cuda_graphs" in found
    assert {"sdpa_flash", "sdpa_cudnn"} <= set(found["attention"])
    assert {"loop_graph", "loop_graph+step_cache3", "device_loop"} <= set(found["loop"])
    assert "device_loop+loop_graph" not in found["loop"]


def test_what_the_memory_does_not_hold_is_not_searched():
    """Five billion weights: 18.6 GiB in fp32, and half of that in 16 bits."""
    small = dataclasses.replace(CUDA, weights=5 * 10**9, room=Room(20 * 2**30, 0.85))
    found = by_name(make_space(WORKLOAD, dataclasses.replace(DEFAULT, precision="fp16"), small))
    assert set(found["precision"]) == {"fp16", "bf16"}
    assert found["workers"] == (1,)
    larger = dataclasses.replace(small, room=Room(24 * 2**30, 0.85))
    assert by_name(make_space(WORKLOAD, DEFAULT, larger))["workers"] == (1, 2)


def test_a_pipeline_that_runs_whole_has_no_batches():
    whole = dataclasses.replace(ABILITIES, family="whole")
    found = by_name(make_space(WORKLOAD, DEFAULT, whole))
    assert found["batch"] == (1,)
    assert "loop" not in found


def test_a_model_without_guidance_stays_without():
    turbo = dataclasses.replace(WORKLOAD, guidance_scale=0.0, num_inference_steps=1)
    found = by_name(make_space(turbo, TrialSetting(1, 0.0), ABILITIES))
    assert (found["guidance"], found["steps"]) == ((0.0,), (1,))


def test_a_cpu_searches_the_engines_that_are_installed_and_a_gpu_those_that_are_named():
    assert by_name(make_space(WORKLOAD, DEFAULT, HOSTED))["engine"] == HOSTED.engines
    assert "engine" not in by_name(make_space(WORKLOAD, DEFAULT, ABILITIES)), "torch alone"
    gpu = dataclasses.replace(CUDA, engines=("torch", "onnx"))
    assert "engine" not in by_name(make_space(WORKLOAD, DEFAULT, gpu))
    for asked in (["auto"], ["onnx"], ["onnx", "torch"]):
        found = by_name(make_space(WORKLOAD, DEFAULT, gpu, {"engine": asked}))
        assert found["engine"] == ("torch", "onnx")
    alone = make_space(
        WORKLOAD, dataclasses.replace(DEFAULT, engine="onnx"), HOSTED, {"engine": ["onnx"]}
    )
    assert alone.engines == ("onnx",)
    assert "engine" not in by_name(make_space(WORKLOAD, DEFAULT, HOSTED, {"engine": ["torch"]}))


def test_an_engine_is_never_proposed_with_what_it_cannot_run():
    asked = {"precision": ["fp32", "bf16"], "optimisations": ["channels_last", "stored_png"]}
    space = make_space(WORKLOAD, DEFAULT, HOSTED, asked)
    point = space.find_point(DEFAULT) | {
        "engine": "onnx", "channels_last": "channels_last", "stored_png": "stored_png", "batch": 2,
    }  # fmt: skip
    setting = space.make_setting(point)
    assert setting.variant.optimisations == ("stored_png", "batch2"), "no network of torch's"
    assert setting.engine == "onnx"
    assert space.make_setting(space.find_point(setting)) == setting
    in_bf16 = space.make_setting(point | {"precision": "bf16"})
    assert (in_bf16.engine, in_bf16.precision) == ("torch", "bf16"), "onnx has no bf16"
    assert "channels_last" in in_bf16.optimisations
    able = space.make_setting(point | {"precision": "bf16", "engine": "openvino"})
    assert (able.engine, able.precision) == ("openvino", "bf16")
    torchless = dataclasses.replace(DEFAULT, engine="openvino", precision="bf16")
    two = make_space(WORKLOAD, torchless, HOSTED, {"engine": ["onnx"], "precision": ["fp32"]})
    switched = two.make_setting(two.find_point(torchless) | {"engine": "onnx"})
    assert switched.engine == "openvino", "the other engine of the search has bf16"


def test_beside_engines_alone_only_their_optimisations_are_searched():
    hosted = dataclasses.replace(DEFAULT, engine="openvino")
    found = by_name(make_space(WORKLOAD, hosted, HOSTED, {"engine": ["onnx"]}))
    assert "channels_last" not in found
    assert "loop" not in found
    assert "stored_png" in found["png"]
    with pytest.raises(ConfigurationError, match="which onnx and openvino replace"):
        make_space(
            WORKLOAD, hosted, HOSTED, {"engine": ["onnx"], "optimisations": ["channels_last"]}
        )


@pytest.mark.parametrize(
    ("asked", "abilities", "complaint"),
    [
        ({"engine": ["tensorrt"]}, {}, "a choice of engine cannot be searched; got: tensorrt"),
        ({"engine": ["external:x=y"]}, {}, "a choice of engine cannot be searched"),
        ({"engine": ["coreml"]}, {}, "the engine coreml cannot be searched here; got: sdperf runs"),
        ({"engine": ["onnx"]}, {"bound_to_torch": "it takes no code"}, "got: it takes no code"),
        (
            {"engine": ["coreml-ane"]},
            {"device": DeviceInfo("mps", "M4", ("fp32",), 10, None)},
            "coreml-ane cannot run any precision of the search; got: fp32; expected: fp16",
        ),
    ],
)
def test_an_engine_that_cannot_run_here_is_refused(asked, abilities, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        make_space(WORKLOAD, DEFAULT, dataclasses.replace(HOSTED, **abilities), asked)


def test_a_precision_that_no_engine_of_the_search_runs_is_refused():
    hosted = dataclasses.replace(DEFAULT, engine="onnx")
    with pytest.raises(ConfigurationError, match="no engine of the search can run bf16; got: onnx"):
        make_space(WORKLOAD, hosted, HOSTED, {"engine": ["onnx"], "precision": ["bf16"]})


@pytest.mark.parametrize("abilities", [ABILITIES, CUDA, HOSTED])
def test_every_point_is_a_setting_that_can_be_run(abilities):
    space = make_space(WORKLOAD, DEFAULT, abilities)
    chance = random.Random(1)
    for _ in range(300):
        point = space.draw(chance)
        setting = space.make_setting(point)
        variant = setting.variant
        assert find_conflict(variant.optimisations) is None
        assert setting.batch * setting.workers <= 2 * len(WORKLOAD.prompts)
        back = parse_settings([setting.describe()])
        assert back.make_workload() == dataclasses.replace(
            setting.apply_to(WORKLOAD), prompts=back.make_workload().prompts
        )
        assert Variant(**back.variant) == variant
        assert space.make_setting(space.find_point(setting)) == setting
        assert setting.engine == "torch" or not list_of_torch(variant.optimisations)


def test_a_batch_is_never_more_than_a_workers_share():
    space = make_space(WORKLOAD, DEFAULT, ABILITIES)
    point = space.find_point(DEFAULT) | {"batch": 2, "workers": 2}
    assert space.make_setting(point).batch == 1
    assert space.make_setting(point | {"workers": 1}).batch == 2


def test_a_loop_on_the_device_is_left_out_where_the_scheduler_cannot_have_one():
    abilities = dataclasses.replace(
        CUDA,
        schedulers=(
            "PNDMScheduler",
            "DDIMScheduler",
            "HeunDiscreteScheduler",
            "UniPCMultistepScheduler",
        ),
    )
    space = make_space(WORKLOAD, DEFAULT, abilities)
    point = space.find_point(DEFAULT) | {"loop": "loop_graph+step_cache3"}
    assert space.make_setting(point).optimisations == ("loop_graph", "step_cache3")
    able = space.make_setting(point | {"scheduler": "DDIMScheduler"})
    assert able.optimisations == ("loop_graph", "step_cache3")
    unable = space.make_setting(point | {"scheduler": "HeunDiscreteScheduler"})
    assert unable.optimisations == ()
    solving = point | {"scheduler": "UniPCMultistepScheduler"}  # not while CUDA records
    assert space.make_setting(solving).optimisations == ()
    looping = space.make_setting(solving | {"loop": "device_loop+step_cache3"})
    assert looping.optimisations == ("device_loop", "step_cache3")


def test_no_point_conflicts_where_every_optimisation_is_searched():
    """Also across dimensions: a step cache that decides on the host, where steps are recorded."""
    named = [name for name, one in OPTIMISATIONS.items() if one.images_per_call == 1]
    able = [name for name in named if not {"cuda"} & OPTIMISATIONS[name].refusals.keys()]
    able = [name for name in able if name != "resident_vae"]  # another family's
    schedulers = ("PNDMScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler")
    abilities = dataclasses.replace(CUDA, schedulers=schedulers, engines=("torch", "onnx"))
    asked = {"optimisations": able, "engine": ["auto"]}
    space = make_space(WORKLOAD, DEFAULT, abilities, asked)
    chance, seen = random.Random(1), set()
    for _ in range(2000):
        setting = space.make_setting(space.draw(chance))
        assert find_conflict(setting.variant.optimisations) is None
        assert space.make_setting(space.find_point(setting)) == setting
        seen.update(setting.optimisations)
    assert seen == set(able), "each of them is on somewhere"


def test_a_loop_that_is_searched_alone_knows_its_schedulers_too():
    abilities = dataclasses.replace(
        ABILITIES, schedulers=("PNDMScheduler", "HeunDiscreteScheduler")
    )
    space = make_space(WORKLOAD, DEFAULT, abilities, {"optimisations": ["device_loop"]})
    point = space.find_point(DEFAULT) | {"device_loop": "device_loop"}
    assert space.make_setting(point).optimisations == ("device_loop",)
    other = space.make_setting(point | {"scheduler": "HeunDiscreteScheduler"})
    assert other.optimisations == ()


def test_a_space_survives_its_storage_and_keeps_its_distributions():
    space = make_space(WORKLOAD, DEFAULT, CUDA)
    stored = parse_record(Space, format_record(space))
    ours, theirs = ([make_distribution(one) for one in each.dimensions] for each in (space, stored))
    assert ours == theirs
    for point in (space.find_point(DEFAULT), space.draw(random.Random(3))):
        assert find_point(stored, find_parameters(space, point)) == point
    uneven = make_space(WORKLOAD, DEFAULT, ABILITIES, {"steps": ["4", "5", "9"]})
    steps = make_distribution(uneven.dimensions[0])
    assert (steps.low, steps.high) == (0, 3), "by position: 4, 5, 9 and the default's 20"
    point = uneven.find_point(DEFAULT)
    assert find_point(uneven, find_parameters(uneven, point)) == point


def test_what_is_asked_replaces_what_is_automatic_and_the_default_stays_inside():
    found = by_name(
        make_space(
            WORKLOAD,
            DEFAULT,
            CUDA,
            {
                "steps": ["8", "10"],
                "precision": ["fp16"],
                "optimisations": ["cuda_graphs", "loop_graph"],
            },
        )
    )
    assert found["steps"] == (8, 10, 20)
    assert found["precision"] == ("fp16", "fp32")
    assert found["cuda_graphs"] == ("none", "cuda_graphs")
    assert found["loop_graph"] == ("none", "loop_graph")
    assert "channels_last" not in found


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"colour": ["red"]}, "cannot be searched"),
        ({"steps": ["0"]}, "cannot be searched"),
        ({"batch": ["3"]}, "cannot be searched"),
        ({"batch": ["16"]}, "batch cannot be searched"),
        ({"workers": ["4"]}, "workers cannot be searched"),
        ({"guidance": ["nan"]}, "a choice of guidance cannot be searched"),
        ({"precision": ["fp8"]}, "cannot be searched"),
        ({"optimisations": ["cuda_graphs"]}, "cuda_graphs cannot be searched here"),
        ({"optimisations": ["magic"]}, "cannot be searched"),
        ({"optimisations": ["batch2"]}, "batches are searched as batch"),
        ({"optimisations": ["default"]}, "by name; the default is another one on each device"),
        ({"optimisations": ["compile+magic"]}, "an optimisation cannot be searched"),
        ({"optimisations": ["step_cache2"]}, "step_cache2 cannot be searched alone: it is tried"),
        (
            {"optimisations": ["kept_code", "none"]},
            "one of them too: compile_blocks|kept_code",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(asked, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        make_space(WORKLOAD, DEFAULT, ABILITIES, asked)


def test_what_the_network_cannot_have_is_not_searched():
    device = DeviceInfo("cuda", "H100", ("fp32", "bf16"), 132, 80 * 2**30)
    classes = ("UNet2DConditionModel", "QwenImageTransformer2DModel", "FluxTransformer2DModel")
    searched = []
    for denoiser in classes:
        abilities = dataclasses.replace(ABILITIES, device=device, denoiser=denoiser)
        names = " ".join(by_name(make_space(WORKLOAD, DEFAULT, abilities)))
        searched.append({name for name in ("real_rotary", "fused_gelu") if name in names})
    assert searched == [set(), {"real_rotary", "fused_gelu"}, {"fused_gelu"}]
    unet = dataclasses.replace(ABILITIES, denoiser=classes[0])
    for name in DIFFUSERS_CACHES:
        with pytest.raises(ConfigurationError, match=f"{name} cannot be .* a UNet2DConditionModel"):
            make_space(WORKLOAD, DEFAULT, unet, {"optimisations": [name]})


@pytest.mark.parametrize("name", OPTIMISATIONS)
def test_every_optimisation_is_searched_where_it_can_run(name):
    """By its name, with one of those that it needs; a batch by the key ``batch``."""
    one = OPTIMISATIONS[name]
    if one.library not in (None, find_c_library()):
        pytest.skip(f"it is a feature of {one.library}")
    kind = next(kind for kind in ("cuda", "cpu", "mps") if kind not in one.refusals)
    family = "sd" if one.families is None or "sd" in one.families else one.families[0]
    device = DeviceInfo(kind, "", ("fp32",), None, None)
    abilities = dataclasses.replace(ABILITIES, device=device, family=family)
    asked = {"optimisations": ["none", "+".join([*one.needs[:1], name])]}
    if one.images_per_call > 1:
        workload = dataclasses.replace(WORKLOAD, prompts=("red apple",) * one.images_per_call)
        asked = {"batch": [str(one.images_per_call)]}
    else:
        workload = WORKLOAD
    space = make_space(workload, DEFAULT, abilities, asked)
    points = (
        [*space.find_point(DEFAULT).items(), (dim.name, choice)]
        for dim in space.dimensions
        for choice in dim.choices
    )
    variants = [space.make_setting(dict(point)).variant for point in points]
    assert any(name in variant.optimisations for variant in variants)


def test_a_default_says_nothing_that_a_setting_cannot_hold():
    """What was typed and left out would be measured as if it had not been typed."""
    for typed in ("threads=1", "device=cpu", "subject=mine:make", "strength=0.5", "seed=4"):
        with pytest.raises(
            ConfigurationError, match=f"cannot say this; got: {typed.partition('=')[0]}"
        ):
            make_setting(parse_settings([typed]))


def test_a_default_has_an_engine_and_only_what_it_can_run():
    found = make_setting(parse_settings(["engine=openvino,optimisations=batch2"]))
    assert (found.engine, found.batch) == ("openvino", 2)
    assert found.variant.engine == "openvino"
    for typed, complaint in (
        ("engine=onnx,precision=bf16", "the engine onnx cannot run bf16"),
        ("engine=onnx,optimisations=compile", "compile changes torch's networks"),
        ("engine=external:mine=draw", "a search cannot start from a program"),
    ):
        with pytest.raises(ConfigurationError, match=complaint):
            make_setting(parse_settings([typed]))


def test_a_setting_names_its_engine_where_it_differs():
    hosted = dataclasses.replace(DEFAULT, engine="openvino")
    assert hosted.describe(DEFAULT) == "engine=openvino"
    assert DEFAULT.describe(hosted) == "engine=torch"
    assert make_setting(parse_settings([hosted.describe()])) == hosted


def test_an_engine_of_a_later_sdperf_is_refused_by_name():
    space = format_record(make_space(WORKLOAD, DEFAULT, HOSTED))
    names = {one["name"]: one for one in space["names"]}
    names["engine"]["choices"] = ["torch", "tensorrt"]
    with pytest.raises(RecordError, match="this sdperf cannot search; got: tensorrt"):
        parse_record(Space, space)


def empty_engines(names):
    return [one | {"choices": []} if one["name"] == "engine" else one for one in names]


def repeat_engines(names):
    return [*names, {"name": "engine", "choices": ["torch"]}]


@pytest.mark.parametrize("damage", [empty_engines, repeat_engines])
def test_a_space_that_no_search_has_is_refused_in_one_message(damage):
    space = format_record(make_space(WORKLOAD, DEFAULT, HOSTED))
    space["names"] = damage(space["names"])
    with pytest.raises(RecordError, match="without a choice, or one twice; got: engine"):
        parse_record(Space, space)


def test_a_recorded_setting_with_a_precision_that_its_engine_lacks_is_refused():
    setting = format_record(dataclasses.replace(DEFAULT, engine="onnx"))
    with pytest.raises(RecordError, match="the engine onnx cannot run bf16"):
        parse_record(type(DEFAULT), setting | {"precision": "bf16"})


def test_points_outside_are_refused():
    space = make_space(WORKLOAD, DEFAULT, ABILITIES)
    with pytest.raises(ConfigurationError, match="steps is outside"):
        space.make_setting(space.find_point(DEFAULT) | {"steps": 99})
    with pytest.raises(ConfigurationError, match="outside"):
        space.find_point(dataclasses.replace(DEFAULT, optimisations=("cuda_graphs",)))
    with pytest.raises(ConfigurationError, match="engine is outside of the search; got: onnx"):
        space.find_point(dataclasses.replace(DEFAULT, engine="onnx"))


def test_a_default_is_typed_like_a_side_of_a_comparison():
    found = make_setting(
        parse_settings(["precision=fp16,steps=30,optimisations=batch4+channels_last"])
    )
    assert found == TrialSetting(
        30, 3.0, batch=4, precision="fp16", optimisations=("channels_last",)
    )
    with pytest.raises(ConfigurationError, match="cannot say this"):
        make_setting(parse_settings(["seed=4"]))


def test_a_profile_holds_the_setting():
    workload = Workload("embedded", ("a",), 20, 3.0, width=64, height=32)
    setting = TrialSetting(
        9, 2.0, batch=2, optimisations=("device_loop",), scheduler="DDIMScheduler"
    )
    hosted = TrialSetting(9, 2.0, engine="openvino")
    assert hosted.make_profile(workload, {}).engine == "openvino"
    profile = setting.make_profile(workload, {"study": "x"})
    assert profile.optimisations == ("device_loop", "batch2")
    assert (profile.num_inference_steps, profile.scheduler) == (9, "DDIMScheduler")
    assert (profile.width, profile.height) == (64, 32)
