import copy
import dataclasses
import json

import pytest
import torch

pytest.importorskip("coremltools", reason="CORE ML IS NOT TESTED: pip install 'sdperf[coreml]'")

from evidence.coreml_conversion import pictures
from evidence.coreml_conversion.__main__ import describe_conversion, read_rows
from evidence.coreml_conversion.palettes import count_held, round_weights
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.coreml.converting import convert_part
from sdperf.engines.coreml.settings import read_settings
from sdperf.engines.parts import split_pipeline
from tests.support import tiny_pipelines
from tests.support.engine_bench import shrink
from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]


def test_a_row_tells_the_bytes_and_operators_of_a_program(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    parts = split_pipeline(pipeline, family="sd", height=32, width=32, guided=True)
    row = describe_conversion(parts[0], "coreml", half=True)
    assert row["part"] == "text_encoder"
    assert row["linear"] == 2 * 6
    assert row["conversion_s"] > 0
    assert row["package_bytes"] > 0.5 * row["weights_bytes"]


def test_rows_of_the_same_model_and_versions_are_kept(tmp_path):
    path, versions = tmp_path / "rows.json", {"code": "1"}
    assert read_rows(path, "a", versions) == []
    rows = [{"engine": "coreml", "part": "unet"}]
    document = {"model_hash": "a", "versions": versions, "conversions": rows}
    path.write_text(json.dumps(document))
    assert read_rows(path, "a", versions) == rows
    assert read_rows(path, "b", versions) == []
    assert read_rows(path, "a", {"code": "2"}) == []


class Kernels(torch.nn.Module):
    """Two convolutions: one whose channels make groups of 16, one whose channels do not."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Conv2d(4, 96, 3, padding=1)
        self.outer = torch.nn.Conv2d(96, 4, 3, padding=1)

    def forward(self, sample):
        return (self.outer(self.inner(sample)),)


@pytest.fixture(scope="module")
def kernels_part(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    parts = split_pipeline(pipeline, family="sd", height=32, width=32, guided=True)
    (unet,) = (part for part in parts if part.name == "unet")
    inputs = {"sample": unet.inputs["sample"]}
    kernels = Kernels().eval()
    changed = {"module": kernels, "network": kernels, "inputs": inputs, "fixed": frozenset()}
    return dataclasses.replace(unet, **changed)


@pytest.mark.parametrize(("name", "count"), [("coreml-6bit", 2), ("coreml-4bit", 1)])
def test_a_package_holds_the_palettes_that_torch_computes_with(kernels_part, name, count):
    row = describe_conversion(kernels_part, name, half=True)
    assert row["constexpr_lut_to_dense"] == count
    assert row["palettes_in_torch"] == row["palettes_as_in_torch"] == count


def test_another_palette_is_not_found_in_a_package(kernels_part, tmp_path):
    settings = read_settings(ENGINES["coreml-6bit"])
    package = convert_part(kernels_part, settings, half=True, folder=tmp_path)
    assert count_held(package, kernels_part.network, 6) == (2, 2)
    assert count_held(package, kernels_part.network, 4) == (0, 1)


def test_rounding_in_torch_is_that_of_the_palettes():
    network = Kernels()
    plain = copy.deepcopy(network)
    assert round_weights(network, None) == 0
    assert torch.equal(network.inner.weight, plain.inner.weight.half().float())
    assert round_weights(network, 4) == 1
    assert len(network.inner.weight[:16].unique()) == 16
    assert torch.equal(network.outer.weight, plain.outer.weight.half().float())
    assert network.inner.weight.dtype == torch.float32


def test_pictures_of_fewer_bits_are_further_away(tiny_folder, tmp_path, capsys):
    path = tmp_path / "pictures.json"
    small = shrink(tiny_pipelines.take(tiny_folder("sd")), "sd", torch.float32)
    small.unet.register_to_config(sample_size=16)
    folder = tiny_pipelines.save(small, tmp_path / "small")
    typed = ["--model", str(folder), "--prompts", "1", "--steps", "2"]
    pictures.main([*typed, "--json", str(path)])
    document = json.loads(path.read_text())
    assert "no Core ML" in document["computed_in"]
    halved, six, four = document["results"]
    assert [one["bits"] for one in document["results"]] == [None, 6, 4]
    assert halved["palettised_weights"] == 0 < six["palettised_weights"]
    (halved_db, six_db, four_db) = (
        {each["component"]: each["psnr_db"] for each in one["components"]}["unet"]
        for one in (halved, six, four)
    )
    assert halved_db > 60 > six_db > four_db
    assert all(0 < one["worst_ssim"] <= 1 for one in document["results"])
    assert "6 bits: unet" in capsys.readouterr().out
