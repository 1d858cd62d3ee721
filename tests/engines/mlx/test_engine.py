import concurrent.futures

import numpy as np
import pytest
import torch

pytest.importorskip("mlx.core", reason="MLX IS NOT TESTED: pip install 'sdperf[mlx]'")

import mlx.core as mx

from sdperf.engines.attaching import attach_engine, make_engine
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.parity import FP16_PARITY_DB, FP32_PARITY_DB, measure_parity
from sdperf.errors import EngineError, GenerationError
from sdperf.images.comparison import compare_images
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.pixels import to_uint8
from sdperf.record.workload import Workload

FLOORS_DB = {"fp32": FP32_PARITY_DB, "fp16": FP16_PARITY_DB, "bf16": FP16_PARITY_DB}
CASES = [
    (name, precision)
    for name in ("embedded", "sd", "sdxl")
    for precision in FLOORS_DB
    if (name, precision) != ("embedded", "bf16")
]


def prepare(model, parts, **request):
    asked = model.request(**request)
    return make_engine(asked.choice, asked.device).prepare(parts, asked, lambda _: None)


def worst_of(distances):
    for one in distances:
        assert one.nonfinite == 0
    return min(one.psnr_db for one in distances if not one.identical)


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_every_part_computes_what_torch_computes_in_fp32(model, name, precision):
    found = model(name)
    references = {part.name: part.module for part in found.split()}
    parts = found.split(precision)
    distances = measure_parity(parts, prepare(found, parts, precision=precision), references)
    assert {one.component for one in distances} == references.keys()
    assert worst_of(distances) >= FLOORS_DB[precision]


@pytest.mark.parametrize("name", ["small-sd", "small-sdxl"])
def test_compiled_parts_compute_the_same(model, name):
    found = model(name)
    parts = found.split()
    assert worst_of(measure_parity(parts, prepare(found, parts, engine="mlx-compile"))) >= 60


def test_an_image_of_the_embedded_model_is_that_of_torch(model):
    found = model("embedded")
    workload = Workload(
        "embedded", ("red apple",), num_inference_steps=2, guidance_scale=3.0, height=64, width=64
    )
    images = []
    for engine in (None, "mlx"):
        pipeline = found.load()
        if engine is not None:
            request = found.request(engine)
            used = attach_engine(pipeline, make_engine(request.choice, "cpu"), request, guided=True)
        stages = stages_for(pipeline, workload)
        requests = [workload.image(0)]
        images.append(to_uint8(stages.run_whole(["red apple"], stages.draw_noise(requests)))[0])
    assert used.name == "mlx"
    assert used.provider == "mlx cpu"
    assert used.conversion_s is None
    assert compare_images(*images).ssim >= 0.99
    assert compare_images(*images).worst_tile.ssim >= 0.99


def test_weights_are_counted_in_their_own_format(model):
    found = model("sd")
    sizes = [
        sum(one.model_bytes for one in prepare(found, found.split(p), precision=p).values())
        for p in ("fp32", "fp16")
    ]
    assert sizes[0] == 2 * sizes[1]


def test_the_vae_of_xl_computes_in_32_bits_where_it_overflows_in_16(model):
    found = model("sdxl")
    parts = [part for part in found.split("fp16") if part.name == "vae_decoder"]
    decoder = prepare(found, parts, precision="fp16")["vae_decoder"]
    full = sum(p.numel() for p in parts[0].network.decoder.parameters()) * 4
    assert decoder.model_bytes >= full
    assert decoder.run(parts[0].inputs)[0].dtype == torch.float32


def test_what_comes_out_is_left_alone_by_later_calls(model):
    found = model("sd")
    unet = next(part for part in found.split() if part.name == "unet")
    run = prepare(found, [unet])["unet"].run
    (first,) = run(unet.inputs)
    kept = first.clone()
    (second,) = run({**unet.inputs, "sample": unet.inputs["sample"] + 1})
    second += 1
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)


def test_any_number_of_rows_runs(model):
    found = model("small-sd")
    unet = next(part for part in found.split() if part.name == "unet")
    run = prepare(found, [unet], engine="mlx-compile")["unet"].run
    both = run(unet.inputs)[0]
    one = run({k: v if k in unet.fixed else v[:1] for k, v in unet.inputs.items()})[0]
    np.testing.assert_allclose(one[0], both[0], atol=1e-5)


def test_another_thread_gets_the_same_numbers(model):
    found = model("small-sd")
    parts = found.split()
    prepared = prepare(found, parts, engine="mlx-compile")
    for part in parts:
        here = prepared[part.name].run(part.inputs)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            there = pool.submit(prepared[part.name].run, part.inputs).result()
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_what_mlx_cannot_run_is_one_message(model):
    found = model("sd")
    unet = next(part for part in found.split() if part.name == "unet")
    run = prepare(found, [unet])["unet"].run
    with pytest.raises(GenerationError, match="MLX could not run the unet"):
        run({**unet.inputs, "encoder_hidden_states": torch.zeros(2, 24, 15)})


@pytest.mark.skipif(mx.metal.is_available(), reason="this machine has an Apple GPU")
def test_without_an_apple_gpu_it_refuses_one(model):
    with pytest.raises(EngineError, match="no Apple GPU"):
        prepare(model("sd"), [], device="mps")


def test_cuda_is_refused_before_anything_is_loaded():
    with pytest.raises(EngineError, match="cannot run on cuda"):
        make_engine(ENGINES["mlx"], "cuda")
