"""Each quantisation stores weights in fewer bits, and its images stay above the floor."""

import functools
import statistics
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from torch import nn

from evidence.mapped_pipelines.parts import NOISE_SCHEDULE
from sdperf.errors import ConfigurationError, GenerationError
from sdperf.judging.floors import choose_gain_floors
from sdperf.judging.images import judge_images
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.loader import resolve_model
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.optimisations.networks import optimise_networks
from sdperf.pipeline.optimisations.quantisation import find_block_linears
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.weights import count_weight_bytes
from sdperf.record.measurement import ImageRecord
from sdperf.record.scores import compute_scores
from sdperf.record.verdict import Outcome
from sdperf.record.workload import Variant, Workload
from tests.pipeline.optimisations.test_cuda_graphs import Recorder
from tests.pipeline.optimisations.test_optimised_stages import generate, load
from tests.support import tiny_pipelines

quantization = pytest.importorskip(
    "torchao.quantization", reason="torchao is not installed: pip install 'sdperf[quantise]'"
)
WORKLOAD = Workload(
    model="embedded",
    prompts=("red apple", "a blue car", "cat face"),
    num_inference_steps=4,
    guidance_scale=3,
)
ON_CPU = ("int8_weights", "int8_dynamic", "int4_weights")


def load_embedded(*names):
    model = resolve_model("embedded")
    pipeline = tiny_pipelines.load_pipeline(
        model, torch_dtype=torch.float32, device=torch.device("cpu")
    )
    optimise_networks(pipeline, names)
    return pipeline


def make_pictures(pipeline, count):
    stages = stages_for(pipeline, WORKLOAD)
    requests = [WORKLOAD.image(index) for index in range(count)]
    prompts = [request.prompt for request in requests]
    return to_uint8(stages.run_whole(prompts, stages.draw_noise(requests)))


@pytest.fixture(scope="module")
def plain():
    pipeline = load_embedded()
    return SimpleNamespace(
        weight_bytes=count_weight_bytes(pipeline), pictures=make_pictures(pipeline, 3)
    )


def judge(plain, current, name):
    """Judge as `sd_gain` does: against the plain pipeline of the same run."""
    scores = compute_scores("plain", "0" * 64, plain, current)
    request = WORKLOAD.image(0)
    record = ImageRecord(
        request.prompt, request.seed, "1" * 64, *plain.shape[:2], 5.0, scores=(scores,)
    )
    floors = choose_gain_floors(Variant(optimisations=(name,)), Variant())
    return judge_images([record], "plain", floors, {})


def kinds_of(network):
    return {type(layer.weight.data).__name__ for layer in find_block_linears(network)}


@pytest.mark.parametrize(
    ("name", "kind", "floor", "count"),
    [
        ("int8_weights", "IntxUnpackedToInt8Tensor", 0.97, 3),
        ("int8_dynamic", "Int8Tensor", 0.97, 3),
        ("int4_weights", "Int4OpaqueTensor", 0.60, 1),
    ],
)
def test_weights_are_stored_in_fewer_bytes_and_pictures_hold(plain, name, kind, floor, count):
    """In the median: four steps are few, and one picture of three may part ways with any noise."""
    pipeline = load_embedded(name)
    assert kinds_of(pipeline.unet) == {kind}
    assert type(pipeline.vae.decoder.conv_in.weight.data).__name__ == "IntxUnpackedToInt8Tensor"
    stored = count_weight_bytes(pipeline)
    for component in ("unet", "text_encoder", "vae"):
        assert stored[component] < 0.27 * plain.weight_bytes[component]  # of four bytes a weight
    assert sum(stored.values()) <= 0.5 * sum(plain.weight_bytes.values()) / 2  # of two

    pairs = list(zip(plain.pictures, make_pictures(pipeline, count), strict=False))

    assert not any(np.array_equal(*pair) for pair in pairs)
    likeness = [compute_scores("plain", "0" * 64, *pair).ssim for pair in pairs]
    assert statistics.median(likeness) >= floor
    if floor > 0.9:
        assert judge(*pairs[0], name).outcome is Outcome.PASS


def test_a_damaged_scale_is_caught(plain):
    pipeline = load_embedded("int8_weights")
    pipeline.unet.conv_out.weight.scale.mul_(1.5)
    found = judge(plain.pictures[0], make_pictures(pipeline, 1)[0], "int8_weights")
    assert found.outcome is Outcome.DEGRADED


