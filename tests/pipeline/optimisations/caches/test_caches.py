"""diffusers' caches: calls are really left out, pictures begin alike, all else is refused."""

import dataclasses
import functools
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from packaging.version import Version

from sdperf.errors import ConfigurationError
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.optimisations.caches.installed import find_cache
from sdperf.pipeline.optimisations.caches.kinds import CACHES
from sdperf.pipeline.optimisations.caches.magnitudes import read_ratios
from sdperf.pipeline.optimisations.catalogue import (
    APPROXIMATE_SSIM,
    DIFFUSERS_CACHES,
    OPTIMISATIONS,
    choose_ssim_floor,
    find_conflict,
)
from sdperf.pipeline.optimisations.networks import optimise_networks
from sdperf.pipeline.optimisations.optimised_stages import optimise_stages
from sdperf.run.worker.without_effect import list_without_effect
from tests.pipeline.test_stages import workload
from tests.support import tiny_pipelines

STEPS = 10
DEPTH = 4
GUIDANCE = {"z-image": 0.0, "flux2-klein": 1.0, "qwen-image": 3.0, "sd3": 3.0, "flux": 1.0}
LAYERS = ("num_layers", "num_single_layers", "n_layers")

CACHED = (
    ("mag_cache", "z-image"),
    ("mag_cache", "qwen-image"),
    ("mag_cache", "flux2-klein"),
    ("mag_cache", "sd3"),
    ("pyramid_attention", "z-image"),
    ("pyramid_attention", "sd3"),
    ("faster_cache", "sd3"),
    ("taylorseer_cache", "qwen-image"),
)
HOOKED = (*CACHED, ("first_block_cache", "flux"))
"""Random weights change more from step to step than the first block's threshold lets pass."""

COMPILED = (("mag_cache", "z-image"), ("pyramid_attention", "sd3"))
COMPILED_TOO = tuple(one for one in HOOKED if one not in COMPILED)


def load(tiny_folder, name):
    """Load a tiny pipeline with more blocks than one, of which some can be left out."""
    if name == "flux2-klein" and Version(diffusers.__version__) < Version("0.42"):
        pytest.skip("MagCache of an older diffusers fails on FLUX.2")
    return tiny_pipelines.duplicate(load_deeper(tiny_folder(name)))


@functools.cache
def load_deeper(folder):
    pipeline = tiny_pipelines.load(folder)
    network = pipeline.transformer
    deeper = {key: DEPTH for key in LAYERS if key in network.config}
    with torch.random.fork_rng(), known_warnings_ignored():
        torch.manual_seed(0)
        pipeline.transformer = type(network).from_config({**network.config, **deeper}).eval()
    weights = pipeline.transformer.state_dict()
    for key, weight in network.state_dict().items():  # Z-Image leaves some as memory had them
        if weights[key].shape == weight.shape:
            weights[key].copy_(weight)
    return pipeline


def bind(pipeline, names=(), name="z-image", **asked):
    settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE[name], "width": 32}
    stages = stages_for(pipeline, workload(**{**settings, **asked}))
    return optimise_stages(stages, names)


def draw(stages, prompt="red apple", on_step=None):
    return stages.run_whole([prompt], stages.draw_noise([stages.workload.image(0)]), on_step)


def count_attention(pipeline):
    """Count what the last repeated block's attention computes."""
    counted = []
    attention = [part for part in pipeline.transformer.modules() if hasattr(part, "to_q")][-1]
    if not isinstance(getattr(attention, "to_q", None), torch.nn.Module):
        attention.to_q = attention.to_qkv_mlp_proj
    attention.to_q.register_forward_hook(lambda *_: counted.append(1))
    return counted


@pytest.fixture(scope="module")
def plain(tiny_folder):
    return functools.cache(lambda name: draw(bind(load(tiny_folder, name), name=name)))


