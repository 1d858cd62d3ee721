"""ONNX Runtime holds every part to torch's, exported once and found again."""

import functools
from unittest import mock

import numpy as np
import onnxruntime
import pytest
import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from sdperf.engines.attaching import attach_engine, make_engine
from sdperf.engines.cache import EngineCache
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.onnx import engine as engine_module
from sdperf.engines.onnx import running
from sdperf.engines.onnx.engine import choose_provider
from sdperf.engines.onnx.exporting import MODEL_NAME, export_part
from sdperf.engines.onnx.running import CPU, CUDA, BoundSessionPart, open_session
from sdperf.engines.parity import FP16_PARITY_DB, FP32_PARITY_DB, measure_parity
from sdperf.errors import EngineError, GenerationError
from sdperf.pipeline.families import stages_for
from sdperf.record.workload import Workload
from tests.support.engine_bench import EngineBench
from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]

WORKLOAD = Workload(model="tiny", prompts=("red apple",), num_inference_steps=2, guidance_scale=3.0)


@pytest.fixture(scope="module", autouse=True)
def translations_read_once():
    """For each part torch reads the source of all translations to ONNX again: a second each."""
    read = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
    with mock.patch.object(ONNXRegistry, "from_torchlib", read):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("conversions")


@pytest.fixture(scope="module")
def bench(tiny_folder, folder):
    return EngineBench("onnx", tiny_folder, folder)


@pytest.fixture
def no_export(monkeypatch):
    """Nothing may be exported: what is asked for was converted before."""

    def refuse(*_):
        raise AssertionError("exported again")

    monkeypatch.setattr(engine_module, "export_part", refuse)


@pytest.mark.long
def test_every_part_of_sd_keeps_60_db_and_is_exported_once(bench, monkeypatch):
    parts = bench.split(bench.load())
    _, prepared = bench.prepare(parts)
    distances = measure_parity(parts, prepared)
    assert [one.component for one in distances] == ["text_encoder", "unet", "vae_decoder"]
    assert all(one.psnr_db >= FP32_PARITY_DB for one in distances)
    monkeypatch.setattr(engine_module, "export_part", None)  # would fail where it were called
    _, again = bench.prepare(parts)
    assert all(one.was_cached for one in again.values())
    for name, one in again.items():
        assert one.model_bytes == prepared[name].model_bytes > 0
        assert one.conversion_s == prepared[name].conversion_s > 0


@pytest.mark.long
def test_any_number_of_rows_goes_through_one_file(bench):
    parts = bench.split(bench.load())
    _, prepared = bench.prepare(parts)
    for part in parts:
        for rows in (1, 3):
            inputs = {
                name: one if name in part.fixed else one[:1].repeat(rows, *[1] * (one.ndim - 1))
                for name, one in part.inputs.items()
            }
            expected = part.module(*inputs.values())[0]
            (found,) = prepared[part.name].run(inputs)
            assert found.shape == expected.shape
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_an_image_is_that_of_torch(bench):
    def make(pipeline):
        stages = stages_for(pipeline, WORKLOAD)
        return stages.run_whole(["red apple"], stages.draw_noise([WORKLOAD.image(0)]))

    pipeline = bench.load()
    bench.prepare(bench.split(pipeline))
    expected = make(pipeline)
    request = bench.request()
    engine = make_engine(request.choice, "cpu")
    use = attach_engine(pipeline, engine, request, guided=True)
    np.testing.assert_allclose(make(pipeline), expected, atol=1e-3)
    engine.set_threads(2)
    np.testing.assert_allclose(make(pipeline), expected, atol=1e-3)
    assert (use.name, use.provider) == ("onnx", CPU)
    assert use.version == onnxruntime.__version__
    assert use.was_cached
    assert use.model_bytes > 0


def test_threads_of_a_part_soon_let_go_of_the_processors(bench):
    engine, _ = bench.prepare(bench.split(bench.load()))
    engine.set_threads(2)
    name, duration_us = running.SPIN_DURATION
    for run, _ in engine._parts.values():
        assert run.session.get_session_options().get_session_config_entry(name) == duration_us


def test_half_precision_keeps_35_db(bench):
    half = bench.split(bench.load(precision="fp16"), "vae_decoder")
    single = {part.name: part.module for part in bench.split(bench.load(), "vae_decoder")}
    _, prepared = bench.prepare(half, precision="fp16")
    (distance,) = measure_parity(half, prepared, single)
    assert distance.psnr_db >= FP16_PARITY_DB


@pytest.mark.long
def test_the_unet_of_sdxl_takes_its_further_inputs(bench):
    parts = bench.split(bench.load("sdxl"), "unet")
    assert list(parts[0].inputs)[3:] == ["text_embeds", "time_ids"]
    _, prepared = bench.prepare(parts, family="sdxl")
    (distance,) = measure_parity(parts, prepared)
    assert distance.psnr_db >= FP32_PARITY_DB