@pytest.fixture(scope="module")
def plain_of(tiny_folder):
    """Return the plain picture of a family, and the bytes of its parts; made once."""

    @functools.cache
    def make(family):
        pipeline = load(tiny_folder, family)
        return generate(pipeline), count_weight_bytes(pipeline)

    return make


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("name", ["int8_weights", "int8_dynamic"])
def test_every_family_can_be_quantised(tiny_folder, plain_of, family, name):
    pixels, before = plain_of(family)
    pipeline = load(tiny_folder, family)
    current = generate(pipeline, (name, "channels_last", "channels_last_vae", "fused_projections"))
    assert np.isfinite(current).all()
    np.testing.assert_allclose(current, pixels, atol=0.2)
    after = count_weight_bytes(pipeline)
    assert before.keys() == after.keys()
    assert all(after[part] < before[part] for part in before)
    assert sum(after.values()) < 0.5 * sum(before.values())


def test_recorded_calls_take_quantised_weights(tiny_folder):
    record = Recorder()
    recorded = generate(load(tiny_folder, "smallest-sd"), ("int8_weights", "loop_graph"), record)
    assert record.recorded == 1
    plain = generate(load(tiny_folder, "smallest-sd"), ("int8_weights",))
    np.testing.assert_allclose(recorded, plain, atol=1e-5)


@pytest.mark.parametrize("name", ["int8_weights", "int8_dynamic"])
def test_compiled_calls_are_traced_without_a_break(name):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.linear = nn.Conv2d(4, 16, 3), nn.Linear(16, 32)

        def forward(self, image):
            return self.linear(self.convolution(image).flatten(2).mT)

    network = nn.Sequential(Block())
    network._repeated_blocks = ["Block"]
    pipeline = SimpleNamespace(unet=network, components={"unet": network})
    optimise_networks(pipeline, (name,))
    image = torch.randn(2, 4, 8, 8)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(image), network(image))
    torch._dynamo.reset()


def test_a_vae_that_is_cast_for_each_image_keeps_its_weights(tiny_folder):
    pipeline = load(tiny_folder, "sdxl", torch.float16)
    before = count_weight_bytes(pipeline)
    optimise_networks(pipeline, ("int8_weights",))
    after = count_weight_bytes(pipeline)
    decoder = [*pipeline.vae.decoder.parameters(), *pipeline.vae.post_quant_conv.parameters()]
    assert {weight.dtype for weight in decoder} == {torch.float16}
    assert after["vae"] == sum(weight.nbytes for weight in decoder) < before["vae"]
    assert after["unet"] < before["unet"]

    pipeline = load(tiny_folder, "sdxl", torch.float16)
    optimise_networks(pipeline, ("int8_weights", "resident_vae"))
    assert count_weight_bytes(pipeline)["vae"] < after["vae"]


def quantised_linear(name, layer):
    block = type("Block", (nn.Module,), {})()
    block.layer = layer
    denoiser = nn.Module()
    denoiser._repeated_blocks = ["Block"]
    denoiser.block = block
    pipeline = SimpleNamespace(unet=denoiser, components={"unet": denoiser})
    optimise_networks(pipeline, (name,))
    return layer


def test_products_in_int8_do_not_overflow_fp16():
    torch.manual_seed(0)
    layer = nn.Linear(64, 32, dtype=torch.float16)
    layer.weight.data /= 20
    inputs = torch.full((20, 64), 200.0, dtype=torch.float16)
    expected = layer(inputs)
    alone = nn.Linear(64, 32, dtype=torch.float16)
    alone.load_state_dict(layer.state_dict())
    quantization.quantize_(alone, quantization.Int8DynamicActivationInt8WeightConfig())
    assert not torch.isfinite(alone(inputs)).all()  # what torchao does of itself

    current = quantised_linear("int8_dynamic", layer)(inputs)

    assert (current - expected).abs().max() < 0.01 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_small_weights_keep_eight_bits(dtype):
    torch.manual_seed(0)
    layer = nn.Linear(256, 32, dtype=dtype)
    layer.weight.data /= 10  # torchao would floor the scales of 16-bit weights far above theirs
    plain = layer.weight.detach().float()
    stored = quantised_linear("int8_weights", layer).weight
    error = (stored.dequantize().float() - plain).abs().amax(1) / plain.abs().amax(1)
    assert error.max() < 0.0065  # half a step of 1/127, and the scale's own rounding


