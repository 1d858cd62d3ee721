"""Levers of pipelines that no class here divides: the same picture, really on, or refused."""

import functools
import inspect

import numpy as np
import pytest
import torch

from sdperf.errors import ConfigurationError
from sdperf.images.png import decode_png
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.optimisations.catalogue import check_supported, find_conflict
from sdperf.pipeline.optimisations.compiling import COMPILE_LIMIT
from sdperf.pipeline.optimisations.cuda_graphs import graph_networks, graph_text_encoders
from sdperf.pipeline.optimisations.embeddings import KEPT_CALLS
from sdperf.pipeline.optimisations.networks import find_denoiser, optimise_networks
from sdperf.pipeline.optimisations.optimised_stages import optimise_stages
from sdperf.pipeline.optimisations.rotary import rotate_in_real
from tests.pipeline.optimisations.test_cuda_graphs import Recorder
from tests.pipeline.test_stages import workload
from tests.support import tiny_pipelines

HOOKED = ("z-image", "flux2-klein", "qwen-image")
GUIDANCE = {"z-image": 0.0, "flux2-klein": 1.0, "qwen-image": 3.0, "sd3": 1.0}


def load(tiny_folder, name):
    pipeline = tiny_pipelines.take(tiny_folder(name))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def bind(pipeline, name, names=(), prompts=("red apple",)):
    asked = workload(num_inference_steps=3, guidance_scale=GUIDANCE[name], width=32)
    stages = stages_for(pipeline, asked)
    stages.learn(list(prompts))
    return optimise_stages(stages, names)


def draw(stages, prompts=("red apple",)):
    return stages.run_whole(
        list(prompts), stages.draw_noise([stages.workload.image(i) for i in range(len(prompts))])
    )


@pytest.fixture(scope="module")
def plain(tiny_folder):
    """Return the plain picture of a pipeline; made once."""
    return functools.cache(lambda name: draw(bind(load(tiny_folder, name), name)))


@pytest.mark.parametrize("name", HOOKED)
@pytest.mark.parametrize(
    "names", [("fused_projections",), ("channels_last_vae",), ("sdpa_math",), ("embed_cache",)]
)
def test_the_picture_is_that_of_the_plain_pipeline(tiny_folder, plain, name, names):
    pipeline = load(tiny_folder, name)
    optimise_networks(pipeline, names)
    np.testing.assert_allclose(draw(bind(pipeline, name, names)), plain(name), atol=1e-4)


@pytest.mark.parametrize("name", ["z-image", "qwen-image"])
@pytest.mark.parametrize("names", [("real_rotary",), ("fused_projections", "real_rotary")])
def test_positions_in_real_numbers_turn_to_the_same_picture(tiny_folder, plain, name, names):
    pipeline = load(tiny_folder, name)
    optimise_networks(pipeline, names)
    seen = set()
    for attention in find_denoiser(pipeline).modules():
        if hasattr(attention, "processor"):
            seen.add(attention.processor.rotate)
            assert getattr(attention, "fused_projections", False) is ("fused_projections" in names)
    assert seen == {rotate_in_real}
    np.testing.assert_allclose(draw(bind(pipeline, name, names)), plain(name), atol=1e-4)


def test_a_masked_batch_of_prompts_is_attended_to_as_diffusers_does(tiny_folder):
    prompts = ("red apple", "a blue car beside a tall house")
    pictures = []
    for names in ((), ("fused_projections", "real_rotary")):
        pipeline = load(tiny_folder, "qwen-image")
        optimise_networks(pipeline, names)
        pictures.append(draw(bind(pipeline, "qwen-image", names), prompts))
    np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-4)


def test_complex_and_real_turns_are_equal():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 5, 3, 8, generator=generator)
    angles = torch.randn(2, 5, 1, 4, generator=generator)
    turns = torch.polar(torch.ones_like(angles), angles)
    paired = torch.view_as_complex(states.reshape(2, 5, 3, 4, 2))
    expected = torch.view_as_real(paired * turns).flatten(-2)
    torch.testing.assert_close(rotate_in_real(states, turns), expected)
    assert rotate_in_real(states.bfloat16(), turns).dtype == torch.bfloat16


def test_one_product_projects_and_takes_no_more_memory(tiny_folder):
    pipeline, products = load(tiny_folder, "qwen-image"), []
    denoiser = find_denoiser(pipeline)

    def count_bytes():
        return sum({w.data_ptr(): w.numel() for w in denoiser.parameters()}.values())

    optimise_networks(pipeline, ("fused_projections",))
    attention = denoiser.transformer_blocks[0].attn
    for layer in ("to_q", "to_qkv", "add_k_proj", "to_added_qkv"):
        getattr(attention, layer).register_forward_hook(
            lambda *_, layer=layer: products.append(layer)
        )
    draw(bind(pipeline, "qwen-image"))
    assert set(products) == {"to_qkv", "to_added_qkv"}
    assert attention.to_k.weight.data_ptr() == attention.to_qkv.weight[16 * 2 :].data_ptr()
    assert count_bytes() > 0


