"""How many weights a model has is read from its files' headers, without torch."""

import json
import math
import struct

import pytest

from sdperf.errors import ModelError
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
    ],
)
def test_what_may_be_packed_is_not_counted(tmp_path, dtype, shape, weights):
    size_bytes = math.prod(shape) * {"F32": 4, "I32": 4, "I64": 8, "U8": 1}.get(dtype, 2)
    file = write_header(tmp_path, {"x": (dtype, shape, [0, size_bytes])}, size_bytes)
    assert check_safetensors(file, "x.safetensors") == weights


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("F32", [10**400]),
        ("F32", [10**15]),
        ("F16", [10**4000] * 500),
        ("F32", [5]),
        ("F32", []),
        ("F32", [0, 10**400]),
        ("U8", [6]),
        ("F32", [-2, -3]),
        ("F32", "six"),
        ("F32", [6.0]),
    ],
)
def test_a_shape_that_does_not_match_its_bytes_is_one_message(tmp_path, dtype, shape):
    file = write_header(tmp_path, {"x": (dtype, shape, [0, 24])}, 24)
    with pytest.raises(ModelError, match="a tensor's shape does not match its bytes") as caught:
        check_safetensors(file, "x.safetensors")
    assert len(str(caught.value)) < 300


def test_tensors_that_share_their_bytes_are_not_counted_twice(tmp_path):
    file = write_header(tmp_path, {"x": ("F32", [6], [0, 24]), "y": ("F32", [6], [0, 24])}, 24)
    with pytest.raises(ModelError, match="overlap or leave gaps"):
        check_safetensors(file, "x.safetensors")


def write_header(tmp_path, tensors, data_bytes):
    file = tmp_path / "x.safetensors"
    entries = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        for name, (dtype, shape, offsets) in tensors.items()
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(data_bytes))
    return file