def test_weights_in_int8_are_smaller_and_a_little_off(bench):
    parts = bench.split(bench.load())
    _, plain = bench.prepare(parts)
    _, prepared = bench.prepare(parts, engine="onnx-int8")
    for name, one in prepared.items():
        assert one.model_bytes < 0.8 * plain[name].model_bytes
        assert one.conversion_s > plain[name].conversion_s
    (unet,) = (part for part in parts if part.name == "unet")
    weights = sum(one.nbytes for one in unet.network.state_dict().values())
    assert plain["unet"].model_bytes - prepared["unet"].model_bytes > weights / 2
    found = {one.component: one.psnr_db for one in measure_parity(parts, prepared)}
    assert 20 < found["unet"] < FP32_PARITY_DB
    assert 40 < found["text_encoder"] < 80  # only stored in 8 bits, multiplied as before
    assert 40 < found["vae_decoder"] < 80


def test_another_size_is_refused_in_one_message(bench, no_export):
    parts = bench.split(bench.load(), "unet")
    _, prepared = bench.prepare(parts)
    inputs = dict(parts[0].inputs) | {"sample": torch.zeros(2, 4, 16, 16)}
    with pytest.raises(GenerationError, match="the unet was converted for another size"):
        prepared["unet"].run(inputs)


def test_an_operator_that_the_exporter_lacks_is_one_message(bench, tmp_path):
    class Fancy(torch.nn.Module):
        def forward(self, latents):
            return (torch.linalg.svd(latents)[1],)

    (part,) = bench.split(bench.load(), "vae_decoder")
    fancy = type(part)(part.name, Fancy().eval(), part.network, part.inputs, part.outputs)
    with pytest.raises(EngineError, match="the vae_decoder cannot be exported") as caught:
        export_part(fancy, tmp_path / MODEL_NAME)
    assert "svd" in caught.value.got
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_that_the_runtime_cannot_load_is_one_message(tmp_path):
    (tmp_path / MODEL_NAME).write_bytes(b"no model")
    with pytest.raises(EngineError, match="cannot load the unet") as caught:
        open_session(tmp_path / MODEL_NAME, "unet", CPU, 1)
    assert len(str(caught.value).splitlines()) == 1


def test_a_provider_that_is_not_there_is_one_message(tmp_path):
    with pytest.raises(EngineError, match="no CUDAExecutionProvider") as caught:
        open_session(tmp_path / MODEL_NAME, "unet", CUDA, 1)
    assert "sdperf[onnx-gpu]" in caught.value.hint


def test_falling_back_to_the_cpu_is_never_silent(monkeypatch, tmp_path):
    class Session:
        def __init__(self, *_, **__):
            pass

        def get_providers(self):
            return [CPU]

    monkeypatch.setattr(running.onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(running.onnxruntime, "InferenceSession", Session)
    with pytest.raises(EngineError, match="would run on the CPU"):
        open_session(tmp_path / MODEL_NAME, "unet", CUDA, 1)


def test_a_setting_names_its_provider():
    assert choose_provider("cpu", ENGINES["onnx"]) == CPU
    assert choose_provider("mps", ENGINES["onnx"]) == CPU
    assert choose_provider("cuda", ENGINES["onnx"]) == CUDA
    assert choose_provider("mps", ENGINES["onnx-coreml"]) == "CoreMLExecutionProvider"


def test_bound_tensors_are_run_where_they_lie(bench, no_export):
    parts = bench.split(bench.load(), "unet")
    _, prepared = bench.prepare(parts)
    bound = BoundSessionPart(prepared["unet"].run.session, parts[0])
    first = bound(parts[0].inputs)
    (expected,) = prepared["unet"].run(parts[0].inputs)
    torch.testing.assert_close(first[0], expected, atol=0, rtol=0)
    bound({**parts[0].inputs, "timestep": torch.tensor([1.0])})
    torch.testing.assert_close(first[0], expected, atol=0, rtol=0)  # later calls leave it alone


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp16", "engine": "onnx-int8"}, "cannot run fp16"),
        ({"family": "flux"}, "other engines cannot run this"),
    ],
)
def test_what_an_engine_cannot_take_is_refused_before_anything_is_converted(
    bench, tmp_path, changes, message
):
    pipeline = bench.load()
    unet = pipeline.unet
    asked = {"family": "sd"} | changes
    cache = EngineCache(tmp_path / "engines")
    request = bench.request(**{k: v for k, v in asked.items() if k != "family"}, cache=cache)
    if asked["family"] != "sd":
        request = type(request)(**{**vars(request), "family": asked["family"]})
    engine = make_engine(request.choice, "cpu")
    with pytest.raises(EngineError, match=message):
        attach_engine(pipeline, engine, request, guided=True)
    assert pipeline.unet is unet
    assert not cache.folder.exists()