@pytest.mark.parametrize(("cache", "name"), CACHED)
def test_calls_are_left_out_and_each_picture_begins_anew(tiny_folder, plain, cache, name):
    pipeline = load(tiny_folder, name)
    computed = count_attention(pipeline)
    optimise_networks(pipeline, (cache,))
    stages = bind(pipeline, (cache,), name)
    first, installed = draw(stages), find_cache(pipeline)
    computed.clear()
    before = installed.left_out
    again = draw(stages)
    a_step = 2 if name == "qwen-image" else 1
    assert 0 < len(computed) < a_step * STEPS
    assert np.array_equal(again, first)
    assert installed.left_out - before > 0
    assert not np.array_equal(first, plain(name))
    assert np.abs(first - plain(name)).mean() < 0.06


@pytest.mark.parametrize(("name", "calls"), [("z-image", 1), ("qwen-image", 2), ("sd3", 1)])
def test_ratios_come_from_one_more_picture_which_all_workers_draw_alike(tiny_folder, name, calls):
    called, ratios = [], []
    for prompt in ("red apple", "a blue car"):
        pipeline = load(tiny_folder, name)
        optimise_networks(pipeline, ("mag_cache",))
        stages = bind(pipeline, ("mag_cache",), name)
        pipeline.transformer.register_forward_hook(lambda *_: called.append(1))
        draw(stages, prompt)
        assert len(called) == 2 * calls * STEPS
        called.clear()
        draw(stages, prompt)
        assert len(called) == calls * STEPS
        called.clear()
        ratios.append(find_cache(pipeline).configuration.mag_ratios)
    assert ratios[0] == ratios[1]
    assert ratios[0][0] == 1.0
    assert len(set(ratios[0])) > STEPS / 2


def test_another_workload_takes_ratios_of_its_own_and_the_first_one_keeps_its(tiny_folder, capsys):
    pipeline = load(tiny_folder, "z-image")
    optimise_networks(pipeline, ("mag_cache",))
    for steps in (STEPS, STEPS - 2):
        draw(bind(pipeline, ("mag_cache",), num_inference_steps=steps))
        assert len(find_cache(pipeline).configuration.mag_ratios) == steps
    called = []
    pipeline.transformer.register_forward_hook(lambda *_: called.append(1))
    draw(bind(pipeline, ("mag_cache",)))
    assert len(called) == len(find_cache(pipeline).configuration.mag_ratios) == STEPS
    assert capsys.readouterr().out == ""


def test_ratios_are_taken_again_after_a_picture_for_them_was_broken_off(tiny_folder):
    pipeline = load(tiny_folder, "z-image")
    optimise_networks(pipeline, ("mag_cache",))
    stages = bind(pipeline, ("mag_cache",))
    plain_step = pipeline.scheduler.step
    calls = []

    def step(*args, **keywords):
        calls.append(1)
        if len(calls) == STEPS // 2:
            raise KeyboardInterrupt
        return plain_step(*args, **keywords)

    pipeline.scheduler.step = step
    with pytest.raises(KeyboardInterrupt):
        draw(stages)
    assert find_cache(pipeline).ratios.is_missing
    first = draw(stages)
    assert len(calls) == STEPS // 2 + 2 * STEPS
    assert find_cache(pipeline).left_out > 0
    assert np.array_equal(draw(stages), first)


def test_a_stage_alone_takes_the_ratios_too(tiny_folder):
    pipeline = load(tiny_folder, "sd3")
    optimise_networks(pipeline, ("mag_cache",))
    stages = bind(pipeline, ("mag_cache",), "sd3")
    noise = stages.draw_noise([stages.workload.image(0)])
    embeds = stages.encode_prompt(["red apple"])
    latents = stages.denoise(embeds, noise)
    assert find_cache(pipeline).left_out > 0
    assert np.array_equal(stages.decode_latents(latents), draw(stages))