def test_a_prompt_that_comes_again_is_encoded_once(tiny_folder, plain):
    pipeline, encoded = load(tiny_folder, "z-image"), []
    stages = bind(pipeline, "z-image", ("embed_cache",))
    pipeline.text_encoder.register_forward_pre_hook(lambda *_: encoded.append(1))
    first, again = draw(stages), draw(stages)
    assert len(encoded) == 1
    assert np.array_equal(first, again)
    assert np.array_equal(first, plain("z-image"))
    draw(stages, ("a blue car",))
    assert len(encoded) == 2
    assert pipeline.encode_prompt.hits == 1


def test_kept_embeddings_are_handed_out_as_copies_and_dropped_for_the_next_case(tiny_folder):
    pipeline = load(tiny_folder, "z-image")
    bind(pipeline, "z-image", ("embed_cache",))
    kept = pipeline.encode_prompt
    one = kept(prompt="pizza", do_classifier_free_guidance=False)[0][0]
    expected = one.clone()
    one.zero_()
    assert torch.equal(kept("pizza", do_classifier_free_guidance=False)[0][0], expected)
    assert kept.hits == 1

    bind(pipeline, "z-image", ("embed_cache",))  # another workload
    assert pipeline.encode_prompt is not kept
    assert pipeline.encode_prompt.hits == 0
    assert pipeline.encode_prompt.__wrapped__ == kept.__wrapped__


def test_what_is_no_plain_value_is_never_looked_up(tiny_folder):
    pipeline, calls = load(tiny_folder, "z-image"), []
    pipeline.encode_prompt = lambda prompt, **_: calls.append(prompt) or prompt
    optimise_stages(stages_for(pipeline, workload(guidance_scale=0.0)), ("embed_cache",))
    for _ in range(2):
        pipeline.encode_prompt(torch.ones(2))
    assert len(calls) == 2
    for index in range(KEPT_CALLS + 1):
        pipeline.encode_prompt(str(index))
    pipeline.encode_prompt("0")  # the oldest was dropped
    assert len(calls) == 2 + KEPT_CALLS + 2


@pytest.mark.parametrize("name", HOOKED)
def test_calls_with_lists_are_recorded_once_and_replayed(tiny_folder, plain, name):
    pipeline, record = load(tiny_folder, name), Recorder()
    graph_networks(pipeline, record)
    stages = bind(pipeline, name)
    for _ in range(2):
        np.testing.assert_allclose(draw(stages), plain(name), atol=1e-6)
    recorded = record.recorded
    assert recorded >= 3  # a text encoder, the denoiser, a decoder
    draw(stages)
    assert record.recorded == recorded


def test_text_encoders_alone_are_recorded(tiny_folder, plain):
    pipeline, record = load(tiny_folder, "z-image"), Recorder()
    graph_text_encoders(pipeline, record)
    assert np.array_equal(draw(bind(pipeline, "z-image")), plain("z-image"))
    assert record.recorded == 1


def test_pictures_of_a_stream_go_through_together(tiny_folder):
    stages = bind(load(tiny_folder, "z-image"), "z-image", ("batch2",))
    assert stages.images_per_call == 2


def test_repeated_blocks_are_compiled_for_any_length_or_for_each(tiny_folder, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **options: compiled.append((type(self).__name__, options)),
    )
    optimise_networks(load(tiny_folder, "z-image"), ("compile_blocks_dynamic", "tuned_kernels"))
    assert {name for name, _ in compiled} == {"ZImageTransformerBlock"}
    assert compiled[0][1]["dynamic"] is True
    assert compiled[0][1]["options"]["coordinate_descent_tuning"] is True
    compiled.clear()
    optimise_networks(load(tiny_folder, "sd3"), ("compile_blocks",))  # it names none itself
    assert {name for name, _ in compiled} == {"JointTransformerBlock"}
    assert compiled[0][1] == {"dynamic": False}
    config = torch._dynamo.config
    limit = getattr(config, "recompile_limit", None) or config.cache_size_limit
    assert limit >= COMPILE_LIMIT


@pytest.mark.parametrize("name", ["z-image", "sd3", "sd"])
def test_a_kernel_is_chosen_inside_of_what_is_compiled(tiny_folder, monkeypatch, name):
    pipeline, seen = load(tiny_folder, name), []
    processors = [
        part.processor for part in find_denoiser(pipeline).modules() if hasattr(part, "processor")
    ]
    before = [inspect.signature(each.__call__) for each in processors]

    def attend(self, *_args, **_keywords):
        seen.append((type(self).__name__, torch.backends.cuda.flash_sdp_enabled()))

    for kind in {type(each) for each in processors}:
        monkeypatch.setattr(kind, "__call__", functools.wraps(kind.__call__)(attend))
    optimise_networks(pipeline, ("sdpa_math",))
    assert [inspect.signature(each.__call__) for each in processors] == before
    for each in processors:
        each(None, None)
    assert seen
    assert {flash for _, flash in seen} == {False}
    assert torch.backends.cuda.flash_sdp_enabled()


