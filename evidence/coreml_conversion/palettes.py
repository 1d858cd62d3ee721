"""What a converted package's palettes make of a network's weights, seen from torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.optimize.coreml import get_weights_metadata

from sdperf.engines.coreml.palettes import palettise


def list_palettised(network: torch.nn.Module, bits: int) -> Iterator[tuple[str, Any]]:
    """Yield the weights that a conversion to float16 rounds to palettes, by name.

    Each is the float16 array that the package should hold.
    """
    for name, weight in network.named_parameters():
        halved = weight.detach().half().cpu().numpy()
        rounded = palettise(halved, bits)
        if rounded is not halved:
            yield name, rounded


@torch.no_grad()
def round_weights(network: torch.nn.Module, bits: int | None) -> int:
    """Round a network's weights as a conversion to float16 does, in place; dtypes stay.

    Args:
        network: The network.
        bits: Of the palettes; ``None`` rounds to float16 only.

    Returns:
        How many weights come from palettes.
    """
    palettised = {} if bits is None else dict(list_palettised(network, bits))
    for name, weight in network.named_parameters():
        weight.copy_(torch.from_numpy(palettised[name]) if name in palettised else weight.half())
    return len(palettised)


def count_held(package: Path, network: torch.nn.Module, bits: int) -> tuple[int, int]:
    """Look for a network's palettised weights in a package.

    Returns:
        How many lie there, equal in every element, and how many there should be.
    """
    there = {_digest(array) for array in read_palettised(package)}
    wanted = [_digest(array) for _, array in list_palettised(network, bits)]
    return sum(one in there for one in wanted), len(wanted)


def read_palettised(package: Path) -> Iterator[Any]:
    """Yield the weights that a package holds as palettes, turned back."""
    model = ct.models.MLModel(str(package), skip_model_load=True)
    found = get_weights_metadata(model, weight_threshold=1)
    for name, one in found.items():
        for child in one.child_ops:
            names = child.params_name_mapping
            if child.op_type == "constexpr_lut_to_dense" and names["lut"] == name:
                places = found[names["indices"]].val
                tables = one.val.reshape(one.val.shape[0], one.val.shape[-2])
                tables = tables.repeat(len(places) // len(tables), axis=0)
                rows = places.reshape(len(places), -1).astype(np.intp)
                yield np.take_along_axis(tables, rows, axis=1).reshape(places.shape)


def _digest(array: Any) -> str:
    """Name an array by its elements in order; kernels of 1 x 1 may lie flat."""
    return hashlib.sha256(np.ascontiguousarray(array, dtype=np.float16).tobytes()).hexdigest()
