"""OpenVINO holds every part to torch's: converted once, compiled for each number of rows."""

import copy
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch

if find_spec("openvino") is None:
    pytest.skip("OPENVINO IS NOT TESTED: pip install 'sdperf[openvino]'", allow_module_level=True)

from sdperf.engines.attaching import attach_engine, make_engine
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.exporting import quiet_export
from sdperf.engines.openvino import engine as engine_module
from sdperf.engines.openvino import running
from sdperf.engines.openvino.converting import (
    MODEL_NAME,
    convert_part,
    read_program,
)
from sdperf.engines.openvino.importing import openvino
from sdperf.engines.openvino.normalising import spread_group_norms
from sdperf.engines.openvino.running import MOST_PROGRAMS, require_arithmetic
from sdperf.engines.parity import (
    FP16_PARITY_DB,
    FP32_PARITY_DB,
    measure_parity,
)
from sdperf.engines.protocol import Part
from sdperf.errors import EngineError, GenerationError
from sdperf.pipeline.families import stages_for
from sdperf.record.workload import Workload
from tests.support.engine_bench import DTYPES, EngineBench
from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]

WORKLOAD = Workload(model="tiny", prompts=("red apple",), num_inference_steps=2, guidance_scale=3.0)


class Processor:
    """A core of OpenVINO on a processor that computes in these formats."""

    def __init__(self, *abilities):
        self.abilities = list(abilities)

    def get_property(self, device, name):
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self.abilities


@pytest.fixture(scope="module")
def bench(tiny_folder, tmp_path_factory):
    return EngineBench("openvino", tiny_folder, tmp_path_factory.mktemp("conversions"))


@pytest.fixture(scope="module")
def parts(bench):
    return bench.split(bench.load())


@pytest.fixture(scope="module")
def prepared(bench, parts):
    return bench.prepare(parts)[1]


def repeat_rows(part, rows):
    return {
        name: one if name in part.fixed else one[:1].repeat(rows, *[1] * (one.ndim - 1))
        for name, one in part.inputs.items()
    }


def make_small_part(dtype=torch.float32):
    """A part of one convolution, which is converted in a moment."""
    module = Called(torch.nn.Conv2d(4, 3, 3)).to(dtype)
    inputs = {"latents": torch.zeros(2, 4, 8, 8, dtype=dtype)}
    network = SimpleNamespace(dtype=dtype)
    return Part("vae_decoder", module.eval(), network, inputs, ("image",))


class Called(torch.nn.Module):
    def __init__(self, called):
        super().__init__()
        self.called = called

    def forward(self, latents):
        return (self.called(latents),)


def require_bf16():
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bf16")


def test_every_part_keeps_60_db_and_is_converted_once(bench, parts, prepared, monkeypatch):
    distances = measure_parity(parts, prepared)
    assert [one.component for one in distances] == ["text_encoder", "unet", "vae_decoder"]
    assert all(one.psnr_db >= FP32_PARITY_DB for one in distances)
    monkeypatch.setattr(engine_module, "convert_part", None)  # would fail where it were called
    _, again = bench.prepare(parts)
    assert all(one.was_cached for one in again.values())
    for name, one in again.items():
        assert one.model_bytes == prepared[name].model_bytes > 0
        assert one.conversion_s == prepared[name].conversion_s > 0


def test_parity_sees_a_weight_that_was_damaged(parts, prepared):
    damaged = {part.name: copy.deepcopy(part.module) for part in parts}
    for module in damaged.values():
        list(module.parameters())[-2].data.mul_(1.5)
    distances = measure_parity(parts, prepared, damaged)
    assert all(one.psnr_db < FP32_PARITY_DB for one in distances)


def test_each_number_of_rows_is_compiled_when_it_comes(parts, prepared):
    for part in parts:
        run = prepared[part.name].run
        for rows in (1, 3, 5, 1):
            inputs = repeat_rows(part, rows)
            expected = part.module(*inputs.values())[0]
            (found,) = run(inputs)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert list(run._requests)[-1] == 1
        assert len(run._requests) == MOST_PROGRAMS


def test_an_image_is_that_of_torch_on_any_number_of_threads(bench, prepared):
    def make(pipeline):
        stages = stages_for(pipeline, WORKLOAD)
        return stages.run_whole(["red apple"], stages.draw_noise([WORKLOAD.image(0)]))

    pipeline = bench.load()
    expected = make(pipeline)
    request = bench.request()
    engine = make_engine(request.choice, "cpu")
    use = attach_engine(pipeline, engine, request, guided=True)
    np.testing.assert_allclose(make(pipeline), expected, atol=1e-3)
    engine.set_threads(2)
    for run in engine._parts.values():
        for compiled in run._requests.values():
            program = compiled.get_compiled_model()
            assert program.get_property("INFERENCE_NUM_THREADS") == 2
            assert not program.get_property("ENABLE_CPU_PINNING")
    np.testing.assert_allclose(make(pipeline), expected, atol=1e-3)
    assert (use.name, use.provider, use.was_cached) == ("openvino", "CPU", True)
    assert use.version == openvino.__version__.partition("-")[0]
    assert use.model_bytes > 0


def test_what_a_call_gave_is_left_alone_by_the_next(parts, prepared):
    (unet,) = (part for part in parts if part.name == "unet")
    (first,) = prepared["unet"].run(unet.inputs)
    kept = first.clone()
    prepared["unet"].run({**unet.inputs, "timestep": torch.tensor([1.0])})
    torch.testing.assert_close(first, kept, atol=0, rtol=0)