def test_the_sides_of_guidance_leave_out_the_same_steps_and_keep_their_own_results(tiny_folder):
    pipeline = load(tiny_folder, "qwen-image")
    optimise_networks(pipeline, ("mag_cache",))
    stages = bind(pipeline, ("mag_cache",), "qwen-image")
    draw(stages)
    results = []
    pipeline.transformer.register_forward_hook(lambda *answer: results.append(answer[2][0]))
    draw(stages)
    assert all(not torch.equal(a, b) for a, b in zip(results[::2], results[1::2], strict=True))
    assert find_cache(pipeline).left_out % 2 == 0


@pytest.mark.parametrize(("cache", "name"), HOOKED)
def test_a_picture_that_was_broken_off_leaves_nothing_behind(tiny_folder, cache, name):
    pipeline = load(tiny_folder, name)
    optimise_networks(pipeline, (cache,))
    stages = bind(pipeline, (cache,), name)
    expected = draw(stages)

    def break_off(step, _latents):
        if step == STEPS // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(stages, on_step=break_off)
    assert np.array_equal(draw(stages), expected)


@pytest.mark.parametrize(
    ("cache", "name"),
    [*COMPILED, *(pytest.param(*one, marks=pytest.mark.long) for one in COMPILED_TOO)],
)
def test_what_is_compiled_is_inside_of_the_hooks(tiny_folder, monkeypatch, cache, name):
    plain_compile, plain_module_compile = torch.compile, torch.nn.Module.compile
    ran = []

    def backend(graph, _inputs):
        def run(*inputs):
            ran.append(1)
            return graph.forward(*inputs)

        return run

    monkeypatch.setattr(
        torch, "compile", lambda function, **_: plain_compile(function, backend=backend)
    )
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **_: plain_module_compile(self, backend=backend)
    )
    torch._dynamo.reset()
    pictures = []
    for names in ((cache,), (cache, "compile_blocks")):
        pipeline = load(tiny_folder, name)
        optimise_networks(pipeline, names)
        stages = bind(pipeline, names, name)
        draw(stages)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        ran.clear()
        pictures.append(draw(stages))
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    torch._dynamo.reset()
    np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-4)
    installed = find_cache(pipeline)
    assert len(ran) >= len(installed.blocks) * STEPS - installed.left_out


def test_a_cache_that_had_nothing_to_leave_out_is_said(tiny_folder):
    pipeline = load(tiny_folder, "z-image")
    optimise_networks(pipeline, ("pyramid_attention",))
    few = workload(num_inference_steps=1, guidance_scale=0.0)
    stages = optimise_stages(stages_for(pipeline, few), ("pyramid_attention",))
    draw(stages)
    said = list_without_effect(pipeline, few, ["red apple"])
    assert said == ("pyramid_attention, which computed every block in 1 step",)
    many = bind(pipeline, ("pyramid_attention",))
    draw(many)
    assert list_without_effect(pipeline, many.workload, ["red apple"]) == ()
    draw(optimise_stages(stages_for(pipeline, few), ("pyramid_attention",)))
    assert list_without_effect(pipeline, few, ["red apple"]) == said


def test_a_scheduler_of_a_workload_that_cannot_be_followed_is_refused(tiny_folder):
    pipeline = load(tiny_folder, "z-image")
    optimise_networks(pipeline, ("mag_cache",))
    pipeline.scheduler = diffusers.DDIMScheduler()
    with pytest.raises(ConfigurationError, match="cannot follow DDIMScheduler, which does not"):
        bind(pipeline, ("mag_cache",))


@pytest.mark.parametrize(
    ("name", "cache", "reason"),
    [
        ("sd", "mag_cache", "is not for UNet2DConditionModel in diffusers"),
        ("sd", "pyramid_attention", "is not for UNet2DConditionModel in diffusers"),
        ("sd", "faster_cache", "is not for UNet2DConditionModel in diffusers"),
        ("qwen-image", "faster_cache", "is not for QwenImageTransformer2DModel in diffusers"),
        ("lumina2", "mag_cache", "Lumina2TransformerBlock.* not registered"),
        ("z-image", "first_block_cache", "is not for ZImageTransformer2DModel in diffusers"),
    ],
)
def test_a_network_that_a_cache_does_not_know_is_refused(tiny_folder, name, cache, reason):
    with pytest.raises(ConfigurationError, match=reason):
        optimise_networks(tiny_pipelines.take(tiny_folder(name)), (cache,))