def test_code_compiled_for_one_kernel_is_not_used_for_another(tiny_folder, monkeypatch):
    plain_compile = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **_: plain_compile(self, backend="eager")
    )
    counted = torch._dynamo.utils.counters
    torch._dynamo.reset()
    graphs = []
    for names in (("sdpa_math",), ()):
        counted.clear()
        pipeline = load(tiny_folder, "sd3")
        optimise_networks(pipeline, ("compile_blocks", *names))
        draw(bind(pipeline, "sd3"))
        graphs.append((counted["stats"]["unique_graphs"], sum(counted["graph_break"].values())))
    torch._dynamo.reset()
    assert graphs == [(1, 0), (1, 0)]


def test_diffusers_cache_skips_calls_and_begins_anew_with_each_picture(tiny_folder, plain):
    pipeline, computed = load(tiny_folder, "qwen-image"), []
    attention = pipeline.transformer.transformer_blocks[0].attn
    attention.to_q.register_forward_hook(lambda *_: computed.append(1))
    optimise_networks(pipeline, ("taylorseer_cache",))
    asked = workload(num_inference_steps=6, guidance_scale=3.0, width=32)
    stages = stages_for(pipeline, asked)
    first, count = draw(stages), len(computed)
    assert count < 2 * 6  # two calls a step
    assert np.array_equal(draw(stages), first)
    assert len(computed) == 2 * count


@pytest.mark.parametrize(
    ("name", "switch", "reason"),
    [
        ("flux2-klein", "real_rotary", "finds no complex numbers in Flux2Transformer2DModel"),
        ("z-image", "taylorseer_cache", "is not for ZImageTransformer2DModel in diffusers"),
        ("flux2-klein", "first_block_cache", "fails on Flux2Transformer2DModel"),
        ("qwen-image", "first_block_cache", "cannot be used with QwenImageTransformer2DModel"),
        ("z-image", "flash_attention3", "flash_attention3 cannot be used here"),
        ("sd", "sage_attention", "finds no attention in UNet2DConditionModel"),
        ("z-image", "float8_blocks", "takes weights in bf16"),
        ("sd", "real_rotary", "finds no complex numbers in UNet2DConditionModel"),
    ],
)
def test_what_does_not_belong_is_refused_by_name(tiny_folder, name, switch, reason):
    with pytest.raises(ConfigurationError, match=reason):
        optimise_networks(load(tiny_folder, name), (switch,))


def test_what_cannot_be_fused_or_kept_is_refused():
    class Bare:
        transformer = torch.nn.Linear(2, 2)

    with pytest.raises(ConfigurationError, match="finds nothing in Linear that it could fuse"):
        optimise_networks(Bare(), ("fused_projections",))


def test_caches_are_never_recorded_and_float8_only_compiled():
    for cache in ("first_block_cache", "taylorseer_cache"):
        complaint = find_conflict((cache, "cuda_graphs"))
        assert complaint is not None
        assert "decides on the host" in complaint
        assert find_conflict((cache, "text_graphs")) is None
    assert find_conflict(("float8_blocks",)) is not None
    assert find_conflict(("float8_blocks", "compile_blocks")) is None
    assert find_conflict(("tuned_kernels",)) is not None
    with pytest.raises(ConfigurationError, match="flash_attention3 cannot be used on this GPU"):
        check_supported(("flash_attention3",), "cuda", "whole", "ZImagePipeline", (8, 0))
    with pytest.raises(ConfigurationError, match="text_graphs cannot be used on cpu"):
        check_supported(("text_graphs",), "cpu", "whole", "ZImagePipeline")
    check_supported(("embed_cache", "batch4"), "cuda", "whole", "ZImagePipeline", (9, 0))


def test_files_compressed_in_strips_hold_the_same_pixels(tiny_folder):
    stages = bind(load(tiny_folder, "z-image"), "z-image", ("fast_png",))
    generator = np.random.default_rng(0)
    for shape in ((24, 40, 3), (1, 1, 3), (7, 5, 3), (257, 3, 3)):
        picture = generator.integers(0, 256, shape, dtype=np.uint8)
        assert np.array_equal(decode_png(stages.encode_png(picture)), picture)
    flat = np.full((256, 256, 3), 90, dtype=np.uint8)
    assert len(stages.encode_png(flat)) < flat.size / 20
