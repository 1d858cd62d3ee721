"""Weights of diffusers and transformers, brought into MLX modules by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

from sdperf.errors import ModelError
from sdperf.settings import ENGINE

Rename = Callable[[str], str | None]
"""From a weight's name in the file to its name in the module; ``None`` where it has no place."""

_MAX_NAMES: Final = 3
_OLD_ATTENTION: Final = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
"""Names in VAEs that were saved before diffusers 0.17."""


def keep_name(name: str) -> str:
    """Take a UNet's weight as it is."""
    return name


def rename_text_weight(name: str) -> str | None:
    """Rename a text encoder's weight; positions were saved as one until transformers 4.31."""
    short = name.removeprefix("text_model.")
    return None if short == "embeddings.position_ids" else short


def rename_decoder_weight(name: str) -> str | None:
    """Rename a VAE's weight; the encoder's have no place."""
    if name.startswith(("encoder.", "quant_conv.")):
        return None
    head, separator, tail = name.partition(".attentions.0.")
    part, _, kind = tail.partition(".")
    if not separator or part not in _OLD_ATTENTION:
        return name
    return f"{head}.attentions.0.{_OLD_ATTENTION[part]}.{kind}"


def read_weights(paths: Iterable[Path]) -> dict[str, mx.array]:
    """Read the tensors of safetensors files; their values are fetched when they are needed.

    Raises:
        ModelError: A file cannot be read.
    """
    weights: dict[str, mx.array] = {}
    for path in paths:
        try:
            weights |= _load_safetensors(path)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"{path.parent.name}/{path.name} cannot be read by MLX",
                got=str(error).splitlines()[0] if str(error) else type(error).__name__,
                expected="a whole safetensors file",
                hint="download the model again",
            ) from error
    return weights


def fill_module(
    module: nn.Module,
    weights: Mapping[str, mx.array],
    rename: Rename,
    *,
    component: str,
    dtype: mx.Dtype,
) -> None:
    """Put every weight in its place, in MLX's layout and the wanted number format.

    Args:
        module: Names its parameters as diffusers does.
        weights: By the name in the file, in torch's layout: kernels are (O, I, H, W).
        rename: Gives the name in the module.
        component: How messages name it, such as ``unet``.
        dtype: Float format of all weights.

    Raises:
        ModelError: A weight is missing, has no place, or has another shape.
    """
    places: dict[str, mx.array] = dict(_flatten(module.parameters()))
    renamed = {
        place: weight for name, weight in weights.items() if (place := rename(name)) is not None
    }
    _check_names(component, places.keys(), renamed.keys())
    filled = []
    for name, weight in renamed.items():
        value = _in_mlx_layout(weight, places[name].ndim)
        if value.shape != places[name].shape:
            raise ModelError(
                f"a weight of the {component} has another shape than its configuration asks for",
                got=f"{name}: {tuple(weight.shape)}",
                expected=f"{tuple(places[name].shape)} in MLX's layout",
                hint="download the model again: weights and config.json do not belong together",
            )
        filled.append((name, value.astype(dtype)))
    module.update(tree_unflatten(filled))
    mx.eval(module.parameters())


def count_bytes(module: nn.Module) -> int:
    """Count the bytes of a module's weights."""
    return sum(weight.nbytes for _, weight in _flatten(module.parameters()))


def _load_safetensors(path: Path) -> dict[str, mx.array]:
    loaded = mx.load(str(path), format="safetensors")
    if not isinstance(loaded, dict):
        raise ValueError("it holds no named tensors")
    return loaded


def _flatten(parameters: Any) -> list[tuple[str, mx.array]]:
    flat: list[tuple[str, mx.array]] = tree_flatten(parameters)
    return flat


def _check_names(component: str, wanted: Iterable[str], found: Iterable[str]) -> None:
    missing, unexpected = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing:
        raise ModelError(
            f"the {component} lacks weights that its configuration asks for",
            got=f"no {_shown(missing)}",
            hint=f"download the model again, or {ENGINE} torch",
        )
    if unexpected:
        raise ModelError(
            f"the {component} has weights that the mlx engine has no place for",
            got=_shown(unexpected),
            expected="the weights of Stable Diffusion 1.x, 2.x or XL",
            hint=f"{ENGINE} torch",
        )


def _shown(names: list[str]) -> str:
    rest = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _in_mlx_layout(weight: mx.array, ndim: int) -> mx.array:
    """Turn (O, I, H, W) into (O, H, W, I), or into (O, I) where a linear layer stands for it."""
    if weight.ndim == 4 and ndim == 4:
        return weight.transpose(0, 2, 3, 1)
    if weight.ndim == 4 and ndim == 2 and weight.shape[2:] == (1, 1):
        return weight.reshape(weight.shape[:2])
    return weight
