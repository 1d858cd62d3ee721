"""The engine around a Core ML that is not there: each program is the part's own torch module."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("coremltools", reason="CORE ML IS NOT TESTED: pip install 'sdperf[coreml]'")

from sdperf.engines.attaching import make_engine
from sdperf.engines.cache import EngineCache
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.coreml import engine as engine_module
from sdperf.engines.coreml.engine import COMPILED_NAME, CoreMlEngine
from sdperf.engines.coreml.running import CoreMlPart
from sdperf.engines.coreml.settings import CoreMlSettings, read_settings
from sdperf.engines.parity import measure_parity
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import EngineRequest
from sdperf.errors import EngineError, GenerationError
from tests.support import tiny_pipelines

NAMES = [name for name in ENGINES if ENGINES[name].module == "sdperf.engines.coreml"]


class TorchProgram:
    """Takes and gives what a converted program does, of fixed shapes."""

    def __init__(self, part):
        self._part, self.calls = part, []

    @torch.no_grad()
    def predict(self, data):
        self.calls.append(data)
        for name, array in data.items():
            rows = 1 if name in self._part.fixed else self._part.rows
            assert len(array) == rows
            assert array.dtype in (np.float32, np.int32)
            assert array.flags.c_contiguous
        found = self._part.module(*(torch.from_numpy(data[name]) for name in self._part.inputs))
        return {name: one.numpy() for name, one in zip(self._part.outputs, found, strict=True)}


class FakeSystem:
    """A Mac that keeps the name of what was compiled, and runs the part instead."""

    def __init__(self, parts):
        self._programs = iter([TorchProgram(part) for part in parts])
        self.compiled, self.units = [], []

    def compile(self, package, target):
        assert package.is_dir()
        target.mkdir()
        (target / "coremldata.bin").write_bytes(b"compiled")
        self.compiled.append(target)

    def open(self, compiled, units):
        assert (compiled / "coremldata.bin").is_file()
        self.units.append(units)
        return next(self._programs)


@pytest.fixture(scope="module")
def resolved(tiny_folder):
    return tiny_pipelines.resolve(tiny_folder("sdxl"))


@pytest.fixture(scope="module")
def parts(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sdxl"))
    found = split_pipeline(pipeline, family="sdxl", height=32, width=32, guided=True)
    return {part.name: part for part in found}


@pytest.fixture
def request_for(resolved, tmp_path):
    def make(name="coreml", precision="fp32", **changed):
        request = EngineRequest(
            choice=ENGINES[name],
            model=resolved,
            family="sdxl",
            precision=precision,
            device="mps",
            height=32,
            width=32,
            threads=1,
            cache=EngineCache(tmp_path / "conversions"),
        )
        return replace(request, **changed)

    return make


@pytest.fixture
def converted(monkeypatch):
    """Converting takes seconds and is tested beside: here it writes a folder."""
    asked = []

    def convert(part, settings, *, half, folder):
        asked.append((part.name, settings, half))
        package = folder / "model.mlpackage"
        package.mkdir()
        (package / "weight.bin").write_bytes(b"weights")
        return package

    monkeypatch.setattr(engine_module, "convert_part", convert)
    return asked


def test_parts_are_converted_once_and_then_found(parts, request_for, converted):
    request, said = request_for(), []
    for was_cached in (False, True):
        system = FakeSystem(parts.values())
        engine = CoreMlEngine(ENGINES["coreml"], system)
        prepared = engine.prepare(list(parts.values()), request, said.append)
        assert prepared.keys() == parts.keys()
        assert {one.was_cached for one in prepared.values()} == {was_cached}
        assert len(system.compiled) == (0 if was_cached else len(parts))
        assert {one.model_bytes for one in prepared.values()} == {len(b"compiled")}
        assert all(one.conversion_s is not None for one in prepared.values())
        assert set(system.units) == {"cpu_and_gpu"}
    assert [name for name, _, _ in converted] == list(parts)
    assert "coreml: compiling the unet" in said
    assert engine.provider == "Core ML cpu_and_gpu"


def test_other_settings_are_another_conversion(parts, request_for, converted):
    part = parts["unet"]
    for name in NAMES:
        engine = CoreMlEngine(ENGINES[name], FakeSystem([part]))
        request = request_for(name, "fp16")
        assert not engine.prepare([part], request, lambda _: None)["unet"].was_cached
    assert len({settings for _, settings, _ in converted}) == len(NAMES)


def test_where_it_runs_is_no_other_conversion(parts, request_for, converted):
    part = parts["unet"]
    for units, was_cached in (("cpu_and_gpu", False), ("all", True)):
        choice = replace(ENGINES["coreml"], options={"units": units})
        engine = CoreMlEngine(choice, FakeSystem([part]))
        prepared = engine.prepare([part], request_for(choice=choice), lambda _: None)
        assert prepared["unet"].was_cached is was_cached


def test_only_what_overflows_stays_in_32_bits(parts, request_for, converted):
    engine = CoreMlEngine(ENGINES["coreml"], FakeSystem(parts.values()))
    engine.prepare(list(parts.values()), request_for(precision="fp16"), lambda _: None)
    assert {name for name, _, half in converted if not half} == {"vae_decoder"}


def test_parts_run_with_the_numbers_of_their_program(parts, request_for, converted):
    engine = CoreMlEngine(ENGINES["coreml"], FakeSystem(parts.values()))
    prepared = engine.prepare(list(parts.values()), request_for(), lambda _: None)
    for distance in measure_parity(parts.values(), prepared):
        assert distance.psnr_db is None or distance.psnr_db > 100


@pytest.mark.parametrize(("rows", "calls"), [(1, 1), (2, 1), (3, 2), (6, 3)])
def test_rows_are_run_in_shares_and_put_together(parts, rows, calls):
    part = parts["unet"]
    program = TorchProgram(part)
    inputs = {
        name: one if name in part.fixed else torch.cat([one, one * 0.5, one - 1])[:rows]
        for name, one in part.inputs.items()
    }
    (found,) = CoreMlPart(program, part)(inputs)
    with torch.no_grad():
        (expected,) = part.module(*inputs.values())
    assert len(program.calls) == calls
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_failing_program_is_one_message(parts):
    class Failing:
        def predict(self, data):
            raise RuntimeError("Unable to compute the prediction")

    with pytest.raises(GenerationError, match="Core ML could not run the unet"):
        CoreMlPart(Failing(), parts["unet"])(parts["unet"].inputs)


@pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac")
def test_elsewhere_than_on_a_mac_nothing_is_converted(parts, request_for, converted):
    engine = make_engine(ENGINES["coreml"], "mps")
    with pytest.raises(EngineError, match="runs on Apple's systems only"):
        engine.prepare(list(parts.values()), request_for(), lambda _: None)
    assert not converted


@pytest.mark.parametrize("name", NAMES)
def test_every_named_setting_can_be_read(name):
    settings = read_settings(ENGINES[name])
    assert (settings.bits is not None) is ENGINES[name].fewer_bits


@pytest.mark.parametrize("option", [{"units": "gpu"}, {"bits": "3"}, {"attention": "flash"}])
def test_a_setting_that_does_not_exist_is_one_message(option):
    with pytest.raises(EngineError, match="has no such"):
        read_settings(replace(ENGINES["coreml"], options=option))


def test_nothing_said_is_the_plain_setting():
    choice = replace(ENGINES["coreml"], options={})
    assert read_settings(choice) == CoreMlSettings(attention="plain", units="all", bits=None)


def test_what_was_compiled_lies_beside_its_package(parts, request_for, converted):
    request = request_for()
    system = FakeSystem([parts["unet"]])
    engine = CoreMlEngine(ENGINES["coreml"], system)
    engine.prepare([parts["unet"]], request, lambda _: None)
    (entry,) = request.cache.list_entries()
    names = {name.split("/")[0] for name in entry.manifest.files}
    assert names == {"model.mlpackage", COMPILED_NAME}
    assert entry.manifest.options["attention"] == "plain"
