"""Weights stored in fewer bits, through torchao: all networks of a pipeline, in place.

Every layer with a matrix of weights is changed, so that the pipeline's bytes shrink and not only
its denoiser's. In the denoiser's repeated blocks, where nearly all products of many tokens are, a
quantisation may also choose how products are computed; everywhere else weights are int8 and are
turned back into the activations' format when they are used.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from sdperf.errors import ConfigurationError
from sdperf.models.known_warnings import torchao_quiet
from sdperf.pipeline.families import is_separable
from sdperf.pipeline.optimisations.compiling import find_repeated_blocks
from sdperf.pipeline.optimisations.cuda_graphs import casts_vae
from sdperf.pipeline.optimisations.encoder import let_encoder_go
from sdperf.pipeline.optimisations.entries import EXTRA
from sdperf.settings import PRECISION

INT4_GROUP: Final = 32
"""How many weights share a scale and a zero point."""

_INT4_TILE: Final = 1024
"""The CUDA kernel pads each row of int4 weights to a multiple of this many."""

_INT4_ROWS: Final = 16
"""Both kernels take rows of weights in multiples of this many."""

_FLOAT8_MULTIPLE: Final = 16
"""The float8 product takes matrices whose sides are multiples of this."""

_INT8_LARGEST: Final = 127
_FP16_HEADROOM: Final = 64.0

Quantise = Callable[[ModuleType, nn.Linear], bool]
"""Quantises a layer in place; returns whether it could."""


def quantise_networks(pipeline: Any, denoiser: Any, name: str) -> None:
    """Quantise the weights of all networks of a pipeline, in place.

    A VAE that is cast for each image keeps its weights: casting needs them in one format. The VAE's
    encoder is dropped where the pipeline's call is known to make images from text only.

    Args:
        pipeline: A `diffusers.DiffusionPipeline` on its device.
        denoiser: Its network that denoises.
        name: The optimisation: ``int8_weights``, ``int8_dynamic``, ``int4_weights``, ``float8``, or
            ``float8_blocks``, which changes only the denoiser's blocks.

    Raises:
        ConfigurationError: The weights have a format that the quantisation does not take, torchao
            is missing or cannot be used, or the denoiser has no layers whose products the
            quantisation could compute.
    """
    if name == "float8_blocks" and denoiser.dtype != torch.bfloat16:
        raise ConfigurationError(
            "float8_blocks takes weights in bf16: torchao scales rows of no other format",
            got=str(denoiser.dtype).removeprefix("torch."),
            hint=f"{PRECISION} bf16, or float8 instead",
        )
    quantisation = _import_torchao(name)
    in_blocks = {
        "int8_weights": None,
        "int8_dynamic": _multiply_in_int8,
        "int4_weights": _store_int4,
        "float8": _multiply_in_float8,
        "float8_blocks": _multiply_rows_in_float8,
    }[name]
    if in_blocks is not None:
        done = [in_blocks(quantisation, layer) for layer in find_block_linears(denoiser)]
        if not any(done):
            raise ConfigurationError(
                f"{name} finds no layer in {type(denoiser).__name__} that it could change",
                got=f"{len(done)} linear layers in repeated blocks, none of a fitting size",
                hint="use int8_weights, which changes any layer",
            )
    if name == "float8_blocks":
        return
    if is_separable(pipeline):
        let_encoder_go(pipeline.vae, name)
    stored: dict[int, nn.Parameter] = {}
    for network in pipeline.components.values():
        keeps = network is getattr(pipeline, "vae", None) and casts_vae(pipeline)
        if isinstance(network, nn.Module) and not keeps:
            for layer in network.modules():
                _store_int8(quantisation, layer, stored)


def find_block_linears(denoiser: nn.Module) -> list[nn.Linear]:
    """List the linear layers of a denoiser's repeated blocks that see every token.

    Layers inside normalisations get one row per image and are left out: the integer product needs
    more than 16 rows, and there is no gain.
    """
    repeated = find_repeated_blocks(denoiser)
    blocks = (block for block in denoiser.modules() if type(block).__name__ in repeated)
    return [
        layer
        for block in blocks
        for path, layer in block.named_modules()
        if isinstance(layer, nn.Linear) and "norm" not in path
    ]


def _import_torchao(name: str) -> ModuleType:
    try:
        with torchao_quiet():
            from torchao import quantization
    except ImportError as error:
        raise ConfigurationError(
            f"{name} needs torchao, which is not installed or does not fit this torch",
            got=f"{type(error).__name__}: {error}",
            expected=f"torchao beside torch {torch.__version__}",
            hint=f"pip install 'sdperf[{EXTRA}]'",
        ) from error
    # Inductor's warning on keys of its cache, once per process; nothing is cached wrongly.
    warnings.filterwarnings("ignore", ".*_stable_hash_for_caching", UserWarning)
    found: ModuleType = quantization
    return found


def _store_int8(
    quantisation: ModuleType, layer: nn.Module, stored: dict[int, nn.Parameter]
) -> None:
    """Store a layer's weights in int8, one scale for each output channel.

    Args:
        quantisation: ``torchao.quantization``.
        layer: Any module; changed where it is linear, a 2D convolution or an embedding and is not
            quantised yet.
        stored: Quantised weights that several layers share, by the id of the original.
    """
    if not isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
        return
    weight = layer.weight
    if hasattr(weight, "__tensor_flatten__"):
        return
    if id(weight) not in stored:
        stored[id(weight)] = nn.Parameter(_round(quantisation, weight.detach()), False)
    layer.weight = stored[id(weight)]
    if isinstance(layer, nn.Embedding):
        layer.forward = functools.partial(_look_up, layer)  # type: ignore[method-assign]


def _round(quantisation: ModuleType, weight: torch.Tensor) -> torch.Tensor:
    """Round a weight to int8 with a scale in 16 bits for each output channel.

    The scale is rounded from float32 before the weight is, so that its own rounding costs nothing.
    torchao would limit scales of 16-bit weights to their format's epsilon, which is far too high.
    """
    plain = weight.float()
    largest = plain.abs().amax(tuple(range(1, plain.ndim)), keepdim=True)
    scales = (largest / _INT8_LARGEST).to(
        torch.bfloat16 if weight.dtype == torch.float32 else weight.dtype
    )
    scales = torch.where(scales > 0, scales, torch.ones_like(scales))
    int8: Any = quantisation.IntxUnpackedToInt8Tensor.from_hp(
        plain,
        (1, *plain.shape[1:]),
        torch.int8,
        intx_choose_qparams_algorithm=None,
        custom_scale=scales.float(),
        custom_zero_point=torch.zeros_like(scales, dtype=torch.int8),
    ).to(weight.dtype)
    int8.scale = scales
    rounded: torch.Tensor = int8
    return rounded


def _look_up(layer: nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    """Convert only the requested rows back; torchao would convert the whole table."""
    table: Any = layer.weight
    rows = functional.embedding(ids, table.qdata.view(torch.uint8)).view(torch.int8)
    scales = functional.embedding(ids, table.scale)
    return rows.to(table.dtype) * scales


def _multiply_in_int8(quantisation: ModuleType, layer: nn.Linear) -> bool:
    """Multiply in int8, with a scale for each row of weights and of activations."""
    config = quantisation.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    quantisation.quantize_(layer, config)
    if layer.weight.dtype == torch.float16:
        # torchao rounds the product to fp16 before it applies the weights' scale, where values of
        # a few dozen overflow: what is taken from the activations is given back by that scale.
        weight: Any = layer.weight
        weight.act_pre_scale = torch.tensor(1 / _FP16_HEADROOM, device=weight.device)
        weight.scale = weight.scale * _FP16_HEADROOM
    return True


def _store_int4(quantisation: ModuleType, layer: nn.Linear) -> bool:
    """Store weights in 4 bits where the kernels take them and that is smaller than 8 bits."""
    rows, columns = layer.weight.shape
    if rows % _INT4_ROWS or columns % INT4_GROUP:
        return False
    if layer.weight.device.type == "cuda":
        padded = -columns % _INT4_TILE + columns
        if padded >= 2 * columns:
            return False
        packing = quantisation.Int4TilePackedTo4dTensor
        weight = layer.weight.detach().to(torch.bfloat16)  # the one format of its kernel
    else:
        from torchao.prototype.quantization.int4.int4_opaque_tensor import Int4OpaqueTensor

        packing, weight = Int4OpaqueTensor, layer.weight.detach()
    packed = packing.from_hp(weight, [1, INT4_GROUP])
    layer.weight = nn.Parameter(packed, requires_grad=False)
    return True


def _multiply_in_float8(quantisation: ModuleType, layer: nn.Linear) -> bool:
    """Multiply in float8 (e4m3), with one scale for the weights and one for the activations."""
    return _change_to_float8(quantisation, layer, quantisation.PerTensor())


def _multiply_rows_in_float8(quantisation: ModuleType, layer: nn.Linear) -> bool:
    """Multiply in float8 (e4m3), with a scale for each output channel and for each token."""
    return _change_to_float8(quantisation, layer, quantisation.PerRow())


def _change_to_float8(quantisation: ModuleType, layer: nn.Linear, granularity: object) -> bool:
    if any(side % _FLOAT8_MULTIPLE for side in layer.weight.shape):
        return False
    config = quantisation.Float8DynamicActivationFloat8WeightConfig(
        granularity=granularity, set_inductor_config=False
    )
    quantisation.quantize_(layer, config)
    return True