def test_bf16_is_computed_in_bf16_and_keeps_35_db(bench):
    require_bf16()
    half = bench.split(bench.load(precision="bf16"), "vae_decoder")
    single = {part.name: part.module for part in bench.split(bench.load(), "vae_decoder")}
    _, prepared = bench.prepare(half, precision="bf16")
    (distance,) = measure_parity(half, prepared, single)
    assert FP16_PARITY_DB <= distance.psnr_db < FP32_PARITY_DB
    assert prepared["vae_decoder"].run(half[0].inputs)[0].dtype == torch.bfloat16


def test_weights_of_a_part_in_fp16_take_half_the_bytes(tmp_path):
    sizes = []
    for precision in ("fp16", "fp32"):
        path = tmp_path / precision / MODEL_NAME
        path.parent.mkdir()
        convert_part(make_small_part(DTYPES[precision]), path, half=precision == "fp16")
        sizes.append(path.with_suffix(".bin").stat().st_size)
    assert 0.45 < sizes[0] / sizes[1] < 0.6


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_a_format_that_the_processor_lacks_is_refused_in_one_message(name):
    with pytest.raises(EngineError, match=f"cannot run {name} on this processor") as told:
        require_arithmetic(Processor("FP32", "INT8"), name)
    assert told.value.got == "FP32, INT8"
    assert told.value.hint == "--sd-precision fp32"
    require_arithmetic(Processor("FP32", name.upper()), name)


def test_a_pipeline_in_another_format_than_was_asked_for_is_refused_too(monkeypatch):
    engine = make_engine(ENGINES["openvino"], "cpu")
    monkeypatch.setattr(engine, "_core", Processor("FP32", "INT8"))
    with pytest.raises(EngineError, match="cannot run fp16 on this processor"):
        engine.prepare([make_small_part(torch.float16)], None, print)


def test_running_in_another_format_is_never_silent(parts, prepared, monkeypatch):
    run = prepared["vae_decoder"].run
    real = run._core

    class Forgetful:
        def read_model(self, path):
            return real.read_model(path)

        def compile_model(self, model, device, settings):
            return real.compile_model(
                model, device, {**settings, "INFERENCE_PRECISION_HINT": "bf16"}
            )

    require_bf16()
    monkeypatch.setattr(run, "_core", Forgetful())
    with pytest.raises(EngineError, match="in another number format") as told:
        run._compile(7)
    assert (told.value.got, told.value.expected) == ("bf16", "fp32")


def test_another_size_is_refused_in_one_message(parts, prepared):
    (unet,) = (part for part in parts if part.name == "unet")
    inputs = dict(unet.inputs) | {"sample": torch.zeros(2, 4, 16, 16)}
    with pytest.raises(GenerationError, match="the unet was converted for another size") as told:
        prepared["unet"].run(inputs)
    assert "4x16x16" in told.value.got


def test_an_operator_that_cannot_be_converted_is_one_message(tmp_path):
    fancy = replace(make_small_part(), module=Called(lambda latents: torch.linalg.svd(latents)[1]))
    with pytest.raises(EngineError, match="the vae_decoder cannot be converted") as told:
        convert_part(fancy, tmp_path / MODEL_NAME)
    assert "aten._linalg_svd" in told.value.got
    assert len(str(told.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_loaded_is_one_message(tmp_path):
    (tmp_path / MODEL_NAME).write_text("no model")
    with pytest.raises(EngineError, match="cannot load the vae_decoder") as told:
        running.ProgramPart(openvino.Core(), tmp_path / MODEL_NAME, make_small_part(), 1)
    assert len(str(told.value).splitlines()) == 1


def test_a_file_that_cannot_be_written_is_an_error_of_the_disk(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Can't open bin file"):
        convert_part(make_small_part(), tmp_path / "file" / MODEL_NAME)


def test_a_disk_that_filled_up_leaves_no_conversion(tmp_path, monkeypatch):
    save = openvino.save_model

    def save_some(model, path, **settings):
        save(model, path, **settings)
        path.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes()[:50])

    monkeypatch.setattr(openvino, "save_model", save_some)
    with pytest.raises(OSError, match="bin"):
        convert_part(make_small_part(), tmp_path / MODEL_NAME)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_group_norms_are_written_out_and_are_torchs(offset):
    norm = torch.nn.GroupNorm(4, 12, eps=1e-5)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    image = torch.randn(2, 12, 8, 8, generator=torch.Generator().manual_seed(0)) + offset
    with quiet_export():
        model = read_program(torch.export.export(norm, (image,)))
    model.reshape(image.shape)
    assert spread_group_norms(model) == 1
    assert not [one for one in model.get_ops() if one.get_type_name() == "GroupNormalization"]
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = torch.from_numpy(compiled(image.numpy())[0])
    torch.testing.assert_close(found, norm(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("is_spread", "turned"), [(True, 2), (False, 6)])
def test_only_what_comes_and_goes_is_turned_round(is_spread, turned):
    def layer():
        return torch.nn.Conv2d(32, 32, 3, padding=1)

    norms = [torch.nn.GroupNorm(8, 32) for _ in range(2)]
    chain = torch.nn.Sequential(layer(), norms[0], layer(), norms[1], layer())
    shape = (1, 32, 16, 16)
    with quiet_export():
        model = read_program(torch.export.export(chain, (torch.zeros(shape),)))
    model.reshape(shape)
    if is_spread:
        assert spread_group_norms(model) == len(norms)
    program = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = [
        one
        for one in program.get_runtime_model().get_ops()
        if one.get_rt_info()["layerType"].get() == "Reorder"
        and tuple(one.get_output_shape(0)) == shape
    ]
    assert len(found) == turned
