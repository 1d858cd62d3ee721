"""How many weights a model has is read from its files' headers, without torch."""

import json
import struct

import pytest

from sdperf.models.headers import check_safetensors
from sdperf.models.loader import resolve_model


def test_the_weights_of_a_folder_are_counted(tiny_folder):
    from diffusers import DiffusionPipeline

    folder = tiny_folder("sd")
    pipeline = DiffusionPipeline.from_pretrained(folder)
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    held = sum(weight.numel() for network in networks for weight in network.parameters())
    assert resolve_model(str(folder)).weights == held


@pytest.mark.parametrize(
    ("dtype", "shape", "weights"),
    [
        ("F32", [2, 3], 6),
        ("BF16", [2, 3], 6),
        ("F16", [], 1),
        ("I64", [77], 0),  # CLIP's position_ids
        ("U8", [6], None),  # two weights of four bits each, for all anyone knows
        ("I32", [6], None),
        ("F32", [-2, 3], None),
        ("F32", "six", None),
    ],
)
def test_what_may_be_packed_is_not_counted(tmp_path, dtype, shape, weights):
    file = tmp_path / "x.safetensors"
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "x": entry}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    assert check_safetensors(file, "x.safetensors") == weights
