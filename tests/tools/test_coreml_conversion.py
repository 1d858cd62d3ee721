import json

import pytest

pytest.importorskip("coremltools", reason="CORE ML IS NOT TESTED: pip install 'sdperf[coreml]'")

from sdperf.engines.parts import split_pipeline
from tests import tiny_pipelines
from tests.tiny_pipelines import tiny_folder
from tools.coreml_conversion.__main__ import describe_conversion, read_rows

__all__ = ["tiny_folder"]


def test_a_row_tells_the_bytes_and_operators_of_a_program(tiny_folder):
    pipeline = tiny_pipelines.load(tiny_folder("sd"))
    parts = split_pipeline(pipeline, family="sd", height=32, width=32, guided=True)
    row = describe_conversion(parts[0], "coreml", half=True)
    assert row["part"] == "text_encoder"
    assert row["linear"] == 2 * 6
    assert row["conversion_s"] > 0
    assert row["package_bytes"] > 0.5 * row["weights_bytes"]


def test_rows_of_the_same_model_are_kept(tmp_path):
    path = tmp_path / "rows.json"
    assert read_rows(path, "a") == []
    rows = [{"engine": "coreml", "part": "unet"}]
    path.write_text(json.dumps({"model_hash": "a", "conversions": rows}))
    assert read_rows(path, "a") == rows
    assert read_rows(path, "b") == []