def test_a_network_without_blocks_is_refused():
    bare = SimpleNamespace(
        transformer=torch.nn.Linear(2, 2), scheduler=SimpleNamespace(step_index=None)
    )
    for cache in ("mag_cache", "pyramid_attention"):
        with pytest.raises(ConfigurationError, match=f"{cache} finds nothing in Linear"):
            optimise_networks(bare, (cache,))
    bare.scheduler = SimpleNamespace()
    with pytest.raises(ConfigurationError, match="SimpleNamespace, which does not count its steps"):
        optimise_networks(bare, ("mag_cache",))


def test_a_diffusers_without_the_cache_is_said(tiny_folder, monkeypatch):
    pipeline = load(tiny_folder, "z-image")
    missing = dataclasses.replace(CACHES["mag_cache"], configuration="OfTomorrowConfig")
    monkeypatch.setitem(CACHES, "mag_cache", missing)
    with pytest.raises(ConfigurationError, match=rf"in diffusers {diffusers.__version__}"):
        optimise_networks(pipeline, ("mag_cache",))


def test_two_calls_in_a_step_are_refused_where_they_would_be_mixed_up(tiny_folder):
    pipeline = load(tiny_folder, "qwen-image")
    optimise_networks(pipeline, ("pyramid_attention",))
    with pytest.raises(ConfigurationError, match="QwenImagePipeline calls its denoiser twice"):
        draw(bind(pipeline, ("pyramid_attention",), "qwen-image"))
    draw(bind(pipeline, ("pyramid_attention",), "qwen-image", guidance_scale=1.0))
    assert find_cache(pipeline).left_out > 0


def test_a_pipeline_that_names_no_calls_is_refused(tiny_folder):
    pipeline = load(tiny_folder, "chroma")
    optimise_networks(pipeline, ("taylorseer_cache",))
    with pytest.raises(ConfigurationError, match="ChromaPipeline does not tell this cache"):
        draw(bind(pipeline, ("taylorseer_cache",), guidance_scale=3.0))


def test_without_guidance_there_is_no_side_to_save(tiny_folder):
    pipeline = load(tiny_folder, "sd3")
    optimise_networks(pipeline, ("faster_cache",))
    with pytest.raises(ConfigurationError, match=r"none without guidance; got: guidance 1;"):
        bind(pipeline, ("faster_cache",), "sd3", guidance_scale=1.0)


def test_the_catalogue_says_that_they_are_approximate_and_never_recorded():
    assert (*CACHES,) == DIFFUSERS_CACHES
    for cache in CACHES:
        assert choose_ssim_floor((cache,)) == APPROXIMATE_SSIM
        assert OPTIMISATIONS[cache].group == "step cache"
        assert "no recording can repeat" in find_conflict((cache, "cuda_graphs"))
        assert "one by one" in find_conflict((cache, "compile"))
        assert find_conflict((cache, "compile_blocks", "text_graphs")) is None
        others = [other for other in CACHES if other != cache]
        assert all("not both" in find_conflict((cache, other)) for other in others)


@pytest.mark.parametrize("printed", ["", "[1.0, nan]\n", "[1.0]\n[1.0, 0.9]\n", "[1.0, NaN]\n"])
def test_ratios_that_cannot_be_read_are_refused(printed):
    with pytest.raises(ConfigurationError, match="mag_cache found no ratios"):
        read_ratios(printed)


def test_an_older_diffusers_is_refused_where_its_code_fails(tiny_folder, monkeypatch):
    monkeypatch.setattr(diffusers, "__version__", "0.41.0")
    pipeline = tiny_pipelines.take(tiny_folder("flux2-klein"))
    with pytest.raises(ConfigurationError, match=r"got: diffusers 0.41.0; expected: 0.42 or newer"):
        optimise_networks(pipeline, ("mag_cache",))
