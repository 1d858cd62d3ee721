"""From a part of a pipeline to the MLX network that computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import mlx.core as mx
import mlx.nn as nn

from sdperf.engines.mlx.clip import EncodedText, TextEncoder, parse_text_configuration
from sdperf.engines.mlx.unet import UNet
from sdperf.engines.mlx.unet_configuration import parse_unet_configuration
from sdperf.engines.mlx.vae import VAEDecoder, parse_decoder_configuration
from sdperf.engines.mlx.weights import (
    Rename,
    fill_module,
    keep_name,
    read_weights,
    rename_decoder_weight,
    rename_text_weight,
)
from sdperf.engines.protocol import Part, PartName
from sdperf.models.loader import ResolvedModel

Compute = Callable[..., tuple[mx.array, ...]]
"""Takes a part's inputs in order, and returns its outputs in order, all in torch's layout."""

_FOLDERS: Final[Mapping[PartName, str]] = {"vae_decoder": "vae"}
"""Folder of a part's weights, where it is not named after the part."""


def build_network(part: Part, model: ResolvedModel, dtype: mx.Dtype) -> tuple[nn.Module, Compute]:
    """Build the network of a part with its weights from the model's files.

    Args:
        part: The part.
        model: The model with its files.
        dtype: Float format of the weights and of the computation.

    Returns:
        The network, and the function that runs it as the part's own module runs.

    Raises:
        EngineError: The network computes something that is not written here.
        ModelError: The files do not hold its weights.
    """
    network, rename, compute = _choose(part)
    fill_module(
        network,
        read_weights(_weight_files(part.name, model)),
        rename,
        component=part.name,
        dtype=dtype,
    )
    return network, compute


def _weight_files(name: PartName, model: ResolvedModel) -> list[Path]:
    folder = f"{_FOLDERS.get(name, name)}/"
    return [
        model.folder / file
        for file in model.files
        if file.startswith(folder) and file.endswith(".safetensors")
    ]


def _choose(part: Part) -> tuple[nn.Module, Rename, Compute]:
    config = part.network.config
    if part.name == "unet":
        unet = UNet(parse_unet_configuration(config))
        return unet, keep_name, _predict_with(unet)
    if part.name == "vae_decoder":
        decoder = VAEDecoder(parse_decoder_configuration(config))
        return decoder, rename_decoder_weight, _decode_with(decoder)
    shape = parse_text_configuration(
        config.to_dict(), has_projection=hasattr(part.network, "text_projection")
    )
    encoder = TextEncoder(shape)
    return encoder, rename_text_weight, _encode_with(encoder, part.outputs)


def _predict_with(unet: UNet) -> Compute:
    def predict(sample: mx.array, *others: mx.array) -> tuple[mx.array, ...]:
        return (_to_nchw(unet(_to_nhwc(sample), *others)),)

    return predict


def _decode_with(decoder: VAEDecoder) -> Compute:
    def decode(latents: mx.array) -> tuple[mx.array, ...]:
        return (_to_nchw(decoder(_to_nhwc(latents))),)

    return decode


def _encode_with(encoder: TextEncoder, outputs: tuple[str, ...]) -> Compute:
    def encode(input_ids: mx.array) -> tuple[mx.array, ...]:
        encoded = encoder(input_ids)
        return tuple(_pick(encoded, name) for name in outputs)

    return encode


def _pick(encoded: EncodedText, output: str) -> mx.array:
    """Find an output by the name that parts give it."""
    if output == "penultimate":
        return encoded.hidden_states[-2]
    if output == "text_embeds" and encoded.projected is not None:
        return encoded.projected
    return encoded.last


def _to_nhwc(array: mx.array) -> mx.array:
    return array.transpose(0, 2, 3, 1)


def _to_nchw(array: mx.array) -> mx.array:
    return array.transpose(0, 3, 1, 2)