def test_rows_of_an_embedding_are_those_of_its_table():
    torch.manual_seed(0)
    table = nn.Embedding(50, 16)
    network = nn.Module()
    network.table = table
    pipeline = SimpleNamespace(unet=network, components={"text_encoder": network})
    plain = table.weight.detach().clone()
    optimise_networks(pipeline, ("int8_weights",))
    ids = torch.tensor([[3, 49], [0, 3]])
    assert torch.equal(table(ids), table.weight.dequantize()[ids])
    assert (table(ids) - plain[ids]).abs().max() < 0.02


def test_weights_that_layers_share_stay_shared():
    network = nn.Module()
    network.table, network.other = nn.Embedding(50, 16), nn.Embedding(50, 16)
    network.other.weight = network.table.weight
    pipeline = SimpleNamespace(unet=network, components={"text_encoder": network})
    optimise_networks(pipeline, ("int8_weights",))
    assert network.other.weight is network.table.weight
    assert count_weight_bytes(pipeline)["text_encoder"] == 50 * 16 + 50 * 2 + 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_scales_take_16_bits_and_their_rounding_costs_nothing(dtype):
    torch.manual_seed(0)
    layer = nn.Linear(256, 32, dtype=dtype)
    layer.weight.data[3] = 0
    plain = layer.weight.detach().float()
    stored = quantised_linear("int8_weights", layer).weight
    assert stored.dtype == dtype
    assert stored.scale.dtype == (torch.bfloat16 if dtype == torch.float32 else dtype)
    steps = stored.scale.float()
    assert ((stored.qdata.float() * steps - plain).abs() <= 0.5001 * steps).all()
    assert stored.qdata.abs().max() == 127
    assert (stored.dequantize()[3] == 0).all()


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
def test_the_encoder_of_the_vae_is_let_go_and_decoding_stays(tiny_folder, family):
    plain, pipeline = load(tiny_folder, family).vae, load(tiny_folder, family)
    optimise_networks(pipeline, ("int8_weights",))
    vae = pipeline.vae
    assert not list(vae.encoder.parameters())
    assert (vae.config, vae.dtype, vae.device) == (plain.config, plain.dtype, plain.device)
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for switch in ("disable_tiling", "enable_tiling", "enable_slicing"):
            for each in (vae, plain):
                getattr(each, switch)()
            found, expected = (each.decode(latents).sample for each in (vae, plain))
            torch.testing.assert_close(found, expected, atol=0.2, rtol=0)


@pytest.mark.parametrize("switch", ["disable_tiling", "enable_tiling"])
def test_an_image_cannot_be_encoded_any_more_and_that_is_one_message(tiny_folder, switch):
    pipeline = load(tiny_folder, "sd")
    optimise_networks(pipeline, ("int8_weights",))
    components = pipeline.components | {"scheduler": EulerDiscreteScheduler(**NOISE_SCHEDULE)}
    later = StableDiffusionImg2ImgPipeline(**components, requires_safety_checker=False)
    later.set_progress_bar_config(disable=True)
    getattr(later.vae, switch)()
    refused = pytest.raises(GenerationError, match="can no longer encode an image")
    with known_warnings_ignored(), refused as caught:
        later("red apple", image=torch.zeros(1, 3, 64, 64), num_inference_steps=2)
    assert "leave int8_weights out" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_call_that_is_not_diffusers_own_keeps_its_encoder(tiny_folder):
    class Own(StableDiffusionPipeline):
        def __call__(self, *args, **named):
            self.vae.encode(torch.zeros(1, 3, 32, 32))
            return super().__call__(*args, **named)

    plain = load(tiny_folder, "sd")
    pipeline = Own(**plain.components, requires_safety_checker=False)
    optimise_networks(pipeline, ("int8_weights",))
    with torch.no_grad():
        assert torch.isfinite(pipeline.vae.encode(torch.zeros(1, 3, 32, 32)).latent_dist.mean).all()


def test_a_denoiser_without_fitting_layers_is_refused():
    with pytest.raises(ConfigurationError, match="int4_weights finds no layer") as caught:
        quantised_linear("int4_weights", nn.Linear(20, 20))
    assert "use int8_weights" in str(caught.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ConfigurationError, match="int8_weights needs torchao") as caught:
        quantised_linear("int8_weights", nn.Linear(32, 32))
    assert "pip install 'sdperf[quantise]'" in str(caught.value)
