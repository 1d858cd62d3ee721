"""Networks of every shape that Stable Diffusion 1.x, 2.x and XL come in, held against torch."""

import numpy as np
import pytest
import torch

pytest.importorskip("mlx.core", reason="MLX IS NOT TESTED: pip install 'sdperf[mlx]'")

import mlx.core as mx
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from evidence.mapped_pipelines.parts import clip_config, make_vae
from sdperf.engines.mlx.clip import TextEncoder, parse_text_configuration
from sdperf.engines.mlx.layers import silu
from sdperf.engines.mlx.tensors import to_mlx
from sdperf.engines.mlx.unet import UNet
from sdperf.engines.mlx.unet_configuration import parse_unet_configuration
from sdperf.engines.mlx.vae import VAEDecoder, parse_decoder_configuration
from sdperf.engines.mlx.weights import (
    fill_module,
    keep_name,
    rename_decoder_weight,
    rename_text_weight,
)
from sdperf.errors import EngineError, GenerationError
from sdperf.images.component import compute_component_distance

CROSS, PLAIN = "CrossAttn{}Block2D", "{}Block2D"
UNET = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
THREE = {
    "block_out_channels": (8, 8, 16),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
SIZES = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 6 + 6 * 4,
}
UNETS = {
    "1.x": {},
    "2.x": {"use_linear_projection": True, "attention_head_dim": (1, 2)},
    "xl": {**THREE, **SIZES, "transformer_layers_per_block": (1, 2, 3)},
    "without a middle": {"mid_block_type": None},
    "distilled": {
        **THREE,
        "layers_per_block": (1, 2, 1),
        "transformer_layers_per_block": [1, [2, 1], 1],
        "reverse_transformer_layers_per_block": [[1, 2], [2, 1, 1], 1],
    },
    "sines first": {"flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-3},
    "inpainting": {"in_channels": 9},
}


def with_random_weights(network):
    """Make every weight count, those too that begin as zeros and ones."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return network.eval()


def weights_of(network):
    return {name: to_mlx(weight) for name, weight in network.state_dict().items()}


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def nhwc(tensor):
    return to_mlx(tensor).transpose(0, 2, 3, 1)


def assert_equal(expected, found):
    distance = compute_component_distance("part", "output", expected.numpy(), np.array(found))
    assert distance.psnr_db is None or distance.psnr_db >= 90, distance


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (7, 10)], ids=["even", "odd"])
@pytest.mark.parametrize("shape", UNETS.values(), ids=UNETS)
def test_a_unet(shape, size):
    reference = with_random_weights(UNet2DConditionModel(**{**UNET, **shape}))
    unet = UNet(parse_unet_configuration(reference.config))
    weights = weights_of(reference)
    fill_module(unet, weights, keep_name, component="unet", dtype=mx.float32)
    sample, context = draw(2, unet.config.in_channels, *size), draw(2, 5, 12)
    added = {"text_embeds": draw(2, 6), "time_ids": draw(2, 6).abs() * 900}
    added = added if "addition_embed_type" in shape else {}
    time = torch.tensor([981.0])
    (expected,) = reference(
        sample, time, context, added_cond_kwargs=added or None, return_dict=False
    )
    others = [to_mlx(one) for one in (time, context, *added.values())]
    assert_equal(expected, unet(nhwc(sample), *others).transpose(0, 3, 1, 2))


@torch.no_grad()
@pytest.mark.parametrize(
    "shape", [{}, {"mid_block_add_attention": False, "use_post_quant_conv": False}]
)
def test_a_decoder(shape):
    reference: AutoencoderKL = with_random_weights(make_vae(**shape))
    decoder = VAEDecoder(parse_decoder_configuration(reference.config))
    weights = weights_of(reference)
    fill_module(decoder, weights, rename_decoder_weight, component="vae", dtype=mx.float32)
    latents = draw(1, 4, 6, 5)
    (expected,) = reference.decode(latents, return_dict=False)
    assert_equal(expected, decoder(nhwc(latents)).transpose(0, 3, 1, 2))


@torch.no_grad()
@pytest.mark.parametrize("end_id", [513, 2], ids=["the end", "the end of old"])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("kind", [CLIPTextModel, CLIPTextModelWithProjection])
def test_a_text_encoder(kind, activation, end_id):
    config = clip_config(24)
    config.hidden_act, config.eos_token_id, config.projection_dim = activation, end_id, 20
    reference = with_random_weights(kind(config))
    projects = kind is CLIPTextModelWithProjection
    encoder = TextEncoder(parse_text_configuration(config.to_dict(), has_projection=projects))
    weights = weights_of(reference)
    fill_module(encoder, weights, rename_text_weight, component="text", dtype=mx.float32)
    ids = torch.tensor([[512, 3, 9, 513, 513], [512, 7, 513, 513, 513]])
    expected = reference(ids, output_hidden_states=True)
    found = encoder(to_mlx(ids))
    assert_equal(expected.last_hidden_state, found.last)
    for layer, hidden in zip(expected.hidden_states, found.hidden_states, strict=True):
        assert_equal(layer, hidden)
    if projects:
        assert_equal(expected.text_embeds, found.projected)
    else:
        assert found.projected is None
        assert_equal(expected.pooler_output, found.pooled)


def test_an_xl_unet_without_its_sizes_is_refused():
    unet = UNet(parse_unet_configuration({**UNET, **SIZES}))
    with pytest.raises(GenerationError, match="without the prompt's pooled embedding"):
        unet(mx.zeros((1, 8, 8, 4)), mx.array([1.0]), mx.zeros((1, 5, 12)))


def test_activations_need_no_compiler():
    values = draw(40) * 4
    assert_equal(torch.nn.functional.silu(values), silu(to_mlx(values)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"down_block_types": ("SimpleCrossAttnDownBlock2D", "DownBlock2D")}, "SimpleCrossAttn"),
        ({"mid_block_type": "UNetMidBlock2D"}, "mid_block_type: UNetMidBlock2D"),
        ({"time_cond_proj_dim": 256}, "time_cond_proj_dim: 256"),
        ({"resnet_time_scale_shift": "scale_shift"}, "scale_shift"),
        ({"only_cross_attention": [False, True]}, "only_cross_attention"),
        ({"an_entry_of_tomorrow": 3}, "an_entry_of_tomorrow: 3"),
        ({"block_out_channels": (8, 16, 32)}, "block_out_channels"),
        ({"norm_num_groups": None}, "norm_num_groups: None"),
        ({"transformer_layers_per_block": [1]}, "transformer_layers_per_block"),
        ({"transformer_layers_per_block": [[], 1]}, "transformer_layers_per_block"),
        ({"up_block_types": ("UpBlock2D",)}, "up_block_types: 1"),
        ({"down_block_types": None}, "down_block_types: None"),
        ({**SIZES, "addition_time_embed_dim": None}, "addition_time_embed_dim: None"),
    ],
)
def test_a_unet_of_another_kind_is_one_message(change, named):
    with pytest.raises(EngineError, match="cannot run this UNet") as caught:
        parse_unet_configuration({**UNET, **change})
    assert named in str(caught.value)
    assert "--sd-engine torch" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"up_block_types": ["AttnUpDecoderBlock2D"]}, "AttnUpDecoderBlock2D"),
        ({"act_fn": "mish"}, "act_fn: mish"),
        ({"block_out_channels": ()}, "block_out_channels"),
        ({"mid_block_add_attention": "yes"}, "mid_block_add_attention: yes"),
    ],
)
def test_a_vae_of_another_kind_is_one_message(change, named):
    with pytest.raises(EngineError, match="cannot run this VAE") as caught:
        parse_decoder_configuration({**make_vae().config, **change})
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "t5"}, "model_type: t5"),
        ({"hidden_act": "relu"}, "hidden_act: relu"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps: small"),
    ],
)
def test_a_text_encoder_of_another_kind_is_one_message(change, named):
    entries = {**clip_config().to_dict(), **change}
    with pytest.raises(EngineError, match="cannot run this text encoder") as caught:
        parse_text_configuration(entries, has_projection=False)
    assert named in str(caught.value)
