import shutil

import pytest

pytest.importorskip("mlx.core", reason="MLX IS NOT TESTED: pip install 'sdperf[mlx]'")

import mlx.core as mx
from safetensors.torch import load_file, save_file

from sdperf.engines.attaching import make_engine
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.mlx.weights import (
    read_weights,
    rename_decoder_weight,
    rename_text_weight,
)
from sdperf.engines.parity import FP32_PARITY_DB, measure_parity
from sdperf.errors import ModelError

UNET = "unet/diffusion_pytorch_model.safetensors"
QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
KEY = QUERY.replace("to_q", "to_k")


@pytest.fixture
def changed(model, tmp_path):
    """Change the weights of a model's UNet; return the model, its part and the engine's."""

    def change(edit):
        found = model("sd")
        folder = shutil.copytree(found.resolved.folder, tmp_path / "model")
        weights = load_file(folder / UNET)
        edit(weights)
        save_file(weights, folder / UNET)
        return prepare_unet(found, folder)

    return change


def prepare_unet(found, folder):
    part = next(part for part in found.split() if part.name == "unet")
    request = found.at(folder).request()
    return part, make_engine(ENGINES["mlx"], "cpu").prepare([part], request, lambda _: None)


def test_whole_weights_pass_the_floor(changed):
    part, prepared = changed(lambda weights: None)
    (distance,) = measure_parity([part], prepared)
    assert distance.psnr_db >= FP32_PARITY_DB


def test_swapped_weights_are_seen(changed):
    def swap(weights):
        weights[QUERY], weights[KEY] = weights[KEY], weights[QUERY]

    part, prepared = changed(swap)
    (distance,) = measure_parity([part], prepared)
    assert distance.psnr_db < FP32_PARITY_DB


def test_a_missing_weight_is_named(changed):
    with pytest.raises(ModelError, match=f"unet lacks weights .* no {QUERY}"):
        changed(lambda weights: weights.pop(QUERY))


def test_a_weight_without_a_place_is_named(changed):
    def add(weights):
        weights |= {f"{KEY}.lora_{index}": weights[KEY].clone() for index in range(5)}

    with pytest.raises(ModelError, match=r"no place for; got: .*lora_0, .* and 2 more"):
        changed(add)


def test_a_weight_of_another_shape_is_named(changed):
    def cut(weights):
        weights[KEY] = weights[KEY][:, 1:].contiguous()

    with pytest.raises(ModelError, match=rf"another shape .* {KEY}: \(16, 15\)"):
        changed(cut)


def test_a_truncated_file_is_one_message(model, tmp_path):
    found = model("sd")
    folder = shutil.copytree(found.resolved.folder, tmp_path / "model")
    whole = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=f"{UNET} cannot be read by MLX"):
        prepare_unet(found, folder)


def test_weights_in_several_files_are_put_together(tmp_path):
    for name in ("a", "b"):
        mx.save_safetensors(str(tmp_path / name), {name: mx.ones(2)})
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    assert read_weights(paths).keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("text_model.encoder.layers.0.mlp.fc1.bias", "encoder.layers.0.mlp.fc1.bias"),
        ("encoder.layers.0.mlp.fc1.bias", "encoder.layers.0.mlp.fc1.bias"),
        ("text_model.embeddings.position_ids", None),
        ("text_projection.weight", "text_projection.weight"),
    ],
)
def test_text_encoders_of_all_times_are_read(name, place):
    assert rename_text_weight(name) == place


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("encoder.conv_in.weight", None),
        ("quant_conv.bias", None),
        ("post_quant_conv.bias", "post_quant_conv.bias"),
        ("decoder.mid_block.attentions.0.to_q.bias", "decoder.mid_block.attentions.0.to_q.bias"),
        ("decoder.mid_block.attentions.0.query.bias", "decoder.mid_block.attentions.0.to_q.bias"),
        (
            "decoder.mid_block.attentions.0.proj_attn.weight",
            "decoder.mid_block.attentions.0.to_out.0.weight",
        ),
        (
            "decoder.mid_block.attentions.0.group_norm.weight",
            "decoder.mid_block.attentions.0.group_norm.weight",
        ),
    ],
)
def test_vaes_of_all_times_are_read(name, place):
    assert rename_decoder_weight(name) == place
